"""What node and console say to each other over the control socket. Pure.

The law: a frozen snapshot or a command with a verdict, never a secret, except a passphrase on its
way in (`Unlock`, `ExportKeys`), or the keys of a backup (`RestoreKeys`). A connection begins with
`Hello` and `Welcome` (or `Bye`); then the client sends `Request`s, each answered by exactly one
`Answer`, perhaps after some `Progress`; pushes come in between once the client has sent `Subscribe`.
Framing is in `frames.py`.

Times are seconds since the epoch, sizes bytes. Every string may have been chosen by a stranger:
whoever draws one passes it through `core.text.safe` first.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from meshconsole.control.desk import DeskData, KeepDesk, RecallDesk
from meshconsole.control.edge import EdgeCommand, EdgeReply, ListPins, ShowEdge
from meshconsole.control.files import FileCommand, JobsData, ListJobs
from meshconsole.control.guests import GuestCommand, GuestData, ListGuests
from meshconsole.control.reach import Netcheck, PingPeer, ReachCommand, ReachData, TracePeer, WhyPeer
from meshconsole.control.relay import (
    BackUpRelay,
    ChangeRelayLists,
    DeleteFromRelay,
    EvictFromRelay,
    Export,
    Import,
    ImportLines,
    ListsData,
    PageData,
    RemovedData,
    ScanRelay,
    ShowRelayLists,
    VacuumRelay,
)
from meshconsole.control.team import (
    InviteData,
    InvitesData,
    ListInvites,
    ListRoster,
    ProposedData,
    RosterData,
    TeamCommand,
)
from meshconsole.control.wire import AbsolutePath, Cid, Message, RequestId, Text
from meshconsole.core.errors import MeshconsoleError, Refused
from meshconsole.core.history import Track  # noqa: TC001 - msgspec reads the annotations
from meshconsole.core.precedence import PrecedenceName  # noqa: TC001 - msgspec reads the annotation
from meshconsole.core.status import (  # noqa: TC001 - msgspec reads the annotations
    BlobView,
    EventView,
    NodeStatus,
    Severity,
)
from meshconsole.core.verdict import ACCEPTED, Code, Verdict

PROTOCOL = 2
"""Raised when a message changes its meaning. Both sides must agree; there is no negotiation."""

MAX_LISTED = 10_000
"""Most rows that one answer carries."""

# --- Commands -------------------------------------------------------------------------------------


class GetStatus(Message, frozen=True):
    """Answered with `StatusData`."""


class GetHistory(Message, frozen=True):
    """What the node remembers of its recent past. Answered with `HistoryData`."""


class ListEvents(Message, frozen=True):
    """The newest events, oldest first. `filter` keeps rows whose text holds it, "!" first inverts."""

    limit: Annotated[int, Meta(ge=1, le=MAX_LISTED)] = 200
    filter: Annotated[str, Meta(max_length=256)] = ""


class ListBlobs(Message, frozen=True):
    """Answered with `BlobsData`."""


class SendNote(Message, frozen=True):
    """To the team, sealed. Answered with `EventsData` holding the one event."""

    text: Text
    precedence: PrecedenceName = "routine"


class MarkRead(Message, frozen=True):
    """A note of the team, by its id in hex: its author is told that somebody has read it."""

    event_id: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class AddBlob(Message, frozen=True):
    """Adds a file to the team's store. Answered with `BlobsData` holding the one file."""

    path: AbsolutePath


class GetBlob(Message, frozen=True):
    """Fetches a file and writes it, opened, to `destination`: a file, or a folder that exists."""

    cid: Cid
    destination: AbsolutePath


class Pin(Message, frozen=True):
    """Keeps a file on this node whatever the store's pressure. 0 copies: as many as the team wants."""

    cid: Cid
    min_replicas: Annotated[int, Meta(ge=0, le=100)] = 0
    max_replicas: Annotated[int, Meta(ge=0, le=1000)] = 0
    expires_at: float | None = None


class Unpin(Message, frozen=True):
    """Lets the store drop a file when it needs the room."""

    cid: Cid


class GetConfig(Message, frozen=True):
    """Answered with `ConfigData`."""


class SetConfig(Message, frozen=True):
    """Changes and saves some values. Answered with `ConfigData`; refused as a whole or not at all."""

    values: dict[str, dict[str, Any]]


class VerifyAudit(Message, frozen=True):
    """Checks the whole audit log. Answered with `LinesData`; refused with the first bad record's place."""


class ExportAudit(Message, frozen=True):
    """Writes the audit log as JSON lines, readable and checkable without the key. Answered with
    `CountsData`."""

    path: AbsolutePath


class AcknowledgeSetBack(Message, frozen=True):
    """The operator knows why the home was set back; it goes on from its present state."""


class ReloadConfig(Message, frozen=True):
    """Reads config.toml again. Answered with `ConfigData`; refused as a whole or not at all."""


class AuditTail(Message, frozen=True):
    """The newest lines of the audit log, oldest first. Answered with `LinesData`."""

    limit: Annotated[int, Meta(ge=1, le=MAX_LISTED)] = 100


class Subscribe(Message, frozen=True):
    """Asks for pushes, at most `fps` times a second. Replaces an earlier subscription."""

    fps: Annotated[float, Meta(ge=0.1, le=10)] = 4.0
    events: bool = True
    blobs: bool = True


class Unlock(Message, frozen=True):
    """Opens a home that waits for its passphrase. Where it is open: tells whether it is the right one."""

    passphrase: Annotated[str, Meta(max_length=1024)]

    def __repr__(self) -> str:
        return "Unlock(passphrase=…)"


class Panic(Message, frozen=True):
    """Destroys the keys of the home before it is answered; then the node stops and deletes the rest."""


OfflineAct = Literal["identity-exported", "keystore-changed"]


class RecordAct(Message, frozen=True):
    """Writes to the audit log what a command did with the home's files, whose node need not run for it."""

    act: OfflineAct
    what: Annotated[str, Meta(max_length=64)]


class ExportKeys(Message, frozen=True):
    """Writes the team's epoch keys to an age file (0600), for a passphrase or for age recipients.
    Answered with `CountsData`."""

    path: AbsolutePath
    passphrase: Annotated[str, Meta(max_length=1024)] = ""
    recipients: Annotated[tuple[Annotated[str, Meta(max_length=4096)], ...], Meta(max_length=32)] = ()

    def __repr__(self) -> str:
        return f"ExportKeys(path={self.path!r}, passphrase=…)"


class RestoreKeys(Message, frozen=True):
    """Takes in epoch keys that a backup held, opened already. Answered with `CountsData`."""

    document: Annotated[bytes, Meta(max_length=768 * 1024)]

    def __repr__(self) -> str:
        return "RestoreKeys(…)"


class Stop(Message, frozen=True):
    """Stops the node in good order, after the answer."""


Command = (
    GetStatus
    | GetHistory
    | ListEvents
    | ListBlobs
    | SendNote
    | MarkRead
    | AddBlob
    | GetBlob
    | Pin
    | Unpin
    | Import
    | ImportLines
    | Export
    | GetConfig
    | SetConfig
    | ReloadConfig
    | ScanRelay
    | DeleteFromRelay
    | EvictFromRelay
    | BackUpRelay
    | VacuumRelay
    | ShowRelayLists
    | ChangeRelayLists
    | AuditTail
    | VerifyAudit
    | ExportAudit
    | AcknowledgeSetBack
    | Subscribe
    | Unlock
    | Panic
    | ExportKeys
    | RestoreKeys
    | RecordAct
    | Stop
    | KeepDesk
    | RecallDesk
    | FileCommand
    | TeamCommand
    | ReachCommand
    | GuestCommand
    | EdgeCommand
)

READING = (
    GetStatus,
    GetHistory,
    ScanRelay,
    ShowRelayLists,
    ListEvents,
    ListBlobs,
    ListJobs,
    ListPins,
    ShowEdge,
    GetConfig,
    AuditTail,
    VerifyAudit,
    ListInvites,
    ListRoster,
    ListGuests,
    Netcheck,
    PingPeer,
    TracePeer,
    WhyPeer,
    Subscribe,
)
"""Commands that change nothing; the only ones a console sends with --read-only."""


# --- Answers --------------------------------------------------------------------------------------


class StatusData(Message, frozen=True):
    status: NodeStatus


class EventsData(Message, frozen=True):
    events: tuple[EventView, ...]


class BlobsData(Message, frozen=True):
    blobs: tuple[BlobView, ...]


class ConfigData(Message, frozen=True):
    """All values by section and key, and those that wait for the node's next start."""

    values: dict[str, dict[str, Any]]
    waiting: tuple[str, ...] = ()


class CountsData(Message, frozen=True):
    """What became of many things, in words: {"new": 12, "already here": 3, "refused": 0}."""

    counts: dict[str, int]


class HistoryData(Message, frozen=True):
    tracks: tuple[Track, ...]


class LinesData(Message, frozen=True):
    lines: tuple[str, ...]


Data = (
    StatusData
    | EventsData
    | BlobsData
    | JobsData
    | InviteData
    | InvitesData
    | RosterData
    | ProposedData
    | ConfigData
    | CountsData
    | LinesData
    | HistoryData
    | DeskData
    | PageData
    | RemovedData
    | ListsData
    | ReachData
    | GuestData
    | EdgeReply
)


class Reply(msgspec.Struct, frozen=True):
    """The verdict on a command. `verdict.sentence` is for the person, also when the answer is yes."""

    verdict: Verdict = ACCEPTED
    data: Data | None = None
    hint: str = ""

    @property
    def accepted(self) -> bool:
        return self.verdict.accepted

    def or_raise(self) -> Reply:
        """Itself if accepted. Raises Refused."""
        if not self.verdict.accepted:
            raise Refused(self.verdict.code, self.verdict.sentence, hint=self.hint)
        return self


def done(sentence: str = "", data: Data | None = None) -> Reply:
    return Reply(Verdict(True, "", sentence), data)


def refused(code: Code, sentence: str, hint: str = "") -> Reply:
    return Reply(Verdict(False, code, sentence), hint=hint)


def refused_by(error: MeshconsoleError) -> Reply:
    """The reply for an error that a command ended with."""
    code: Code = "error"
    if isinstance(error, Refused):
        try:
            code = msgspec.convert(error.code, Code)
        except msgspec.ValidationError:
            code = "error"
    return refused(code or "error", error.sentence, error.hint)


# --- Frames ---------------------------------------------------------------------------------------


class Hello(msgspec.Struct, frozen=True, tag=True):
    """The client's first frame. This one and `Welcome` and `Bye` may only ever grow."""

    protocol: int
    version: str
    client: Annotated[str, Meta(max_length=64)] = ""


class Request(Message, frozen=True):
    """`command` stays raw here, so that one command that does not fit costs an answer, not the link."""

    id: RequestId
    command: msgspec.Raw


class Cancel(Message, frozen=True):
    """Stops a request that is still running. Its answer comes all the same."""

    id: RequestId


class Welcome(msgspec.Struct, frozen=True, tag=True):
    protocol: int
    version: str
    pid: int = 0
    right: str = "owner"
    """What this user is to the node: owner, operator or watcher (rights.py)."""


class Bye(msgspec.Struct, frozen=True, tag=True):
    """The node closes the connection, and says why."""

    sentence: str
    hint: str = ""


class Answer(Message, frozen=True):
    id: RequestId
    reply: Reply


class Progress(Message, frozen=True):
    """How far a request has come. `total` is None while unknown."""

    id: RequestId
    have: int
    total: int | None
    words: str = ""


class StatusPush(Message, frozen=True):
    status: NodeStatus


class EventsPush(Message, frozen=True):
    """New events, oldest first. `dropped` counts those left out since the last push."""

    events: tuple[EventView, ...]
    dropped: int = 0


class BlobsPush(Message, frozen=True):
    """Files that are new or changed; others are as they were."""

    blobs: tuple[BlobView, ...]


class Notice(msgspec.Struct, frozen=True):
    """One thing that the operator should know."""

    at: float
    severity: Severity
    text: str
    remedy: str = ""


class NoticesPush(Message, frozen=True):
    notices: tuple[Notice, ...]


ClientFrame = Hello | Request | Cancel
Push = StatusPush | EventsPush | BlobsPush | NoticesPush
ServerFrame = Welcome | Bye | Answer | Progress | Push
