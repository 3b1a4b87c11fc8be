"""What gives way to what: NIP-09 deletion, NIP-40 expiry, NIP-62 vanishing. Pure.

The rules that every event store follows, and the verdicts they give.

A request to vanish takes everything of its author up to its time, deletions included, and the gift
wraps for it. It stays itself, so that other nodes hear of it; a deletion does not undo it. What a
team was told about itself (control kinds) is never taken back: newcomers need it whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.event import is_addressable, is_replaceable
from meshconsole.core.kinds import CONTROL_KINDS, DELETION, GATED_KINDS, VANISH
from meshconsole.core.verdict import refuse
from meshconsole.relay.event import indexed_tags, is_hex

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshconsole.core.event import Event

EXPIRED = refuse("invalid", "the event has expired")
DELETED = refuse("blocked", "its author deleted this event")
VANISHED = refuse("blocked", "its author, or whom it is for, asked to vanish")
SUPERSEDED = refuse("duplicate", "replaced: a newer version of this event is already here")
NOT_STORED = refuse("error", "ephemeral events are not stored")

UNDELETABLE = CONTROL_KINDS | {DELETION, VANISH}
"""Kinds that no deletion reaches (NIP-09, NIP-62)."""

UNVANISHING = CONTROL_KINDS | {VANISH}
"""Kinds that no request to vanish reaches."""


def is_versioned(kind: int) -> bool:
    """Only the newest of an address is kept (NIP-01)."""
    return is_replaceable(kind) or is_addressable(kind)


def recipients(event: Event) -> set[str]:
    """Whom a gift wrap is for (NIP-59); empty for other kinds."""
    if event.kind not in GATED_KINDS:
        return set()
    return {value for letter, value in indexed_tags(event) if letter == "p"}


def owners(event: Event) -> set[str]:
    """Those who may delete it (NIP-09, NIP-59). Empty when nobody may."""
    return set() if event.kind in UNDELETABLE else {event.pubkey} | recipients(event)


def vanishing(event: Event) -> set[str]:
    """Those whose request to vanish covers it, when it is not newer (NIP-62)."""
    return set() if event.kind in UNVANISHING else {event.pubkey} | recipients(event)


def deleted_ids(deletion: Event) -> Iterator[str]:
    """The ids that a deletion names, as far as they have the form of ids."""
    return (tag[1] for tag in deletion.tags if len(tag) > 1 and tag[0] == "e" and is_hex(tag[1], 64))


def deleted_addresses(deletion: Event) -> Iterator[str]:
    """The canonical addresses that a deletion names, as far as they are its author's own."""
    for tag in deletion.tags:
        if len(tag) > 1 and tag[0] == "a" and (own := _own_address(tag[1], deletion.pubkey)) is not None:
            yield own


def _own_address(value: str, pubkey: str) -> str | None:
    kind, _, rest = value.partition(":")
    author, _, d = rest.partition(":")  # d may hold colons
    if author != pubkey or not kind.isascii() or not kind.isdigit() or len(kind) > 5:
        return None
    number = int(kind)
    if number in UNDELETABLE:
        return None
    if is_replaceable(number):
        return f"{number}:{pubkey}:"
    return f"{number}:{pubkey}:{d}" if is_addressable(number) else None
