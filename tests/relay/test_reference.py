"""Random histories: every store agrees with the plain reference, and live with stored matching."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshconsole.relay.filter import Filter, matches
from meshconsole.relay.live import LiveIndex
from meshconsole.relay.store import Entry, EventStore, EvictionClass, PromptStore
from tests.relay.held import ALL
from tests.relay.making import NOW, Clock
from tests.relay.memory import MemoryEventStore, ids
from tests.relay.strategies import filters, histories

if TYPE_CHECKING:
    from tests.relay.conftest import MakeStore

relaxed = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@relaxed
@given(histories(), st.lists(st.lists(filters(), min_size=1, max_size=3), min_size=1, max_size=8))
def test_stored_and_limited(
    make_store: MakeStore, history: list[list[Entry]], asked: list[list[Filter]]
) -> None:
    clock = Clock()
    reference = MemoryEventStore(clock)
    everything = {entry.event.id for batch in history for entry in batch}
    with make_store(clock) as store:
        for batch in history:
            assert store.write(batch) == reference.write(batch)
        for now in (NOW, NOW + 2):
            clock.now = now
            for wanted in asked:
                found, expected = ids(store.query(wanted, 100)), ids(reference.query(wanted, 100))
                if any(each.search for each in wanted):  # which fits best is each store's own matter
                    assert sorted(found) == sorted(expected)
                else:
                    assert found == expected
                    assert ids(store.query(wanted, 4)) == ids(reference.query(wanted, 4))
                assert store.select(wanted, 4).complete == reference.select(wanted, 4).complete
                assert store.tally(wanted, 4) == reference.tally(wanted, 4)
                assert store.tally(wanted, 100) == reference.tally(wanted, 100)
                assert store.delete(wanted, dry_run=True) == reference.delete(wanted, dry_run=True)
                assert scanned(store, wanted) == scanned(reference, wanted)
                for each in wanted:
                    assert store.items(each, 100) == reference.items(each, 100)
                    assert store.registers(each, 9) == reference.registers(each, 9)
            assert store.feed(0, 1000) == reference.feed(0, 1000)
        assert store.count() == reference.count()
        assert store.head_seq == reference.head_seq
        assert store.settled(everything) == reference.settled(everything) == everything


def answers_at_once_are_right(store: EventStore, asked: list[list[Filter]]) -> None:
    """What was read before must not be given any more once it is gone."""
    if isinstance(store, PromptStore):
        for wanted in asked:
            answer = store.answer_now(wanted, 4, 1 << 20)
            if answer is not None:
                assert answer == store.answer(wanted, 4, 1 << 20)


@relaxed
@given(histories(), st.lists(st.lists(filters(), min_size=1, max_size=3), min_size=1, max_size=3))
def test_removed(make_store: MakeStore, history: list[list[Entry]], asked: list[list[Filter]]) -> None:
    clock = Clock()
    reference = MemoryEventStore(clock)
    with make_store(clock) as store:
        for batch in history:
            store.write(batch)
            reference.write(batch)
            answers_at_once_are_right(store, asked)
        for wanted in asked:
            classes = [EvictionClass(str(n), each) for n, each in enumerate(wanted)]
            for dry_run in (True, False):
                assert store.evict(classes, 800, dry_run=dry_run) == reference.evict(
                    classes, 800, dry_run=dry_run
                )
            assert ids(store.query(ALL, 100)) == ids(reference.query(ALL, 100))
            answers_at_once_are_right(store, asked)
            while (gone := store.delete(wanted, dry_run=False, limit=2)).count:
                assert gone == reference.delete(wanted, dry_run=False, limit=2)
            assert ids(store.query(ALL, 100)) == ids(reference.query(ALL, 100))
        assert store.count() == reference.count()
        assert store.feed(0, 1000) == reference.feed(0, 1000)


def scanned(store: EventStore, wanted: list[Filter]) -> list[str]:
    found: list[bytes] = []
    after: int | None = None
    while True:
        page = store.scan(wanted, after, 3)
        found += page.raws
        if page.after is None:
            return ids(found)
        after = page.after


@relaxed
@given(histories(), st.lists(st.lists(filters(), min_size=1, max_size=3), min_size=1, max_size=8))
def test_live(history: list[list[Entry]], asked: list[list[Filter]]) -> None:
    index: LiveIndex[int] = LiveIndex()
    for number, wanted in enumerate(asked):
        index.add(number, wanted)
    for event in (entry.event for batch in history for entry in batch):
        expected = {n for n, wanted in enumerate(asked) if any(matches(f, event) for f in wanted)}
        found = index.wanted_by(event)
        assert set(found) == expected
        assert len(found) == len(expected)


@relaxed
@given(st.lists(st.lists(filters(), min_size=1, max_size=3), max_size=8))
def test_an_emptied_live_index_holds_nothing(asked: list[list[Filter]]) -> None:
    index: LiveIndex[int] = LiveIndex()
    for number, wanted in enumerate(asked):
        index.add(number, wanted)
    assert len(index) == len(asked)
    for number in range(len(asked)):
        index.remove(number)
        index.remove(number)
    assert len(index) == 0
    assert not index.is_filing
