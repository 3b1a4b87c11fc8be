"""Notes without what follows from the rest: the very same event again, or nothing that counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from meshconsole.core.kinds import ROLL_CALL, TEXT_NOTE
from meshconsole.crypto.providers import default_provider
from meshconsole.crypto.schnorr import verify_event
from meshconsole.mesh.datagrams.packing import pack_short
from meshconsole.mesh.datagrams.sealing import OVERHEAD, SIZES
from meshconsole.team.rollcall import Ask
from meshconsole.team.short import lengthen
from meshconsole.team.state import Team
from tests.mesh.devices import identity

if TYPE_CHECKING:
    from meshconsole.core.precedence import PrecedenceName

NOW = 1_700_000_000
TEAM, _ = Team.found(identity("alice"), "Falcon", "alice", NOW, default_provider())
OTHERS, _ = Team.found(identity("bob"), "Eagle", "bob", NOW, default_provider())


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=225).filter(str.strip),
    st.sampled_from(["flash", "immediate", "priority", "routine"]),
)
@settings(max_examples=40, deadline=None)
def test_it_is_the_very_same_event_again(text: str, precedence: PrecedenceName) -> None:
    event = TEAM.seal_note(text, NOW, precedence)
    short = TEAM.shorten_note(event)
    assert short is not None
    assert TEAM.lengthen_note(short) == event
    assert OTHERS.lengthen_note(short) is None, "they hold no key for it"


@pytest.mark.parametrize("text", ["x", "x" * 490, "\u00e9" * 245, "\u2602" * 163, '"' * 240])
def test_all_that_look_alike_as_events_look_alike_here(text: str) -> None:
    (payload,) = pack_short(TEAM.shorten_note(TEAM.seal_note(text, NOW))) or ()
    room = [size - OVERHEAD - 2 for size in SIZES]
    assert room[1] < len(payload) <= room[2]


def test_a_roll_call_looks_like_a_note_and_what_is_too_long_or_no_note_is_not_shortened() -> None:
    event = TEAM.seal_roll(Ask("all stations"), NOW)
    short = TEAM.shorten_note(event)
    assert short is not None
    assert TEAM.lengthen_note(short) == event
    note = TEAM.seal_note("x", NOW)
    plain = TEAM.shorten_note(note)
    assert plain is not None
    assert abs(len(plain) - len(short)) <= 2
    assert TEAM.shorten_note(TEAM.seal_note("x" * 2_000, NOW)) is None
    assert TEAM.shorten_note(replace(note, tags=(*note.tags, ("x", "y")))) is None
    assert TEAM.shorten_note(replace(note, content="AAAA")) is None
    assert OTHERS.shorten_note(note) is None


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_changed_one_is_nothing_that_counts(data: st.DataObject) -> None:
    event = TEAM.seal_note("hold the bridge", NOW)
    short = bytearray(TEAM.shorten_note(event) or b"")
    at = data.draw(st.integers(0, len(short) - 1))
    short[at] ^= data.draw(st.integers(1, 255))
    made = TEAM.lengthen_note(bytes(short))
    assert made is None or made == event or not verify_event(made)


values = st.none() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=20) | st.binary(max_size=70)


@given(st.binary(max_size=200) | st.lists(values, max_size=11).map(msgspec.msgpack.encode))
def test_nonsense_is_nothing(data: bytes) -> None:
    assert TEAM.lengthen_note(data) is None


def test_only_kinds_that_notes_have_are_made() -> None:
    short = msgspec.msgpack.decode(TEAM.shorten_note(TEAM.seal_note("x", NOW)) or b"")
    asked: list[str] = []
    for kind in (0, 4, TEXT_NOTE, ROLL_CALL):
        short[5] = kind
        lengthen(msgspec.msgpack.encode(short), lambda kid, _npub: asked.append(kid))
    assert len(asked) == 2
