"""A node of the team in the field, scripted: behind a real control socket it answers as a node does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshconsole.control.audit import AuditTail
from meshconsole.control.config import ConfigData, GetConfig, SetConfig
from meshconsole.control.desk import DeskData, KeepDesk, RecallDesk
from meshconsole.control.files import (
    AddBlob,
    BlobsData,
    ExportCar,
    FetchBlob,
    GetBlob,
    ListBlobs,
    PauseFetch,
    Pin,
    PreviewBlob,
    Unpin,
)
from meshconsole.control.keys import Unlock
from meshconsole.control.messages import (
    CountsData,
    EventsData,
    GetHistory,
    HistoryData,
    LinesData,
    ListEvents,
    Reply,
    Stop,
    done,
    refused,
)
from meshconsole.control.notes import AnswerRoll, CallRoll, MarkRead, SendDirect, SendNote, SendPlain
from meshconsole.control.team import (
    CreateTeam,
    Invite,
    InviteData,
    InvitesData,
    JoinTeam,
    ListInvites,
    RemoveMember,
    RotateKey,
    SetRole,
)
from meshconsole.core.config import RELOADABLE, Config, ConfigError, to_values, with_values
from meshconsole.core.errors import Refused
from meshconsole.core.kinds import TEAM_NOTE
from tests.console.feed import a_blob, an_event, busy_blobs, busy_events
from tests.console.field import AUDIT, INVITE, NOW, busy_invites, busy_status, busy_tracks, empty_status

if TYPE_CHECKING:
    from meshconsole.control.messages import Command
    from meshconsole.control.server import ControlServer, Report
    from meshconsole.core.status import BlobView, NodeStatus


class ScriptedNode:
    """`passphrase`: the home is locked until it is given. `team` False: a node alone, with nothing yet."""

    def __init__(self, *, team: bool = True, passphrase: str = "") -> None:
        self.locked = bool(passphrase)
        self.passphrase = passphrase
        self.team = team
        self.config = with_values(
            Config(), {"node": {"name": "falcon-3"}, "limits": {"max_bandwidth_mbps": 8}}
        )
        self.waiting: set[str] = set()
        self.commands: list[Command] = []
        self.stopped = False
        self.desk: KeepDesk | None = None
        self.refuse = ""
        """A sentence: every command that changes something is refused with it."""
        self.server: ControlServer | None = None
        self.now = NOW
        self.audit = list(AUDIT if team else AUDIT[:1])
        self.status_now = busy_status() if team else empty_status()
        self.events = busy_events() if team else []
        self.blobs = {blob.cid: blob for blob in (busy_blobs() if team else [])}

    def status(self) -> NodeStatus:
        if self.locked:
            raise Refused("auth-required", "The home is locked.", hint="Type its passphrase.")
        return msgspec.structs.replace(self.status_now, now=self.now)

    async def handle(self, command: Command, report: Report) -> Reply:
        self.commands.append(command)
        if isinstance(command, RecallDesk | KeepDesk):
            self.desk = command if isinstance(command, KeepDesk) else self.desk
            return done(data=DeskData(self.desk) if self.desk is not None else None)
        reading = isinstance(
            command, GetHistory | ListInvites | ListEvents | ListBlobs | GetConfig | AuditTail | Unlock | Stop
        )
        if self.refuse and not reading:
            return refused("restricted", self.refuse)
        return self._reading(command) if reading else await self._changing(command, report)

    def _reading(self, command: Command) -> Reply:
        match command:
            case ListEvents(limit=limit):
                return done(data=EventsData(tuple(self.events[-limit:])))
            case GetHistory():
                return done(data=HistoryData(busy_tracks() if self.team else ()))
            case ListBlobs():
                return done(data=BlobsData(tuple(self.blobs.values())))
            case GetConfig():
                return done(data=self._config())
            case ListInvites():
                return done(data=InvitesData(busy_invites() if self.team else ()))
            case AuditTail():
                return done(data=LinesData(tuple(self.audit)))
            case Unlock(passphrase=passphrase):
                if passphrase != self.passphrase:
                    return refused("restricted", "That is not the passphrase.")
                self.locked = False
            case Stop():
                self.stopped = True
        return done()

    async def _changing(self, command: Command, report: Report) -> Reply:
        match command:
            case SendDirect() | SendPlain():
                return done()
            case MarkRead(event_id=event_id):
                left = tuple(note for note in self.status_now.unread if note.id != event_id)
                self.status_now = msgspec.structs.replace(self.status_now, unread=left)
                self._tell()
            case SendNote(text=text):
                event = an_event(len(self.events) + 1, "falcon-3", TEAM_NOTE, text, at=self.now)
                self.events.append(event)
                if self.server is not None:
                    self.server.events_happened([event])
                return done("Sent to the team.", EventsData((event,)))
            case AddBlob(path=path):
                blob = a_blob(path.rpartition("/")[2], 120_000, "falcon-3", "here", at=self.now)
                self.blobs[blob.cid] = blob
                return done("", BlobsData((blob,)))
            case GetBlob(cid=cid, destination=destination):
                blob = self.blobs[cid]
                report(blob.sealed_size // 2, blob.sealed_size, "from hub")
                here = msgspec.structs.replace(blob, state="here", present_bytes=blob.sealed_size)
                self._put(here)
                return done(f"Saved {destination}.")
            case PreviewBlob():
                return done(data=LinesData(("water at the north well", "\x1b]52;c;aGk=\x07[red]bring cans")))
            case ExportCar():
                return done(data=CountsData({"files": 1, "bytes": 1000}))
            case PauseFetch(cid=cid):
                self._put(msgspec.structs.replace(self.blobs[cid], state="paused"))
                return done("Paused.")
            case FetchBlob(cid=cid):
                self._put(msgspec.structs.replace(self.blobs[cid], state="fetching"))
                return done("Fetching in the background.")
            case Pin(cid=cid) | Unpin(cid=cid):
                self._put(msgspec.structs.replace(self.blobs[cid], pinned=isinstance(command, Pin)))
            case Invite(lifetime_s=lifetime_s):
                return done("", InviteData(INVITE, int(NOW) + lifetime_s, ("192.0.2.7:7447",)))
            case SetConfig(values=values):
                return self._set(values)
            case (
                CallRoll()
                | AnswerRoll()
                | CreateTeam()
                | JoinTeam()
                | SetRole()
                | RemoveMember()
                | RotateKey()
            ):
                pass
        return done()

    def _set(self, values: dict[str, dict[str, object]]) -> Reply:
        try:
            self.config = with_values(self.config, values, "here")
        except ConfigError as error:
            return refused("invalid", str(error.problems[0]))
        changed = {f"{section}.{key}" for section, entries in values.items() for key in entries}
        self.waiting |= changed - RELOADABLE
        self.status_now = msgspec.structs.replace(self.status_now, emcon=self.config.privacy.emcon)
        self._tell()
        return done(data=self._config())

    def _tell(self) -> None:
        if self.server is not None:
            self.server.status_changed()

    def _config(self) -> ConfigData:
        return ConfigData(to_values(self.config), tuple(sorted(self.waiting)))

    def _put(self, blob: BlobView) -> None:
        self.blobs[blob.cid] = blob
        if self.server is not None:
            self.server.blobs_happened([blob])
