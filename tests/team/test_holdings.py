from __future__ import annotations

import pytest

from meshconsole.core.errors import Refused
from meshconsole.team.holdings import PARTS, PINNED, Entry, Part, merged, part_of, read_part, sign_part, split
from tests.team.devices import NOW, identity

ENTRIES = [Entry(f"bafy{i}", 100, PINNED, 10, 2) for i in range(200)]


def test_round_trip_by_parts() -> None:
    me = identity()
    parts: dict[int, Part] = {}
    for number, held in split(ENTRIES).items():
        read, part = read_part(sign_part(me, number, 77, held, NOW))
        assert read == number
        assert part.room == 77
        parts[number] = part
    assert len(parts) == PARTS
    assert sorted(merged(parts).values(), key=str) == sorted(ENTRIES, key=str)


def test_an_entry_in_the_wrong_part_does_not_count() -> None:
    entry = ENTRIES[0]
    wrong = (part_of(entry.cid) + 1) % PARTS
    assert merged({wrong: Part(1, 0, (entry,))}) == {}


@pytest.mark.parametrize(
    ("d", "content"),
    [
        ("0", ""),
        ("0", "[]"),
        ("0", '{"v":2,"room":0,"held":[]}'),
        ("0", '{"v":1,"room":-1,"held":[]}'),
        ("0", '{"v":1,"room":0,"held":[["c",101,0,0]]}'),
        ("0", '{"v":1,"room":0,"held":[["c",1,0]]}'),
        ("16", '{"v":1,"room":0,"held":[]}'),
        ("01", '{"v":1,"room":0,"held":[]}'),
        ("", '{"v":1,"room":0,"held":[]}'),
        ("²", '{"v":1,"room":0,"held":[]}'),
    ],
)
def test_malformed_parts_are_refused(d: str, content: str) -> None:
    event = identity().sign(34203, (("d", d),), content, NOW)
    with pytest.raises(Refused):
        read_part(event)
