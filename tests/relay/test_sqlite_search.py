"""How the embedded store searches: which of what it finds comes first, and what that costs."""

from __future__ import annotations

import random
from operator import attrgetter
from typing import TYPE_CHECKING, cast

import pytest

from meshconsole.relay import seeking, upkeep, words
from meshconsole.relay.filter import Filter, matches
from meshconsole.relay.keys import MAX_KEY, created_at_of
from meshconsole.relay.reading import is_stretch
from meshconsole.relay.searching import BY_SEQ, length_of, row_by_second, row_by_seq, second_of
from meshconsole.relay.sqlite import SqliteEventStore
from meshconsole.relay.store import Tally
from tests.relay.held import deletion
from tests.relay.making import KEY, NOW, TAG_KEY, Clock, fake_npub, unsigned
from tests.relay.memory import ids
from tests.relay.test_plans import Explaining
from tests.relay.test_sqlite import notes
from tests.relay.test_writing_now import held_elsewhere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from meshconsole.core.event import Event
    from meshconsole.relay.dbapi import Connection
    from meshconsole.relay.reading import Reading

BRIDGE = [Filter(search="bridge")]
WANTED = Filter(search="bridge", kinds=frozenset({1, 30023}), since=NOW)


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
    # Of more than are put in order, the newest.
    monkeypatch.setattr(seeking, "CANDIDATES", 2)
    assert ids(sqlite_store.query(BRIDGE, 9)) == [longer.id, longest.id]


def test_a_row_of_the_index_tells_place_and_length() -> None:
    texts = ["x" * length for length in (0, 31, 32, 63, 64, 1023, 1024, 2047, 2048, 9999)]
    lengths = [0, 0, 1, 1, 2, 5, 6, 6, 7, 7]
    assert [length_of(row_by_seq(7, text)) for text in texts] == lengths
    assert [length_of(row_by_second(NOW, text)) for text in texts] == lengths
    assert {second_of(row_by_second(NOW, text)) for text in texts} == {NOW}
    last = row_by_second(created_at_of(MAX_KEY), texts[-1])
    assert last < BY_SEQ <= row_by_seq(0, "")


@pytest.mark.parametrize(("search", "expected"), [("", True), ("include:spam", True), ("bridge", False)])
def test_what_lies_between_the_events_found_is_not_read(search: str, expected: bool) -> None:
    assert is_stretch(Filter(search=search)) is expected


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
    with held_elsewhere(patient_store._committing.lock):
        assert not patient_store._index_step(False), "nor is the one who writes waited for"
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


def test_a_second_with_one_event_leads_straight_to_it(patient_store: SqliteEventStore) -> None:
    alone = unsigned(content="bridge", created_at=NOW + 1)
    two = [unsigned(content=f"bridge {n}") for n in range(2)]
    patient_store.add([alone, *two])
    assert ids(patient_store.query(BRIDGE, 9))[0] == alone.id
    rows = patient_store._writer.execute("select id from words_docsize order by id").fetchall()
    assert rows == [
        (row_by_second(NOW + 1, "bridge"),),
        (row_by_seq(2, "bridge 0"),),
        (row_by_seq(3, "bridge 1"),),
    ]
    # What is removed before it was indexed takes nobody's row along.
    passing = unsigned(content="passing", created_at=NOW + 1)
    patient_store.add([passing])
    patient_store.add([deletion(("e", passing.id))])
    assert ids(patient_store.query(BRIDGE, 9))[0] == alone.id
    # What comes into its second later is not taken for it, nor is it for what came later.
    later = [unsigned(content=f"bridge {n}", created_at=NOW + 1) for n in range(2)]
    reaction = unsigned("bob", kind=7, content="bridge", created_at=NOW + 1)
    patient_store.add([reaction, *later])
    assert set(ids(patient_store.query(BRIDGE, 9))) == {alone.id, *map(attrgetter("id"), [*two, *later])}
    patient_store.add([deletion(("e", alone.id))])
    assert set(ids(patient_store.query(BRIDGE, 9))) == {event.id for event in [*two, *later]}
    patient_store.add([deletion(*(("e", event.id) for event in later))])
    assert set(ids(patient_store.query(BRIDGE, 9))) == {event.id for event in two}


@pytest.mark.parametrize("seed", range(2))
def test_whatever_comes_and_goes_is_found_as_long_as_it_is_there(
    patient_store: SqliteEventStore, seed: int
) -> None:
    """In few seconds, so that rows by second and by place in the log meet; some is removed unindexed."""
    chance = random.Random(seed)
    held: dict[str, Event] = {}
    for number in range(60):
        if chance.random() < 0.6 or not held:
            events = [
                unsigned(
                    chance.choice(("alice", "bob")),
                    chance.choice((1, 1, 7)),
                    content=f"{number} " + chance.choice(("bridge", "ferry")) * chance.choice((1, 1, 40)),
                    created_at=NOW + chance.randrange(30),
                )
                for _ in range(chance.randrange(1, 5))
            ]
            patient_store.add(events)
            held |= {event.id: event for event in events}
        else:
            gone = [held.pop(name) for name in chance.sample(sorted(held), min(4, len(held)))]
            patient_store.delete([Filter(ids=frozenset(event.id for event in gone))], dry_run=False)
        if chance.random() < 0.3:
            patient_store._index_step(True)
        if chance.random() < 0.2:
            wanted = Filter(
                search=chance.choice(("bridge", "fer", "rid")),
                authors=chance.choice((None, frozenset({fake_npub("bob")}))),
                since=chance.choice((None, NOW + 10)),
                until=chance.choice((None, NOW + 20)),
            )
            expected = {name for name, event in held.items() if matches(wanted, event)}
            assert set(ids(patient_store.query([wanted], 999))) == expected
            assert patient_store.tally([wanted], 999) == Tally(len(expected), complete=True)
            oldest = [item.id.hex() for item in patient_store.items(wanted, 999)]
            assert set(oldest) == expected
    patient_store.query(BRIDGE, 1)
    (rows,) = patient_store._writer.execute("select count(*) from words_docsize").fetchone()
    assert rows == sum(event.kind == 1 for event in held.values())


@pytest.mark.parametrize(
    ("ask", "step"),
    [
        (
            lambda reading: reading._by_seq(WANTED),
            "e USING COVERING INDEX idx_events_seq_kind (seq=?)",
        ),
        (lambda reading: reading.keys(WANTED, 9), "e USING INTEGER PRIMARY KEY (rowid=?)"),
        (
            lambda reading: reading.ranked(WANTED, 9),
            "b USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
    ],
    ids=["by seq", "keys", "ranked"],
)
def test_a_search_seeks_each_event_that_it_finds(
    sqlite_store: SqliteEventStore, ask: Callable[[Reading], object], step: str
) -> None:
    sqlite_store.add(notes(9, "bridge"))
    assert len(sqlite_store.query([WANTED], 9)) == 9
    with sqlite_store._asked.reading() as connection:
        explaining = Explaining(connection)
        ask(sqlite_store._asked.reader(cast("Connection", explaining)))
    assert f"SEARCH {step}" in explaining.plans
    assert not [plan for plan in explaining.plans if plan in ("SCAN e", "SCAN o", "SCAN b", "SCAN s")]
