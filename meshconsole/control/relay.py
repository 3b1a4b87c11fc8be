"""What may be asked of a node's event store. Pure.

A filter is NIP-01's JSON as text, "" for everything. The team's control events (roster, keys) are read
and carried like any other, but never removed by a filter.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from meshconsole.control.wire import AbsolutePath, Message

FilterText = Annotated[str, Meta(max_length=65_536)]


class ScanRelay(Message, frozen=True):
    """One page of what matches, oldest first; `after` comes from the one before. Answered with
    `PageData`."""

    filter: FilterText = ""
    after: int | None = None
    count: Annotated[int, Meta(ge=1, le=500)] = 200


class DeleteFromRelay(Message, frozen=True):
    """Removes what matches, or with `dry_run` tells how much that is. Answered with `RemovedData`."""

    filter: FilterText
    dry_run: bool = True


class EvictFromRelay(Message, frozen=True):
    """Makes room by removing the oldest of what is least missed. Answered with `RemovedData`."""

    need_bytes: Annotated[int, Meta(ge=1, le=1 << 50)]
    dry_run: bool = True


class BackUpRelay(Message, frozen=True):
    """Copies the event store while it is in use; the copy is encrypted as the original is."""

    path: AbsolutePath


class VacuumRelay(Message, frozen=True):
    """Gives free pages back to the disk, in small steps. Answered with `CountsData`."""


class ShowRelayLists(Message, frozen=True):
    """Whom and what the relay lets in or keeps out beside the roster. Answered with `ListsData`."""


class ChangeRelayLists(Message, frozen=True):
    """An act of NIP-86, by this node's owner. `subject` is a key, an id, an address, or a kind's number."""

    act: Literal[
        "banpubkey",
        "unbanpubkey",
        "allowpubkey",
        "unallowpubkey",
        "banevent",
        "unbanevent",
        "allowevent",
        "unallowevent",
        "allowkind",
        "disallowkind",
        "blockip",
        "unblockip",
    ]
    subject: Annotated[str, Meta(max_length=128)]
    reason: Annotated[str, Meta(max_length=1024)] = ""


class Import(Message, frozen=True):
    """Reads events from a JSONL file on the node's machine. Answered with `CountsData`. `resume` goes on
    where the same file was broken off; refused lines go to a new file `refused_path`, if one is named."""

    path: AbsolutePath
    resume: bool = True
    refused_path: Annotated[str, Meta(max_length=4096)] = ""


class ImportLines(Message, frozen=True):
    """The same for lines that only the client can read, such as its standard input."""

    lines: Annotated[tuple[bytes, ...], Meta(max_length=10_000)]


class Export(Message, frozen=True):
    """Writes every event that matches to a JSONL file, going on where the same export was broken off.
    Answered with `CountsData`."""

    path: AbsolutePath
    filter: FilterText = ""


class PageData(Message, frozen=True):
    """Events as they are stored. `after` is None at the end."""

    events: tuple[bytes, ...]
    after: int | None = None


class ListsData(Message, frozen=True):
    """Each with the reason that was given, if any."""

    banned_keys: dict[str, str]
    allowed_keys: dict[str, str]
    banned_events: dict[str, str]
    allowed_events: dict[str, str]
    blocked_addresses: dict[str, str]
    allowed_kinds: tuple[int, ...]
    disallowed_kinds: tuple[int, ...]


class RemovedClass(msgspec.Struct, frozen=True):
    name: str
    count: int
    bytes: int


class RemovedData(Message, frozen=True):
    """What was, or would be, removed. Bytes are those of the events themselves."""

    classes: tuple[RemovedClass, ...]


RelayCommand = (
    ScanRelay
    | Import
    | ImportLines
    | Export
    | DeleteFromRelay
    | EvictFromRelay
    | BackUpRelay
    | VacuumRelay
    | ShowRelayLists
    | ChangeRelayLists
)
