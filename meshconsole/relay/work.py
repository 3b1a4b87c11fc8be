"""NIP-13: how much work an event's id shows. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshconsole.core.event import Event

ID_BITS = 256


def difficulty(event_id: str) -> int:
    """Leading zero bits, not digits."""
    return ID_BITS - int(event_id, 16).bit_length()


def committed_target(event: Event) -> int | None:
    """What the miner aimed at: the third entry of the nonce tag; None where it says nothing."""
    for tag in event.tags:
        if tag[0] == "nonce":
            target = tag[2] if len(tag) > 2 else ""
            return int(target) if target.isascii() and target.isdigit() and len(target) <= 3 else None
    return None
