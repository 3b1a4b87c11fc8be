"""Roll call: one device asks, every other one answers with one word. Sealed as notes are. Pure.

To whoever only passes it on it is a note like any other (docs/protocol.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from meshconsole.core.errors import Refused
from meshconsole.core.kinds import ROLL_CALL, TEAM_NOTE
from meshconsole.core.precedence import precedence_tags
from meshconsole.core.status import RollAnswer  # noqa: TC001 - msgspec reads the annotation
from meshconsole.core.text import safe
from meshconsole.team.sealed import seal_event, team_tags

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from meshconsole.crypto.identity import Identity
    from meshconsole.team.epochs import EpochKey

MAX_TEXT = 200

ANSWERS: dict[RollAnswer, str] = {"ok": "ok", "help": "needs help", "out": "out of action"}
"""Each answer, and what it says of the device that gives it."""


class Ask(msgspec.Struct, frozen=True, tag_field="roll", tag="ask"):
    text: Annotated[str, Meta(max_length=MAX_TEXT)] = ""


class Answer(msgspec.Struct, frozen=True, tag_field="roll", tag="answer"):
    """`to` is the id of the outer event that asks."""

    to: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    word: RollAnswer


Roll = Ask | Answer

_decoder: msgspec.json.Decoder[Roll] = msgspec.json.Decoder(Roll)


def seal_roll(author: Identity, epoch: EpochKey, roll: Roll, now: int) -> Event:
    """Immediate, so that it overtakes what can wait. Raises Refused."""
    if isinstance(roll, Ask) and len(roll.text) > MAX_TEXT:
        raise Refused("invalid", f"A roll call may say {MAX_TEXT} characters, not {len(roll.text)}.")
    try:
        content = msgspec.json.encode(roll).decode()
    except UnicodeEncodeError:
        raise Refused("invalid", "The roll call holds characters that are not text.") from None
    inner = author.sign(ROLL_CALL, team_tags(epoch.team), content, now)
    return seal_event(author, epoch, inner, TEAM_NOTE, precedence_tags("immediate"))


def read_roll(inner: Event) -> Roll:
    """Raises Refused."""
    try:
        return _decoder.decode(inner.content)
    except (msgspec.DecodeError, UnicodeError):
        raise Refused("invalid", "It is no roll call that this version knows.") from None


def in_words(roll: Roll) -> str:
    if isinstance(roll, Answer):
        return f"roll call: {ANSWERS[roll.word]}"
    return f"ROLL CALL {safe(roll.text)}".rstrip()
