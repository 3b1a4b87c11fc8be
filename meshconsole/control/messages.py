"""What node and console say to each other over the control socket. Pure.

What may be asked is in the file of its subject (`files.py`, `team.py`, ...); here are what is of none, the
answers, and the frames of a conversation.

The law: a frozen snapshot or a command with a verdict, never a secret, except a passphrase on its
way in (`Unlock`, `ExportKeys`), or the keys of a backup (`RestoreKeys`). A connection begins with
`Hello` and `Welcome` (or `Bye`); then the client sends `Request`s, each answered by exactly one
`Answer`, perhaps after some `Progress`; pushes come in between once the client has sent `Subscribe`.
Framing is in `frames.py`.

Times are seconds since the epoch, sizes bytes. Every string may have been chosen by a stranger:
whoever draws one passes it through `core.text.safe` first.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from meshconsole.control.audit import AuditCommand, AuditTail, VerifyAudit
from meshconsole.control.config import ConfigCommand, ConfigData, GetConfig
from meshconsole.control.desk import DeskCommand, DeskData
from meshconsole.control.edge import EdgeCommand, EdgeReply, ListPins, ShowEdge
from meshconsole.control.files import BlobsData, FileCommand, JobsData, ListBlobs, ListJobs
from meshconsole.control.guests import GuestCommand, GuestData, ListGuests
from meshconsole.control.keys import KeyCommand
from meshconsole.control.notes import NoteCommand
from meshconsole.control.reach import Netcheck, PingPeer, ReachCommand, ReachData, TracePeer, WhyPeer
from meshconsole.control.relay import (
    ListsData,
    PageData,
    RelayCommand,
    RemovedData,
    ScanRelay,
    ShowRelayLists,
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
from meshconsole.control.wire import MAX_LISTED, Message, RequestId
from meshconsole.core.errors import MeshconsoleError, Refused
from meshconsole.core.history import Track  # noqa: TC001 - msgspec reads the annotations
from meshconsole.core.status import (  # noqa: TC001 - msgspec reads the annotations
    BlobView,
    EventView,
    NodeStatus,
    Severity,
)
from meshconsole.core.verdict import ACCEPTED, Code, Verdict

PROTOCOL = 2
"""Raised when a message changes its meaning. Both sides must agree; there is no negotiation."""

# --- Commands -------------------------------------------------------------------------------------


class GetStatus(Message, frozen=True):
    """Answered with `StatusData`."""


class GetHistory(Message, frozen=True):
    """What the node remembers of its recent past. Answered with `HistoryData`."""


class ListEvents(Message, frozen=True):
    """The newest events, oldest first. `filter` keeps rows whose text holds it, "!" first inverts."""

    limit: Annotated[int, Meta(ge=1, le=MAX_LISTED)] = 200
    filter: Annotated[str, Meta(max_length=256)] = ""


class Subscribe(Message, frozen=True):
    """Asks for pushes, at most `fps` times a second. Replaces an earlier subscription."""

    fps: Annotated[float, Meta(ge=0.1, le=10)] = 4.0
    events: bool = True
    blobs: bool = True


class Stop(Message, frozen=True):
    """Stops the node in good order, after the answer."""


Command = (
    GetStatus
    | GetHistory
    | ListEvents
    | Subscribe
    | Stop
    | NoteCommand
    | FileCommand
    | TeamCommand
    | RelayCommand
    | ConfigCommand
    | AuditCommand
    | KeyCommand
    | DeskCommand
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
