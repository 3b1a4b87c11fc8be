"""What is acknowledged before the tables have it: durable, and nobody can tell the difference."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshconsole.core.errors import MeshconsoleError, Unavailable
from meshconsole.core.verdict import ACCEPTED, DUPLICATE
from meshconsole.crypto.database import SqlcipherError
from meshconsole.relay.ahead import ENOUGH
from meshconsole.relay.filter import Filter
from meshconsole.relay.journal import Journal
from meshconsole.relay.promptness import FEW
from meshconsole.relay.retention import DELETED
from meshconsole.relay.sqlite import SqliteEventStore
from meshconsole.relay.store import as_entry
from meshconsole.relay.upkeep import Upkeep
from meshconsole.relay.writing import Writing
from tests.relay.making import KEY, NOW, TAG_KEY, Clock, unsigned
from tests.relay.memory import MemoryEventStore, ids

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.core.event import Event

ALL = [Filter()]


@pytest.fixture(autouse=True)
def no_upkeep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is settled but by what a test does."""
    monkeypatch.setattr(Upkeep, "_run", lambda upkeep: None)


def in_tables(store: SqliteEventStore) -> int:
    return int(store._writer.execute("select count(*) from events").fetchone()[0])


def notes(count: int, start: int = 0) -> list[Event]:
    return [unsigned(content=str(n), created_at=NOW + n) for n in range(start, start + count)]


def killed(database: Path, to: Path) -> SqliteEventStore:
    """The store as another process finds it after this one was killed."""
    to.mkdir()
    for path in database.parent.glob(f"{database.name}*"):
        shutil.copy(path, to / path.name)
    return SqliteEventStore(to / database.name, KEY, TAG_KEY)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "node.db"


@pytest.fixture
def store(database: Path) -> SqliteEventStore:
    return SqliteEventStore(database, KEY, TAG_KEY)


QUESTIONS: dict[str, Callable[[SqliteEventStore, Event], object]] = {
    "known": lambda store, event: store.known([event.id]) == {event.id},
    "settled": lambda store, event: store.settled([event.id]) == {event.id},
    "get": lambda store, event: ids(store.get([event.id])) == [event.id],
    "query": lambda store, event: ids(store.query(ALL, 9)) == [event.id],
    "answer": lambda store, event: ids(store.answer(ALL, 9, 1000).raws) == [event.id],
    "search": lambda store, event: ids(store.query([Filter(search=event.content)], 9)) == [event.id],
    "tally": lambda store, event: store.tally(ALL, 9).count == 1,
    "items": lambda store, event: store.items(Filter(), 9) == [(event.created_at, bytes.fromhex(event.id))],
    "scan": lambda store, event: ids(store.scan(ALL, None, 9).raws) == [event.id],
    "feed": lambda store, event: [row.seq for row in store.feed(0, 9)] == [1],
    "delete": lambda store, event: store.delete(ALL, dry_run=False).count == 1,
    "dry run": lambda store, event: store.delete(ALL, dry_run=True).count == 1,
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_finds_it(store: SqliteEventStore, question: str) -> None:
    event = unsigned(content="unheard")
    assert store.write([as_entry(event)]) == [(ACCEPTED, 1)]
    assert in_tables(store) == 0
    assert (store.head_seq, store.count(), store.usage().count) == (1, 1, 1)
    assert QUESTIONS[question](store, event)
    store.close()


def test_whether_it_is_known_is_told_without_a_commit(store: SqliteEventStore) -> None:
    one, two = notes(2)
    store.add([one])
    assert store.known([two.id, one.id]) == {one.id}
    assert store.settled([two.id, one.id]) == {one.id}
    assert in_tables(store) == 0
    store.close()


def test_the_loop_is_answered_where_the_disk_is_prompt_and_a_thread_elsewhere(
    store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (event,) = notes(1)
    store.add([event])
    assert store.answer_now(ALL, 9, 1000) is None
    monkeypatch.setattr(type(store._committing), "is_prompt", True)
    answer = store.answer_now(ALL, 9, 1000)
    assert answer is not None
    assert (ids(answer.raws), answer.head_seq) == ([event.id], 1)
    store.close()


def test_a_copy_holds_it(store: SqliteEventStore, tmp_path: Path) -> None:
    (event,) = notes(1)
    store.add([event])
    store.backup(tmp_path / "copy.db")
    copy = SqliteEventStore(tmp_path / "copy.db", KEY, TAG_KEY)
    assert ids(copy.query(ALL, 9)) == [event.id]
    copy.close()
    store.close()


def test_what_was_acknowledged_is_there_after_a_kill_with_its_numbers(
    store: SqliteEventStore, database: Path, tmp_path: Path
) -> None:
    events = notes(20)
    store.add(events[:3])
    assert len(store.feed(0, 99)) == 3  # in the tables
    for event in events[3:7]:
        store.add([event])
    store.add(events[7 : 7 + FEW])
    again = killed(database, tmp_path / "killed")
    assert in_tables(again) == 7 + FEW
    assert [(row.seq, row.id) for row in again.feed(0, 99)] == [
        (seq, event.id) for seq, event in enumerate(events[: 7 + FEW], 1)
    ]
    again.close()
    store.close()


def test_what_was_removed_since_does_not_come_back_from_an_old_journal(
    store: SqliteEventStore, database: Path, tmp_path: Path
) -> None:
    one, two = notes(2)
    store.add([one])
    store.add([two])
    store.delete([Filter(ids=frozenset({one.id}))], dry_run=False)
    assert len(Journal(Path(f"{database}.journal"), KEY, store.log_id).read()) == 2
    again = killed(database, tmp_path / "killed")
    assert ids(again.query(ALL, 9)) == [two.id]
    again.close()
    store.close()


def test_it_is_known_as_a_duplicate_and_gives_way_as_ever(store: SqliteEventStore) -> None:
    one, two, three = notes(3)
    twice = [as_entry(two), as_entry(two), as_entry(one), as_entry(three)]
    assert store.write([as_entry(one)]) == [(ACCEPTED, 1)]
    assert store.write(twice) == [(ACCEPTED, 2), (DUPLICATE, 0), (DUPLICATE, 0), (ACCEPTED, 3)]
    assert in_tables(store) == 0
    deletion = unsigned(kind=5, tags=(("e", two.id), ("e", "ab" * 32)))
    assert store.write([as_entry(deletion)]) == [(ACCEPTED, 4)]
    assert store.write([as_entry(two)]) == [(DELETED, 0)]
    assert store.write([as_entry(one)]) == [(DUPLICATE, 0)]
    assert set(ids(store.query(ALL, 9))) == {one.id, three.id, deletion.id}
    store.close()


@pytest.mark.parametrize(
    "event",
    [
        unsigned(kind=0),
        unsigned(kind=30000, tags=(("d", "x"),)),
        unsigned(kind=5, tags=(("e", "ab" * 32),)),
        unsigned(tags=(("expiration", str(NOW + 100)),)),
    ],
    ids=["replaceable", "addressable", "deletion", "expiring"],
)
def test_what_is_more_than_new_goes_into_the_tables_after_it(database: Path, event: Event) -> None:
    store = SqliteEventStore(database, KEY, TAG_KEY, clock=Clock())
    (before,) = notes(1)
    store.add([before])
    assert store.write([as_entry(event)]) == [(ACCEPTED, 2)]
    assert in_tables(store) == 2
    store.close()


def test_many_together_take_it_along(store: SqliteEventStore) -> None:
    events = notes(FEW + 2)
    store.add(events[:1])
    assert [written.seq for written in store.write([as_entry(e) for e in events[1:]])] == list(
        range(2, FEW + 3)
    )
    assert in_tables(store) == FEW + 2
    store.close()


def test_a_full_journal_is_emptied_into_the_tables(store: SqliteEventStore, tmp_path: Path) -> None:
    events = notes(3 * ENOUGH)
    for event in events:
        assert store.add([event])[0].accepted
    assert 0 < in_tables(store) < 3 * ENOUGH
    assert [row.id for row in store.feed(0, 999)] == [event.id for event in events]
    store.close()


def test_what_finds_no_way_into_the_tables_stays_durable_and_is_tried_again(
    store: SqliteEventStore, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = notes(3)
    store.add(events[:1])

    def full(*_: object) -> None:
        raise SqlcipherError("database or disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(Writing, "run", full)
        assert store.query(ALL, 9) == []
        assert store.count() == 1
        assert store.add([events[1]])[0].code == "error", "nobody could find it"
        (refused,) = store.add([unsigned(kind=0)])
        assert refused.code == "error"
        with pytest.raises(MeshconsoleError):
            store.vacuum_step(1)
        store.close()  # which does not bring it there either
        assert [row.seq for row in killed(database, tmp_path / "full").feed(0, 9)] == []
    again = SqliteEventStore(database, KEY, TAG_KEY)
    assert [row.id for row in again.feed(0, 9)] == [events[0].id]
    assert again.write([as_entry(events[1])]) == [(ACCEPTED, 2)]
    assert in_tables(again) == 1, "in the journal as ever"
    again.close()


def test_a_start_that_finds_no_room_keeps_the_journal_as_it_is(
    store: SqliteEventStore, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = notes(2)
    store.add(events[:1])

    def full(*_: object) -> None:
        raise SqlcipherError("database or disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(Writing, "run", full)
        again = killed(database, tmp_path / "killed")
        (refused,) = again.add(events[1:])
        assert refused.code == "error", "a nonce may have been used: nothing is appended to an old round"
    assert again.add(events[1:]) == [ACCEPTED]
    assert [row.id for row in again.feed(0, 9)] == [event.id for event in events]
    again.close()
    store.close()


def test_without_a_journal_each_event_is_committed(
    database: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(journal: Journal) -> None:
        raise Unavailable("There is no space left to write node.db.journal.")

    monkeypatch.setattr(Journal, "make", full)
    store = SqliteEventStore(database, KEY, TAG_KEY)
    assert store.add(notes(1)) == [ACCEPTED]
    assert in_tables(store) == 1
    assert "each event is committed by itself" in caplog.text
    store.close()


def test_a_journal_that_fails_costs_no_event(
    store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    def fail(journal: Journal, record: bytes) -> None:
        nonlocal tries
        tries += 1
        raise Unavailable("The disk is gone.")

    one, two, three, four = notes(4)
    store.add([one])
    with monkeypatch.context() as broken:
        broken.setattr(Journal, "append", fail)
        assert store.write([as_entry(two)]) == [(ACCEPTED, 2)]
        assert store.write([as_entry(three)]) == [(ACCEPTED, 3)]
    assert (in_tables(store), tries) == (3, 1), "it is left alone for a while"
    monkeypatch.setattr(store._committing._ahead, "_not_before", 0.0)
    assert store.write([as_entry(four)]) == [(ACCEPTED, 4)]
    assert in_tables(store) == 3
    store.close()


@settings(max_examples=15)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.lists(st.integers(0, 30), min_size=1, max_size=FEW + 3)),
            st.tuples(st.sampled_from(["ask", "kill", "delete"]), st.integers(0, 30)),
        ),
        max_size=12,
    )
)
def test_it_answers_as_a_store_without_a_journal(
    steps: list[tuple[str, list[int] | int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is written, asked, removed and killed in whatever order."""
    pool = [_of_the_pool(number) for number in range(31)]
    folder = tmp_path_factory.mktemp("store")
    clock = Clock()
    store = SqliteEventStore(folder / "node.db", KEY, TAG_KEY, clock=clock)
    model = MemoryEventStore(clock)
    kills = 0
    for name, what in steps:
        if isinstance(what, list):
            batch = [as_entry(pool[number]) for number in what]
            assert store.write(batch) == model.write(batch)
        elif name == "ask":
            assert store.known([pool[what].id]) == model.known([pool[what].id])
        elif name == "delete":
            wanted = [Filter(ids=frozenset({pool[what].id}))]
            assert store.delete(wanted, dry_run=False) == model.delete(wanted, dry_run=False)
        else:
            kills += 1
            again = killed(folder / "node.db", folder / str(kills))
            store.close()
            folder, store = folder / str(kills), again
    assert [(row.seq, row.id) for row in store.feed(0, 999)] == [
        (row.seq, row.id) for row in model.feed(0, 999)
    ]
    assert store.query(ALL, 999) == model.query(ALL, 999)
    assert (store.count(), store.head_seq) == (model.count(), model.head_seq)
    store.close()


def _of_the_pool(number: int) -> Event:
    """Mostly notes; some that replace or delete others of the pool."""
    if number % 10 == 7:
        return unsigned(kind=0, content=str(number), created_at=NOW + number)
    if number % 10 == 9:
        tags = (("e", _of_the_pool(number - 5).id), ("e", _of_the_pool(number - 9).id))
        return unsigned(kind=5, tags=tags, created_at=NOW + number)
    return unsigned(content=str(number), created_at=NOW + number % 4)
