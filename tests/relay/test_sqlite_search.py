"""How the embedded store searches: which of what it finds comes first, and what that costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.relay import reading, upkeep, words
from meshconsole.relay.filter import Filter
from meshconsole.relay.searching import LENGTH_BITS, index_row
from meshconsole.relay.sqlite import SqliteEventStore
from meshconsole.relay.walks import EVERYTHING
from tests.relay.held import deletion
from tests.relay.making import KEY, NOW, TAG_KEY, Clock, unsigned
from tests.relay.memory import ids
from tests.relay.test_sqlite import notes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BRIDGE = [Filter(search="bridge")]


def test_the_words_found_first_are_most_of_a_text(
    sqlite_store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, other = unsigned(content="bridge"), unsigned(content="my bridges", created_at=NOW + 1)
    longer = unsigned(content="bridge " + "and so on " * 9, created_at=NOW + 2)
    longest = unsigned(content="bridge " + "and so on " * 90, created_at=NOW + 3)
    sqlite_store.add([longest, short, longer, other])
    best = [other.id, short.id, longer.id, longest.id]
    assert ids(sqlite_store.query(BRIDGE, 9)) == best, "the newest of equals first"
    assert ids(sqlite_store.query(BRIDGE, 2)) == best[:2]
    # Of more than are put in order, those that came last.
    monkeypatch.setattr(reading, "CANDIDATES", 2)
    assert ids(sqlite_store.query(BRIDGE, 9)) == [other.id, longer.id]


def test_a_row_of_the_index_tells_place_and_length() -> None:
    rows = [index_row(7, "x" * length) for length in (0, 31, 32, 63, 64, 1023, 1024, 2047, 2048, 9999)]
    assert [row - (7 << LENGTH_BITS) for row in rows] == [0, 0, 1, 1, 2, 5, 6, 6, 7, 7]


def test_what_is_removed_leaves_the_index(sqlite_store: SqliteEventStore) -> None:
    events = [unsigned(content="bridge " * (1 + n * n), created_at=NOW + n) for n in range(20)]
    sqlite_store.add(events)
    assert len(sqlite_store.query(BRIDGE, 99)) == 20
    sqlite_store.add([deletion(*(("e", event.id) for event in events))])
    rows = sqlite_store._writer.execute("select count(*) from words where words match 'bridge'")
    assert rows.fetchone() == (0,)


def test_a_piece_of_the_index_fits_a_page(sqlite_store: SqliteEventStore) -> None:
    """A page of the database has room for 4,016 bytes at least, of which its own record takes some."""
    sqlite_store.add(notes(1000, "".join(f" w{n:x}" for n in range(50))))
    assert len(sqlite_store.query([Filter(search="w7")], 999)) == 999
    largest, pieces = sqlite_store._writer.execute(
        "select max(length(block)), count(*) from words_data where length(block) > 3000"
    ).fetchone()
    assert largest < 3970
    assert pieces > 1


@pytest.fixture
def patient_store(
    database: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SqliteEventStore]:
    """Nothing is indexed or merged but what a test does."""
    monkeypatch.setattr(upkeep, "PAUSE_S", 3600.0)
    monkeypatch.setattr(words, "STEP", 20)
    monkeypatch.setattr(words, "FEW_NEW", 100)
    store = SqliteEventStore(database, KEY, TAG_KEY, clock=clock)
    yield store
    store.close()


def pieces(store: SqliteEventStore) -> int:
    return int(store._writer.execute("select count(distinct segid) from words_idx").fetchone()[0])


def test_a_backlog_waits_for_a_pause_until_it_is_long(
    patient_store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "MAX_UNINDEXED", 30)
    monkeypatch.setattr(words, "MANY", 20)
    monkeypatch.setattr(words, "LARGE_STEP", 15)
    monkeypatch.setattr(words, "STEP", 5)
    patient_store.add(notes(30, "bridge"))
    assert not patient_store._index_step(False)
    assert patient_store._words.indexed == 0
    patient_store.add(notes(10, "bridge", 1000))
    assert patient_store._index_step(False), "it is too long"
    assert patient_store._words.indexed == 15, "much at once"
    assert not patient_store._index_step(False), "it is not any more"
    reached = []
    while patient_store._words.indexed < 40:
        assert patient_store._index_step(True)
        reached.append(patient_store._words.indexed)
    assert reached == [30, 35, 40]
    assert len(patient_store.query(BRIDGE, 999)) == 40


def test_many_new_pieces_become_one_in_a_pause(
    patient_store: SqliteEventStore, database: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "MERGED_PAGES", 1)
    events = notes(400, "".join(f" bridge{n:x}" for n in range(50)))
    patient_store.add(events)
    while patient_store._words.indexed < 400:
        assert patient_store._index_step(True)
    assert pieces(patient_store) > 3
    assert not patient_store._index_step(False), "no pause"
    assert patient_store._index_step(True)
    assert pieces(patient_store) > 1, "a few pages at a time"
    patient_store.add([deletion(("e", events[7].id)), unsigned(content="a bridge")])
    while patient_store._index_step(True):
        pass
    assert pieces(patient_store) == 2, "what came meanwhile is one of its own"
    assert len(patient_store.query(BRIDGE, 999)) == 400

    patient_store.add(notes(99, "bridge", 1000))
    while patient_store._index_step(True):
        pass
    assert pieces(patient_store) > 1, "too few are new"
    patient_store.close()
    again = SqliteEventStore(database, KEY, TAG_KEY, clock=clock)
    assert not again._index_step(True), "they still are"
    again.add(notes(60, "bridge", 2000))
    while again._index_step(True):
        pass
    assert pieces(again) == 1
    assert len(again.query(BRIDGE, 999)) == 559
    again.close()


def test_a_search_seeks_each_event_it_finds_in_one_index(sqlite_store: SqliteEventStore) -> None:
    sqlite_store.add(notes(9, "bridge"))
    with sqlite_store._asked.reading() as connection:
        sql = sqlite_store._asked.reader(connection)._search(
            Filter(search="bridge", kinds=frozenset({1, 30023}), since=NOW), EVERYTHING, "e.key"
        )
        plan = connection.execute(f"explain query plan {sql}", ("bridge",)).fetchall()
    assert [row[3] for row in plan] == [
        "SCAN words VIRTUAL TABLE INDEX 0:M1",
        "SEARCH e USING COVERING INDEX idx_events_seq_kind (seq=?)",
    ]
