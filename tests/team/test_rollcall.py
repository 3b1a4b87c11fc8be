"""Roll call: what is asked and answered comes out as it went in, and from outside it is a note."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import Refused
from meshconsole.core.kinds import ROLL_CALL, TEAM_NOTE
from meshconsole.crypto.identity import Identity
from meshconsole.crypto.providers import default_provider
from meshconsole.crypto.suites import MC1
from meshconsole.team.rollcall import ANSWERS, MAX_TEXT, Answer, Ask, Roll, read_roll
from meshconsole.team.state import Team

NOW = 1_800_000_000
ME = Identity(bytes([1]) * 32, MC1, default_provider())
TEAM, _ = Team.found(ME, "Falcon", "alpha", NOW, default_provider())

ROLLS = st.one_of(
    st.builds(Ask, st.text(st.characters(exclude_categories=["Cs"]), max_size=MAX_TEXT)),
    st.builds(Answer, st.binary(min_size=32, max_size=32).map(bytes.hex), st.sampled_from([*ANSWERS])),
)


@given(ROLLS)
def test_it_comes_out_as_it_went_in(roll: Roll) -> None:
    event = TEAM.seal_roll(roll, NOW)
    assert (event.kind, event.tag("precedence")) == (TEAM_NOTE, "immediate")
    assert TEAM.open_note(event).roll == roll


def test_in_words() -> None:
    words = [
        TEAM.open_note(TEAM.seal_roll(roll, NOW)).text
        for roll in (Ask(), Ask("after the \x1b[31mstorm"), Answer("ab" * 32, "help"))
    ]
    assert words == [
        "ROLL CALL",
        "ROLL CALL after the \N{REPLACEMENT CHARACTER}[31mstorm",
        "roll call: needs help",
    ]


def test_from_outside_it_looks_like_an_immediate_note() -> None:
    roll, note = TEAM.seal_roll(Ask("all?"), NOW), TEAM.seal_note("all?", NOW, "immediate")
    assert (roll.tags, len(roll.content)) == (note.tags, len(note.content))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        '{"roll":"ask","text":7}',
        '{"roll":"sing"}',
        '{"roll":"answer","to":"ab","word":"ok"}',
        '{"roll":"answer","to":"' + "ab" * 32 + '","word":"fine"}',
        '{"roll":"ask","text":"' + "x" * (MAX_TEXT + 1) + '"}',
        "[" * 5000,
    ],
)
def test_what_is_none_is_refused(content: str) -> None:
    inner = ME.sign(ROLL_CALL, (), content, NOW)
    with pytest.raises(Refused, match="no roll call"):
        read_roll(inner)


@pytest.mark.parametrize("text", ["x" * (MAX_TEXT + 1), "\ud800"])
def test_what_nobody_could_read_is_not_sent(text: str) -> None:
    with pytest.raises(Refused):
        TEAM.seal_roll(Ask(text), NOW)
