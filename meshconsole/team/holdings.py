"""What a node says that it holds: one small addressable event for each of 16 parts of all CIDs. Pure.

CIDs and sizes of sealed files are all that is in it, so that devices of role "relay" can read it and keep
copies too. It travels between enrolled nodes only, and only the newest of each part stays.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from meshconsole.core.errors import Refused
from meshconsole.core.kinds import HOLDINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from meshconsole.core.event import Event
    from meshconsole.crypto.identity import Identity

PARTS = 16
_NUMBERS = frozenset(map(str, range(PARTS)))
MAX_ENTRIES = 4096
"""Of one part. Roots beyond it are not told of."""

PINNED, KEPT = 1, 2
"""Flags of an entry: an owner of the node pinned it; the node keeps it as a copy for the team."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    cid: Annotated[str, Meta(min_length=1, max_length=128)]
    percent: Annotated[int, Meta(ge=0, le=100)]
    flags: Annotated[int, Meta(ge=0, le=3)]
    size: Annotated[int, Meta(ge=0, le=1 << 43)]
    min_replicas: Annotated[int, Meta(ge=0, le=100)] = 0
    max_replicas: Annotated[int, Meta(ge=0, le=1000)] = 0


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`room` is how many bytes the node could still take, as a hint."""

    v: Annotated[int, Meta(ge=1, le=1)]
    room: Annotated[int, Meta(ge=0, le=1 << 60)]
    held: Annotated[tuple[Entry, ...], Meta(max_length=MAX_ENTRIES)]


def part_of(cid: str) -> int:
    return sha256(cid.encode()).digest()[0] % PARTS


def split(entries: Iterable[Entry]) -> dict[int, tuple[Entry, ...]]:
    """By part, sorted; every part is there."""
    parts: dict[int, list[Entry]] = {number: [] for number in range(PARTS)}
    for entry in entries:
        parts[part_of(entry.cid)].append(entry)
    return {number: tuple(sorted(held, key=_by_cid)[:MAX_ENTRIES]) for number, held in parts.items()}


def sign_part(author: Identity, number: int, room: int, held: tuple[Entry, ...], now: int) -> Event:
    content = msgspec.json.encode(Part(1, room, held)).decode()
    return author.sign(HOLDINGS, (("d", str(number)),), content, now)


def read_part(event: Event) -> tuple[int, Part]:
    """The number of the part and what it says. Raises Refused("invalid", ...)."""
    number = part_number(event)
    try:
        part = msgspec.json.decode(event.content, type=Part)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Refused("invalid", "What a node says that it holds is malformed.") from None
    return number, part


def part_number(event: Event) -> int:
    """Raises Refused("invalid", ...) for an address that no part has."""
    d = event.tag("d") or ""
    if d not in _NUMBERS:
        raise Refused("invalid", "What a node says that it holds is malformed.")
    return int(d)


def _by_cid(entry: Entry) -> str:
    return entry.cid


def merged(parts: Mapping[int, Part]) -> dict[str, Entry]:
    """All entries by CID, each from the part where it belongs."""
    return {
        entry.cid: entry
        for number, part in parts.items()
        for entry in part.held
        if part_of(entry.cid) == number
    }
