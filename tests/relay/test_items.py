from __future__ import annotations

import random
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import LocalError
from meshconsole.relay.items import BLOCK, MAX_TIME, Bound, ItemVector

Items = list[tuple[int, bytes]]


def some_items(count: int, span: int = 50, seed: int = 1) -> Items:
    """`span` times for all of them: many share theirs."""
    made = random.Random(seed)
    return sorted({(1000 + made.randrange(span), made.randbytes(32)) for _ in range(count)})


ITEMS = some_items(5 * BLOCK + 7)
VECTOR = ItemVector(ITEMS)
PLACES = st.integers(0, len(ITEMS))


@given(PLACES, PLACES)
def test_sums_of_any_range(one: int, other: int) -> None:
    start, end = sorted((one, other))
    wanted = sum(int.from_bytes(item[1], "little") for item in ITEMS[start:end]) % 2**256
    assert VECTOR.sum_of(start, end) == wanted


def test_sums_carry_and_wrap() -> None:
    highest = [(n, b"\xff" * 32) for n in range(BLOCK)]
    assert ItemVector(highest).sum_of(0, BLOCK) == (2**256 - BLOCK) % 2**256


@given(PLACES, st.binary(max_size=32), st.integers(990, 1060))
def test_lower_bound_is_the_first_item_not_before(start: int, prefix: bytes, time: int) -> None:
    wanted = max(start, bisect_left(ITEMS, (time, prefix.ljust(32, b"\x00"))))
    assert VECTOR.lower_bound(Bound(time, prefix), start) == wanted


def test_infinity_is_behind_everything() -> None:
    assert VECTOR.lower_bound(Bound(MAX_TIME, b"")) == len(VECTOR) == len(ITEMS)


def test_bounds_are_as_short_as_they_can_be() -> None:
    for index in range(1, len(ITEMS)):
        bound = VECTOR.bound_before(index)
        assert VECTOR.lower_bound(bound) == index
        if bound.prefix:
            assert VECTOR.lower_bound(Bound(bound.time, bound.prefix[:-1])) < index
        else:
            assert ITEMS[index - 1][0] < ITEMS[index][0]


@pytest.mark.parametrize(
    "items",
    [
        [(2, b"a" * 32), (1, b"b" * 32)],
        [(1, b"b" * 32), (1, b"a" * 32)],
        [(1, b"a" * 32), (1, b"a" * 32)],
        [(1, b"a" * 31)],
        [(MAX_TIME, b"a" * 32)],
    ],
)
def test_only_sorted_items_are_taken(items: Items) -> None:
    with pytest.raises(LocalError):
        ItemVector(items)
