"""What the console and the command line may ask of a node: one method per command.

Every command ends in a Reply with a verdict. A MeshconsoleError raised here becomes the refusal;
acts that change who may do what are written to the audit log before they are answered.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.control import edge as e
from meshconsole.control import guests as g
from meshconsole.control import messages as m
from meshconsole.control.audit import AcknowledgeSetBack, AuditTail, ExportAudit, RecordAct, VerifyAudit
from meshconsole.control.config import ConfigData, GetConfig, ReloadConfig, SetConfig
from meshconsole.control.desk import DeskData, KeepDesk, RecallDesk
from meshconsole.control.keys import ExportKeys, Panic, RestoreKeys, Unlock
from meshconsole.control.notes import AnswerRoll, CallRoll, MarkRead, SendDirect, SendNote, SendPlain
from meshconsole.control.reach import Netcheck, PingPeer, TracePeer, WhyPeer
from meshconsole.core.config import ConfigError, changed_keys, shown_values
from meshconsole.core.errors import KeystoreWiped, Refused
from meshconsole.core.health import as_finding
from meshconsole.core.text import safe
from meshconsole.crypto.agefile import age_encrypt
from meshconsole.crypto.keystore import Keystore
from meshconsole.crypto.private_file import write_private
from meshconsole.node.auditing import answer_about_audit
from meshconsole.node.edge_acts import answer_about_edge
from meshconsole.node.file_acts import FileActs
from meshconsole.node.governing import Governing
from meshconsole.node.messaging import Messaging
from meshconsole.node.reach_acts import answer_about_reach
from meshconsole.node.relay_acts import RelayActs
from meshconsole.node.wipe import destroy_keys
from meshconsole.team.export import epoch_keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from meshconsole.control.server import Report
    from meshconsole.core.reachability import Finding
    from meshconsole.core.status import NodeStatus, PeerStatus
    from meshconsole.node.node import Node

DESK = "desk"
"""Where the console was left, in the node's state."""
END_S = 3.0
"""How long a node may take to stop in good order after the duress passphrase."""


class Commands:
    """The node's `ControlHandler`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._trying = asyncio.Lock()
        self._governing = Governing(node, node.teamwork, node.vouching)
        self._messaging = Messaging(node, self._governing)
        self._relay = RelayActs(node)
        self._files = FileActs(node)

    def status(self) -> NodeStatus:
        return self._node.status()

    async def handle(self, command: m.Command, report: Report) -> m.Reply:
        match command:
            case m.GetHistory():
                return m.done(data=m.HistoryData(self._node.remembering.tracks()))
            case m.ListEvents(limit=limit, filter=wanted):
                return m.done(data=m.EventsData(self._node.recent.newest(limit, wanted)))
            case SendNote(text=text, precedence=precedence):
                return await self._messaging.note(text, precedence)
            case MarkRead(event_id=event_id):
                return await self._messaging.read(event_id)
            case SendDirect(npub=npub, text=text):
                return await self._messaging.direct(npub, text)
            case SendPlain(npub=npub, text=text):
                return await self._messaging.plain(npub, text)
            case CallRoll(text=text):
                return await self._messaging.call_roll(text)
            case AnswerRoll(word=word):
                return await self._messaging.answer_roll(word)
            case KeepDesk():
                await asyncio.to_thread(self._node.state.put, DESK, command)
                return m.done()
            case RecallDesk():
                kept = await asyncio.to_thread(self._node.state.get, DESK, KeepDesk, KeepDesk(""))
                return m.done(data=DeskData(kept) if kept.pane else None)
            case GetConfig():
                return m.done(data=self._config())
            case SetConfig(values=values):
                return await self._change_config(self._node.applying.set(values), "Saved")
            case ReloadConfig():
                return await self._change_config(self._node.reloading.reload(), "Read again")
            case AuditTail(limit=limit):
                return m.done(data=m.LinesData(await self._audit_tail(limit)))
            case VerifyAudit() | ExportAudit() | AcknowledgeSetBack():
                return await answer_about_audit(self._node, self._node.vouching, command)
            case PingPeer() | TracePeer() | WhyPeer() | Netcheck():
                return await answer_about_reach(self._node, command, self._findings)
            case (
                g.OpenGuestLink()
                | g.ListGuests()
                | g.AdmitGuest()
                | g.RefuseGuest()
                | g.RemoveGuest()
                | g.SayToGuests()
            ):
                return await self._node.guesting.handle(command)
            case e.ShowEdge() | e.MakeToken() | e.RevokeToken() | e.ListPins():
                return await answer_about_edge(self._node, self._node.edge, command)
            case m.Stop():
                self._node.request_stop("asked by a console")
                return m.done("The node is stopping.")
            case Unlock(passphrase=passphrase):
                return await self._check_passphrase(passphrase)
            case Panic():
                return await self._panic()
            case RecordAct(act=act, what=what):
                self._node.record(act, what=what)
                return m.done()
            case RestoreKeys(document=document):
                return await self._restore_keys(document)
            case ExportKeys(path=path, passphrase=passphrase, recipients=recipients):
                return await self._export_keys(Path(path), passphrase, recipients)
            case _:
                reply = await self._relay.handle(command, report) or await self._files.handle(command, report)
                return reply or await self._governing.handle(command)

    def _findings(self, peers: tuple[PeerStatus, ...]) -> Iterator[Finding]:
        """Of netcheck, beside what it finds on the network."""
        yield from self._node.guesting.findings()
        yield from map(as_finding, self._node.look_at_health(peers))

    # --- Keys ---------------------------------------------------------------------------------------

    async def _check_passphrase(self, passphrase: str) -> m.Reply:
        """For a console that has locked itself. One at a time: each costs a key derivation."""
        async with self._trying:
            try:
                await asyncio.to_thread(Keystore.unlock, self._node.home.keystore, passphrase)
            except KeystoreWiped:
                self._node.request_stop("asked by a console")
                _end_soon()
                raise
        return m.done("This node is unlocked already.")

    async def _panic(self) -> m.Reply:
        await asyncio.to_thread(destroy_keys, self._node.home)
        self._node.request_stop("wiped")
        return m.done("The keys are destroyed; the files follow.")

    async def _export_keys(self, path: Path, passphrase: str, recipients: tuple[str, ...]) -> m.Reply:
        team = self._governing.team()
        document, count = epoch_keys(team), len(team.epochs_held())
        if not count:
            raise Refused("restricted", "This device holds no key of the team.")
        await asyncio.to_thread(_write_age_file, path, document, passphrase, recipients)
        kind = "recipients" if recipients else "passphrase"
        self._node.record("keys-exported", epochs=str(count), path=str(path), sealed_for=kind)
        warning = " age recipients are X25519: not post-quantum." if recipients else ""
        return m.done(f"{count} epoch keys are in {path}.{warning}", m.CountsData({"epochs": count}))

    async def _restore_keys(self, document: bytes) -> m.Reply:
        events = self._governing.team().restore_keys(document, int(time.time()))
        if not events:
            return m.done("This device has every key of that backup that its team knows.", _restored(0))
        await self._node.teamwork.act(events)
        self._node.record("keys-restored", epochs=str(len(events)))
        return m.done(f"{len(events)} epoch keys are back.", _restored(len(events)))

    # --- Configuration and audit -------------------------------------------------------------------

    def _config(self) -> ConfigData:
        return ConfigData(shown_values(self._node.config), tuple(sorted(self._node.applying.waiting)))

    async def _change_config(self, change: Awaitable[None], done: str) -> m.Reply:
        before = self._node.config
        try:
            await change
        except ConfigError as error:
            reasons = "; ".join(f"{problem.key}: {problem.reason}" for problem in error.problems)
            return m.refused("invalid", reasons, "Nothing was changed.")
        changed = sorted(changed_keys(before, self._node.config))
        if changed:
            self._node.record("config", keys=", ".join(changed))
        waiting = [key for key in changed if key in self._node.applying.waiting]
        sentence = f"{done}; {', '.join(waiting)} takes effect at the next start." if waiting else f"{done}."
        return m.done(sentence, ConfigData(shown_values(self._node.config), tuple(waiting)))

    async def _audit_tail(self, limit: int) -> tuple[str, ...]:
        records, _ = await self._node.read_audit(limit)
        lines = []
        for record in records:
            when = datetime.fromtimestamp(record.at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
            detail = " ".join(f"{name}={safe(value, 80)}" for name, value in record.detail.items())
            lines.append(f"{record.seq} {when} {record.act} {detail}".rstrip())
        return tuple(lines)


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
