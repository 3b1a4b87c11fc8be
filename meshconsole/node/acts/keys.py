"""What a console may do with the keys of a home: open it, carry them away, bring back, and destroy them."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.control import messages as m
from meshconsole.control.keys import ExportKeys, KeyCommand, Panic, RestoreKeys, Unlock
from meshconsole.core.errors import KeystoreWiped, Refused
from meshconsole.crypto.agefile import age_encrypt
from meshconsole.crypto.keystore import Keystore
from meshconsole.crypto.private_file import write_private
from meshconsole.node.acts.team import team_of
from meshconsole.node.wipe import destroy_keys
from meshconsole.team.export import epoch_keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.node.ground import Ground
    from meshconsole.node.teamwork import Teamwork

END_S = 3.0
"""How long a node may take to stop in good order after the duress passphrase."""


class KeyActs:
    """The part of the node's `ControlHandler` that speaks of keys. `request_stop` takes the reason."""

    def __init__(
        self,
        node: Ground,
        teamwork: Teamwork,
        request_stop: Callable[[str], None],
    ) -> None:
        self._node = node
        self._teamwork = teamwork
        self._request_stop = request_stop
        self._trying = asyncio.Lock()

    async def handle(self, command: KeyCommand) -> m.Reply:
        """Raises MeshconsoleError."""
        match command:
            case Unlock(passphrase=passphrase):
                return await self._check_passphrase(passphrase)
            case Panic():
                return await self._panic()
            case ExportKeys(path=path, passphrase=passphrase, recipients=recipients):
                return await self._export(Path(path), passphrase, recipients)
            case RestoreKeys(document=document):
                return await self._restore(document)

    async def _check_passphrase(self, passphrase: str) -> m.Reply:
        """For a console that has locked itself. One at a time: each costs a key derivation."""
        async with self._trying:
            try:
                await asyncio.to_thread(Keystore.unlock, self._node.home.keystore, passphrase)
            except KeystoreWiped:
                self._request_stop("asked by a console")
                _end_soon()
                raise
        return m.done("This node is unlocked already.")

    async def _panic(self) -> m.Reply:
        await asyncio.to_thread(destroy_keys, self._node.home)
        self._request_stop("wiped")
        return m.done("The keys are destroyed; the files follow.")

    async def _export(self, path: Path, passphrase: str, recipients: tuple[str, ...]) -> m.Reply:
        team = team_of(self._node)
        document, count = epoch_keys(team), len(team.epochs_held())
        if not count:
            raise Refused("restricted", "This device holds no key of the team.")
        await asyncio.to_thread(_write_age_file, path, document, passphrase, recipients)
        kind = "recipients" if recipients else "passphrase"
        self._node.record("keys-exported", epochs=str(count), path=str(path), sealed_for=kind)
        warning = " age recipients are X25519: not post-quantum." if recipients else ""
        return m.done(f"{count} epoch keys are in {path}.{warning}", m.CountsData({"epochs": count}))

    async def _restore(self, document: bytes) -> m.Reply:
        events = team_of(self._node).restore_keys(document, int(time.time()))
        if not events:
            return m.done("This device has every key of that backup that its team knows.", _restored(0))
        await self._teamwork.act(events)
        self._node.record("keys-restored", epochs=str(len(events)))
        return m.done(f"{len(events)} epoch keys are back.", _restored(len(events)))


def _end_soon() -> None:
    """Whatever keeps the node from stopping: its memory holds keys that must not outlive the keystore."""
    end = threading.Timer(END_S, os._exit, (0,))
    end.daemon = True
    end.start()


def _restored(count: int) -> m.CountsData:
    return m.CountsData({"epochs": count})


def _write_age_file(path: Path, document: bytes, passphrase: str, recipients: tuple[str, ...]) -> None:
    if path.exists():
        raise Refused("invalid", f"{path} exists already.", hint="Choose another name.")
    write_private(path, age_encrypt(document, passphrase=passphrase, recipients=recipients))
