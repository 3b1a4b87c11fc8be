"""What a person writes to others, and what says that it was read. Pure."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from meshconsole.control.wire import Message, Text
from meshconsole.core.precedence import PrecedenceName  # noqa: TC001 - msgspec reads the annotation
from meshconsole.core.status import RollAnswer  # noqa: TC001 - msgspec reads the annotation

MAX_ROLL_TEXT = 200


class SendNote(Message, frozen=True):
    """To the team, sealed. Answered with `EventsData` holding the one event."""

    text: Text
    precedence: PrecedenceName = "routine"


class SendDirect(Message, frozen=True):
    """To one device of the team, sealed for it alone. Answered with `EventsData` holding the one event."""

    npub: Annotated[str, Meta(max_length=64)]
    text: Text


class SendPlain(Message, frozen=True):
    """To a plain Nostr key (npub1… or hex), by NIP-17: not post-quantum. Answered with `EventsData`
    holding this device's copy."""

    npub: Annotated[str, Meta(max_length=128)]
    text: Text


class MarkRead(Message, frozen=True):
    """A note of the team, by its id in hex: its author is told that somebody has read it."""

    event_id: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class CallRoll(Message, frozen=True):
    """Asks every device of the team that writes how it is; the board is in the status."""

    text: Annotated[str, Meta(max_length=MAX_ROLL_TEXT)] = ""


class AnswerRoll(Message, frozen=True):
    """Answers the newest roll call. A later answer replaces an earlier one."""

    word: RollAnswer


NoteCommand = SendNote | SendDirect | SendPlain | MarkRead | CallRoll | AnswerRoll
