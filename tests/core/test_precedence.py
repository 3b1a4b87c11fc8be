"""The mark of a note's precedence: seen by whoever passes it on, and not to be forged from inside a text."""

from __future__ import annotations

import pytest

from meshconsole.core.event import Event, encode_event
from meshconsole.core.kinds import EPOCH_GRANT, ROSTER_ENTRY, TEAM_NOTE, TEXT_NOTE
from meshconsole.core.precedence import Precedence, PrecedenceName, mark_of, precedence_of, precedence_tags


def event(kind: int = TEAM_NOTE, content: str = "sealed", tags: tuple[tuple[str, ...], ...] = ()) -> Event:
    return Event("a" * 64, "b" * 64, 1, kind, tags, content, "c" * 128)


@pytest.mark.parametrize("name", ["flash", "immediate", "priority", "routine"])
def test_the_mark_is_read_from_the_bytes_and_from_the_event(name: PrecedenceName) -> None:
    marked = event(tags=(("h", "x"), *precedence_tags(name)))
    assert precedence_of(TEAM_NOTE, encode_event(marked)) == Precedence[name.upper()]
    assert mark_of(marked) == ("" if name == "routine" else name)


def test_a_text_or_another_tag_that_spells_the_mark_is_none() -> None:
    for forged in (
        event(content='["precedence","flash"]'),
        event(content='\\["precedence","flash"]'),
        event(tags=(("x", '["precedence","flash"]'),)),
        event(tags=(("x", "precedence", "flash"),)),
        event(tags=(("precedence", "flashy"),)),
    ):
        assert precedence_of(TEAM_NOTE, encode_event(forged)) == Precedence.ROUTINE
        assert mark_of(forged) == ""


def test_anybodys_events_cannot_overtake_and_what_makes_the_team_does() -> None:
    tags = precedence_tags("flash")
    assert precedence_of(TEXT_NOTE, encode_event(event(TEXT_NOTE, tags=tags))) == Precedence.ROUTINE
    assert mark_of(event(TEXT_NOTE, tags=tags)) == ""
    for kind in (ROSTER_ENTRY, EPOCH_GRANT):
        assert precedence_of(kind, encode_event(event(kind))) == Precedence.IMMEDIATE
