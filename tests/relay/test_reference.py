"""Random histories: every store agrees with the plain reference, and live with stored matching."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshconsole.relay.filter import Filter, matches
from meshconsole.relay.live import LiveIndex
from meshconsole.relay.sqlite import SqliteEventStore
from tests.relay.making import KEY, NOW, TAG_KEY, Clock
from tests.relay.memory import MemoryEventStore, ids
from tests.relay.strategies import filters, histories

if TYPE_CHECKING:
    from meshconsole.core.event import Event

relaxed = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@relaxed
@given(histories(), st.lists(st.lists(filters(), min_size=1, max_size=3), min_size=1, max_size=8))
def test_stored_and_limited(history: list[list[Event]], asked: list[list[Filter]]) -> None:
    clock = Clock()
    reference = MemoryEventStore(clock)
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteEventStore(Path(folder) / "node.db", KEY, TAG_KEY, clock=clock)
        try:
            for batch in history:
                assert store.add(batch) == reference.add(batch)
            for now in (NOW, NOW + 2):
                clock.now = now
                for wanted in asked:
                    assert ids(store.query(wanted, 4)) == ids(reference.query(wanted, 4))
                    assert ids(store.query(wanted, 100)) == ids(reference.query(wanted, 100))
                    assert store.select(wanted, 4).complete == reference.select(wanted, 4).complete
                assert store.feed(0, 1000) == reference.feed(0, 1000)
            assert store.count() == reference.count()
            assert store.head_seq == reference.head_seq
        finally:
            store.close()


@relaxed
@given(histories(), st.lists(st.lists(filters(), min_size=1, max_size=3), min_size=1, max_size=8))
def test_live(history: list[list[Event]], asked: list[list[Filter]]) -> None:
    index: LiveIndex[int] = LiveIndex()
    for number, wanted in enumerate(asked):
        index.add(number, wanted)
    for event in (event for batch in history for event in batch):
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
