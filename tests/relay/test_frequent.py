from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from meshconsole.relay.frequent import WINDOW_S, Busiest, Use, busiest


def test_all_is_known_of_few() -> None:
    table = Busiest(4)
    for source in "abcabca":
        table.of(source).events += 1
    assert {source: use.events for source, use in table.totals().items()} == {"a": 3, "b": 2, "c": 2}


def test_a_flood_of_sources_cannot_grow_it_nor_hide_the_busiest() -> None:
    table = Busiest(64)
    for number in range(20_000):
        table.of(f"once {number}").events += 1
        if number % 10 == 0:
            table.of("often").events += 1
        assert len(table) <= 64
    (source, use), *_ = busiest(table.totals(), 1)
    assert source == "often"
    assert use.events == 2000


@given(st.lists(st.sampled_from("abcdefghijklmnop"), max_size=300), st.integers(2, 8))
def test_the_promise(sources: list[str], size: int) -> None:
    """Bounded; never too high; whoever has more than 2/size of everything is there."""
    table, true = Busiest(size), Counter(sources)
    for source in sources:
        table.of(source).events += 1
    totals = table.totals()
    assert len(totals) <= size
    assert all(use.events <= true[source] for source, use in totals.items())
    assert {source for source, count in true.items() if count > 2 * len(sources) / size} <= totals.keys()


def test_what_was_long_ago_is_forgotten() -> None:
    table = Busiest()
    table.turn(0)
    table.of("early").events += 5
    table.turn(WINDOW_S)
    table.of("late").events += 1
    assert set(table.totals()) == {"early", "late"}
    table.turn(WINDOW_S + 1)
    assert set(table.totals()) == {"early", "late"}
    table.turn(2 * WINDOW_S)
    assert set(table.totals()) == {"late"}


def test_order() -> None:
    totals = {
        "b": Use(events=1),
        "a": Use(events=1),
        "c": Use(requests=1, refused=1),
        "d": Use(events=1, bytes_in=9),
    }
    assert [source for source, _ in busiest(totals, 3)] == ["c", "d", "a"]
