"""Sealed datagrams: only the team opens them, nothing outside tells them apart, rubbish is nothing."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import LocalError
from meshconsole.mesh.datagrams.messages import (
    MAX_HEARD,
    MAX_HOSTS,
    MAX_PARTS,
    PART_NAME,
    Beacon,
    FlashPart,
    decode_datagram,
    plain_beacon,
    read_plain_beacon,
)
from meshconsole.mesh.datagrams.parts import Gathering, name_of
from meshconsole.mesh.datagrams.sealing import MAX_DATAGRAM, MAX_PAYLOAD, OVERHEAD, SIZES, Sealer
from meshconsole.mesh.messages import encode

OURS, OLDER, THEIRS = b"o" * 32, b"e" * 32, b"t" * 32


@given(st.binary(max_size=MAX_PAYLOAD))
def test_what_is_sealed_opens_for_the_team_only(payload: bytes) -> None:
    datagram = Sealer((OURS, OLDER)).seal(payload)
    assert len(datagram) in SIZES
    assert len(datagram) <= MAX_DATAGRAM
    assert Sealer((THEIRS, OURS)).open(datagram) == payload
    assert Sealer((THEIRS,)).open(datagram) is None
    assert Sealer().open(datagram) is None


def test_two_datagrams_with_the_same_words_have_nothing_in_common() -> None:
    one, two = Sealer((OURS,)).seal(b"words"), Sealer((OURS,)).seal(b"words")
    assert sum(a == b for a, b in zip(one, two, strict=True)) < len(one) // 8


@given(st.data())
def test_a_changed_datagram_does_not_open(data: st.DataObject) -> None:
    datagram = bytearray(Sealer((OURS,)).seal(b"payload"))
    at = data.draw(st.integers(0, len(datagram) - 1))
    datagram[at] ^= data.draw(st.integers(1, 255))
    assert Sealer((OURS,)).open(bytes(datagram)) is None
    assert Sealer((OURS,)).open(bytes(datagram[:-1])) is None


@given(st.binary(max_size=MAX_DATAGRAM + 50))
def test_rubbish_does_not_open(rubbish: bytes) -> None:
    assert Sealer((OURS,)).open(rubbish) is None


def test_what_cannot_be_sealed_is_our_own_mistake() -> None:
    with pytest.raises(LocalError):
        Sealer((OURS,)).seal(bytes(MAX_PAYLOAD + 1))
    with pytest.raises(LocalError):
        Sealer().seal(b"x")


@given(st.binary(max_size=300))
def test_no_payload_breaks_the_reader(payload: bytes) -> None:
    decode_datagram(payload)
    read_plain_beacon(payload)


values = st.none() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=20) | st.binary(max_size=64)


@given(
    st.sampled_from(["beacon", "flash", "part", "short", "held", "got", "receipt"]),
    st.lists(values | st.lists(values, max_size=3), max_size=8),
)
def test_well_formed_nonsense_is_nothing_or_keeps_the_bounds(tag: str, fields: list[object]) -> None:
    datagram = decode_datagram(msgspec.msgpack.encode([tag, *fields]))
    if datagram is not None:
        assert decode_datagram(encode(datagram)) == datagram


@given(
    st.lists(
        st.builds(
            FlashPart,
            st.sampled_from([b"a" * PART_NAME, b"b" * PART_NAME, name_of(b"xy")]),
            st.integers(0, MAX_PARTS - 1),
            st.integers(1, MAX_PARTS),
            st.sampled_from([b"x", b"y"]),
        ),
        max_size=30,
    )
)
def test_no_parts_are_put_together_to_another_whole(parts: list[FlashPart]) -> None:
    gathering = Gathering()
    assert {gathering.put(part, 0.0) for part in parts} <= {None, b"xy"}
    assert all(gathering.held(part.name) < 1 << MAX_PARTS for part in parts)


def test_the_largest_beacon_fits_the_second_size() -> None:
    beacon = Beacon(
        b"n" * 32, b"b" * 8, 65_535, "multicast-6", (b"i" * 16,) * MAX_HOSTS, bytes(4 * MAX_HEARD)
    )
    assert len(encode(beacon)) + OVERHEAD + 2 <= SIZES[1]
    assert decode_datagram(encode(beacon)) == beacon


def test_a_plain_beacon_says_where_and_nothing_else() -> None:
    assert read_plain_beacon(plain_beacon(b"instance", 7447)) == (b"instance", 7447)
    assert read_plain_beacon(plain_beacon(b"instance", 7447) + b"x") is None
    assert read_plain_beacon(b"\0" * 14) is None
