"""Sealed datagrams: only the team opens them, nothing outside tells them apart, rubbish is nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import LocalError
from meshconsole.mesh.datagrams.messages import (
    MAX_HEARD,
    MAX_HOSTS,
    Beacon,
    decode_datagram,
    plain_beacon,
    read_plain_beacon,
)
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
