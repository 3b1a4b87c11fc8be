"""What the sync machine of a peer asks of its shell, and by what it is answered. Pure.

`epoch` and `stream` say which stream an ask belongs to: an answer after its end changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from meshconsole.relay.negentropy import Initiator

# Of the serving half.


class ReadControl(msgspec.Struct, frozen=True):
    """Ask: the control events of the store, answered with `Serving.control`."""

    epoch: int


class ReadRows(msgspec.Struct, frozen=True):
    """Ask: the rows behind `after`, oldest first, answered with `Serving.rows`."""

    epoch: int
    after: int
    limit: int


class ReadIds(msgspec.Struct, frozen=True):
    """Ask: these events as far as they are still here, in this order, answered with `Serving.found`."""

    epoch: int
    ids: tuple[bytes, ...]


class Gather(msgspec.Struct, frozen=True):
    """Ask: a snapshot, of sealed kinds only or of all, answered with `Serving.gathered`."""

    epoch: int
    sealed: bool


class TakeStep(msgspec.Struct, frozen=True):
    """Ask: `initiator.receive(data)`, which takes a while, answered with `Serving.stepped`."""

    epoch: int
    initiator: Initiator
    data: bytes


# Of the taking half.


class FindMissing(msgspec.Struct, frozen=True):
    """Ask: which of these ids are not in the store? Answered with `Taking.missing`."""

    stream: int
    number: int
    ids: tuple[bytes, ...]


class Store(msgspec.Struct, frozen=True):
    """Ask: store these events durably, answered with `Taking.stored`, a verdict for each."""

    stream: int
    events: tuple[bytes, ...]


class StoreLive(msgspec.Struct, frozen=True):
    """Ask: take these events in if they are new; nothing is answered."""

    events: tuple[bytes, ...]


class AnswerCompare(msgspec.Struct, frozen=True):
    """Ask: negentropy's answer to the peer's message, answered with `Taking.answered`. A new `number` asks
    for a new snapshot."""

    stream: int
    number: int
    sealed: bool
    data: bytes


class SaveCursor(msgspec.Struct, frozen=True):
    """Ask: put the cursor on disk, answered with `Taking.saved`."""

    stream: int
    log_id: str
    seq: int


Ask = (
    ReadControl
    | ReadRows
    | ReadIds
    | Gather
    | TakeStep
    | AnswerCompare
    | FindMissing
    | Store
    | StoreLive
    | SaveCursor
)
