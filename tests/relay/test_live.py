from __future__ import annotations

import pytest

from meshconsole.relay.filter import Filter
from meshconsole.relay.live import LiveIndex
from tests.relay.making import fake_npub, unsigned

EVENT = unsigned(kind=7, tags=(("t", "x"), ("t", "y")))


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(),
        Filter(limit=0),
        Filter(ids=frozenset({EVENT.id})),
        Filter(authors=frozenset({EVENT.pubkey})),
        Filter(kinds=frozenset({7})),
        Filter(tags=(("t", frozenset({"y", "z"})),)),
        Filter(tags=(("t", frozenset({"x"})),), authors=frozenset({EVENT.pubkey}), kinds=frozenset({7})),
    ],
)
def test_a_matching_filter_hears(wanted: Filter) -> None:
    index: LiveIndex[str] = LiveIndex()
    index.add("sub", [wanted])
    assert index.wanted_by(EVENT) == ["sub"]
    index.remove("sub")
    assert index.wanted_by(EVENT) == []


def test_several_matching_filters_hear_once() -> None:
    index: LiveIndex[str] = LiveIndex()
    index.add("sub", [Filter(), Filter(kinds=frozenset({7})), Filter(tags=(("t", frozenset({"x", "y"})),))])
    assert index.wanted_by(EVENT) == ["sub"]


def test_adding_again_replaces() -> None:
    index: LiveIndex[str] = LiveIndex()
    index.add("sub", [Filter()])
    index.add("sub", [Filter(kinds=frozenset({1}))])
    assert index.wanted_by(EVENT) == []
    assert len(index) == 1


def test_an_idle_subscription_is_not_looked_at() -> None:
    """Filters that share no value with an event are never compared with it."""

    class Counting(frozenset[int]):
        asked = 0

        def __contains__(self, value: object) -> bool:
            Counting.asked += 1
            return super().__contains__(value)

    index: LiveIndex[int] = LiveIndex()
    for number in range(50):
        author = frozenset({fake_npub(str(number))})
        index.add(number, [Filter(authors=author, kinds=Counting({7}))])
    assert index.wanted_by(EVENT) == []
    assert Counting.asked == 0


def test_equal_filters_are_compared_once() -> None:
    class Counting(frozenset[int]):
        asked = 0

        def __contains__(self, value: object) -> bool:
            Counting.asked += 1
            return super().__contains__(value)

    index: LiveIndex[int] = LiveIndex()
    for number in range(50):
        index.add(number, [Filter(kinds=Counting({7, 8}))])
    assert index.wanted_by(EVENT) == list(range(50))
    assert Counting.asked == 1


def test_one_of_many_with_equal_filters_leaves() -> None:
    index: LiveIndex[int] = LiveIndex()
    for number in range(3):
        index.add(number, [Filter(kinds=frozenset({7}), authors=frozenset({EVENT.pubkey}))] * 2)
    index.remove(1)
    assert index.wanted_by(EVENT) == [0, 2]
    index.remove(0)
    index.remove(2)
    assert index.wanted_by(EVENT) == []
    assert not index.is_filing
