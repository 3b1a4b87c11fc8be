"""How urgent something is: the order in which every queue sends, and the mark that an event carries. Pure.

A note's precedence stands outside of its seal, in a tag of the event that its author signs: whoever passes
it on must see it, also a relay that cannot read the note. What makes the team is immediate without a mark.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Literal

from meshconsole.core.kinds import CONTROL_KINDS, TEAM_NOTE

if TYPE_CHECKING:
    from meshconsole.core.event import Event, Tags

PrecedenceName = Literal["flash", "immediate", "priority", "routine"]


class Precedence(IntEnum):
    """The lower number goes first."""

    FLASH = 0
    IMMEDIATE = 1
    PRIORITY = 2
    ROUTINE = 3
    BULK = 4


TAG = "precedence"
_MARKED = (Precedence.FLASH, Precedence.IMMEDIATE, Precedence.PRIORITY)
_NAMES = frozenset(each.name.lower() for each in _MARKED)
_MARKS = {f'["{TAG}","{each.name.lower()}"]'.encode(): each for each in _MARKED}


def precedence_tags(name: PrecedenceName) -> Tags:
    """What an author adds to the outer event; nothing for routine."""
    return () if name == "routine" else ((TAG, name),)


def precedence_of(kind: int, raw: bytes) -> Precedence:
    """Of an event in its canonical bytes. Only notes of the team are marked: anybody may write to a relay."""
    if kind in CONTROL_KINDS:
        return Precedence.IMMEDIATE
    if kind != TEAM_NOTE:
        return Precedence.ROUTINE
    # A quotation mark inside of a string is written \" there, so that this is a tag and nothing else.
    return next((each for mark, each in _MARKS.items() if mark in raw), Precedence.ROUTINE)


def mark_of(event: Event) -> str:
    """ "flash", "immediate" or "priority", "" for everything else."""
    mark = event.tag(TAG) if event.kind == TEAM_NOTE else None
    return mark if mark is not None and mark in _NAMES else ""
