"""Events in memory: bounded, the same as in the store, and gone with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.relay.hot import OVERHEAD, HotEvents

if TYPE_CHECKING:
    from collections.abc import Sequence


class Store:
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        self.read: list[int] = []
        self.version = b"a"

    def __call__(self, keys: Sequence[int]) -> list[bytes]:
        self.read += keys
        return [self.version * key for key in keys]


def test_what_was_read_is_not_read_again() -> None:
    hot, store = HotEvents(1 << 20), Store()
    assert hot.raws([3, 1, 2], hot.mark, store) == [b"aaa", b"a", b"aa"]
    assert hot.raws([2, 4, 3], hot.mark, store) == [b"aa", b"aaaa", b"aaa"]
    assert store.read == [3, 1, 2, 4]


def test_it_takes_no_more_than_it_may_and_keeps_what_is_asked_for_again() -> None:
    hot, store = HotEvents(20 * (OVERHEAD + 100)), Store()
    for key in range(100, 200):
        hot.raws([1, key], hot.mark, store)
        assert len(hot) <= 22
    assert store.read.count(1) == 1
    assert hot.raws([199, 100], hot.mark, store) == [b"a" * 199, b"a" * 100]
    assert store.read.count(199) == 1
    assert store.read.count(100) == 2


@pytest.mark.parametrize("others", [0, 30])
def test_what_was_removed_is_forgotten(others: int) -> None:
    hot, store = HotEvents(20 * (OVERHEAD + 100)), Store()
    hot.raws([7], hot.mark, store)
    hot.raws(range(100, 100 + others), hot.mark, store)
    hot.forget([7])
    store.version = b"b"
    assert hot.raws([7], hot.mark, store) == [b"bbbbbbb"]


def test_what_was_removed_while_it_was_read_is_not_kept() -> None:
    hot, store = HotEvents(1 << 20), Store()

    def removed_meanwhile(keys: Sequence[int]) -> list[bytes]:
        given = store(keys)
        hot.forget(keys)
        return given

    assert hot.raws([7], hot.mark, removed_meanwhile) == [b"aaaaaaa"], "its snapshot still had it"
    assert len(hot) == 0


def test_a_smaller_one_is_empty_at_once_and_a_larger_one_keeps_what_it_has() -> None:
    hot, store = HotEvents(1 << 20), Store()
    hot.raws([1, 2], hot.mark, store)
    hot.resize(2 << 20)
    assert len(hot) == 2
    hot.resize(20 * (OVERHEAD + 100))
    assert len(hot) == 0
    for key in range(100, 200):
        hot.raws([key], hot.mark, store)
        assert len(hot) <= 22
