"""Notes to the team. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import Refused
from meshconsole.core.kinds import ROLL_CALL, TEAM_NOTE, TEXT_NOTE
from meshconsole.core.precedence import precedence_tags
from meshconsole.team.rollcall import Roll, in_words, read_roll
from meshconsole.team.sealed import open_event, seal_event, team_tags

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from meshconsole.core.precedence import PrecedenceName
    from meshconsole.crypto.identity import Identity
    from meshconsole.team.epochs import EpochKey

MAX_NOTE_BYTES = 16_384


class Note(msgspec.Struct, frozen=True):
    """`author` is an npub in hex, `name` the author's display name, `created_at` in seconds."""

    author: str
    name: str
    text: str
    created_at: int
    author_removed: bool = False
    roll: Roll | None = None
    """It asks or answers a roll call, which `text` says in words."""


def seal_note(
    author: Identity, epoch: EpochKey, text: str, now: int, precedence: PrecedenceName = "routine"
) -> Event:
    """Raises Refused for an empty note and for one above 16 KiB of UTF-8."""
    check_text(text, "note")
    inner = author.sign(TEXT_NOTE, team_tags(epoch.team), text, now)
    return seal_event(author, epoch, inner, TEAM_NOTE, precedence_tags(precedence))


def check_text(text: str, what: str) -> None:
    """Raises Refused, in the name of `what` it is, for what is empty, no text or above 16 KiB of UTF-8."""
    if not text.strip():
        raise Refused("invalid", f"The {what} is empty.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Refused("invalid", f"The {what} holds characters that are not text.") from None
    if size > MAX_NOTE_BYTES:
        raise Refused(
            "invalid",
            f"The {what} has {size} bytes, and {MAX_NOTE_BYTES} are the most.",
            hint="Send it as a file: meshconsole blobs add FILE",
        )


def open_note(outer: Event, epoch: EpochKey, name: str, *, removed: bool = False) -> Note:
    """`name` is what the roster calls the author, `removed` whether it does not belong any more: what it
    wrote under an epoch of its own may have been written before or after. Raises Refused."""
    inner = open_event(outer, epoch, TEXT_NOTE, ROLL_CALL)
    if inner.kind == ROLL_CALL:
        roll = read_roll(inner)
        return Note(inner.pubkey, name, in_words(roll), inner.created_at, removed, roll)
    return Note(inner.pubkey, name, inner.content, inner.created_at, removed)
