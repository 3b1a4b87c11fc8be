"""A node whose home is still locked: it holds no secret, serves nothing, and waits on its control socket.

So a node can start at boot without a passphrase lying anywhere, and be opened later over SSH:
`meshconsole unlock`, or the console. Each attempt costs a key derivation; they take turns.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from meshconsole.control import messages as m
from meshconsole.control.keys import Panic, Unlock
from meshconsole.core.errors import Fatal, MeshconsoleError, Refused, Unavailable
from meshconsole.crypto.keystore import Keystore, Secrets
from meshconsole.node.wipe import destroy_keys

if TYPE_CHECKING:
    from meshconsole.control.server import Report
    from meshconsole.core.home import Home
    from meshconsole.core.status import NodeStatus

log = logging.getLogger(__name__)

LOCKED = "The node runs, but its home is locked."
HOW_TO_OPEN = "Open it with: meshconsole unlock"


class LockedHome:
    """The `ControlHandler` until the right passphrase has come."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._trying = asyncio.Lock()
        self._opened: asyncio.Future[Secrets | None] = asyncio.get_running_loop().create_future()
        self._serving: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait(self) -> Secrets | None:
        """The secrets, or None when the node shall stop instead."""
        return await self._opened

    def request_stop(self, reason: str) -> None:
        log.info("stopping: %s", reason)
        if not self._opened.done():
            self._opened.set_result(None)

    def served(self) -> None:
        """The node has started: whoever opened it is told."""
        if not self._serving.done():
            self._serving.set_result(None)

    def failed(self, error: BaseException) -> None:
        """The node could not start: whoever opened it is told why."""
        if not self._serving.done():
            self._serving.set_exception(_in_one_sentence(error))
            self._serving.exception()  # there may be nobody who waits any more

    async def pulse(self) -> str:
        """For the service manager: it lives, and this is what it waits for."""
        return f"locked. {HOW_TO_OPEN}"

    def status(self) -> NodeStatus:
        raise Refused("auth-required", LOCKED, hint=HOW_TO_OPEN)

    async def handle(self, command: m.Command, report: Report) -> m.Reply:
        match command:
            case Unlock(passphrase=passphrase):
                return await self._unlock(passphrase)
            case m.Stop():
                self.request_stop("asked by a console")
                return m.done("The node is stopping.")
            case Panic():
                await asyncio.to_thread(destroy_keys, self._home)
                self.request_stop("wiped")
                return m.done("The keys are destroyed; the files follow.")
            case _:
                raise Refused("auth-required", LOCKED, hint=HOW_TO_OPEN)

    async def _unlock(self, passphrase: str) -> m.Reply:
        async with self._trying:
            if not self._opened.done():
                secrets = await asyncio.to_thread(Keystore.unlock, self._home.keystore, passphrase)
                if not self._opened.done():
                    self._opened.set_result(secrets)
        await asyncio.shield(self._serving)
        return m.done("The home is open, and the node serves.")


def _in_one_sentence(error: BaseException) -> MeshconsoleError:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, MeshconsoleError):
        return error
    if isinstance(error, Exception):
        return Fatal("The home is open, but the node did not start.", hint="Its log tells why.")
    return Unavailable("The node was stopped.")
