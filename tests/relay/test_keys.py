from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from meshconsole.relay.event import MAX_CREATED_AT
from meshconsole.relay.keys import MAX_KEY, KeyedHash, created_at_of, key_range, neighbours, row_key, short_id
from tests.relay.making import unsigned

times = st.integers(0, MAX_CREATED_AT)


@given(times, times, st.text(max_size=3), st.text(max_size=3))
def test_keys_order_like_nip_01(first: int, second: int, one: str, two: str) -> None:
    a, b = unsigned(content=one, created_at=first), unsigned(content=two, created_at=second)
    if row_key(a) != row_key(b):
        assert (row_key(a) > row_key(b)) == ((-a.created_at, a.id) < (-b.created_at, b.id))
    assert 0 <= row_key(a) <= MAX_KEY
    assert created_at_of(row_key(a)) == first


@given(times, st.integers(-(1 << 70), 1 << 70), st.integers(-(1 << 70), 1 << 70))
def test_ranges_are_inclusive(created_at: int, since: int, until: int) -> None:
    key = row_key(unsigned(created_at=created_at))
    low, high = key_range(since, until)
    assert (low <= key <= high) == (since <= created_at <= until)
    assert -1 <= high <= MAX_KEY
    assert 0 <= low <= MAX_KEY


def test_an_open_range_holds_everything() -> None:
    assert key_range(None, None) == (0, MAX_KEY)


@given(times, st.booleans())
def test_neighbours_stay_within_their_second(created_at: int, upwards: bool) -> None:
    key = row_key(unsigned(created_at=created_at))
    near = list(islice(neighbours(key, upwards=upwards), 20))
    assert len(set(near)) == 20
    assert key not in near
    assert {created_at_of(other) for other in near} == {created_at}


def test_short_ids_are_signed() -> None:
    assert short_id("ff" * 32) == -1
    assert short_id("00" * 7 + "01" + "ff" * 24) == 1


def test_hashes_depend_on_the_secret_and_the_sort() -> None:
    one, two = KeyedHash(b"1" * 32), KeyedHash(b"2" * 32)
    hashes = [
        one.tag("t", "x"),
        one.tag("T", "x"),
        one.tag("t", "y"),
        two.tag("t", "x"),
        one.address("x"),
        one.deleted_address("x"),
        one.deleted_id("x", ""),
    ]
    assert len(set(hashes)) == len(hashes)
    assert one.tag("t", "x") == KeyedHash(b"1" * 32).tag("t", "x")
