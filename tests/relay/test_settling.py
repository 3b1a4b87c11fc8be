"""When what is ahead of the tables is brought into them: what others see, and how long they wait."""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import Refused
from meshconsole.core.verdict import ACCEPTED
from meshconsole.crypto.database import SqlcipherError
from meshconsole.relay import committing as committing_module
from meshconsole.relay import promptness
from meshconsole.relay.ahead import Ahead
from meshconsole.relay.committing import AT_ONCE
from meshconsole.relay.filter import Filter
from meshconsole.relay.promptness import FEW
from meshconsole.relay.sqlite import SqliteEventStore
from meshconsole.relay.store import as_entry
from meshconsole.relay.upkeep import Upkeep
from meshconsole.relay.writing import Writing
from tests.relay.making import KEY, TAG_KEY, unsigned
from tests.relay.memory import ids
from tests.relay.test_ahead import ALL, in_tables, killed, notes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from meshconsole.relay.store import Entry, Written


@pytest.fixture(autouse=True)
def no_upkeep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is settled but by what a test does."""
    monkeypatch.setattr(Upkeep, "_run", lambda upkeep: None)


@pytest.fixture
def store(database: Path) -> Iterator[SqliteEventStore]:
    store = SqliteEventStore(database, KEY, TAG_KEY)
    yield store
    store.close()


@pytest.fixture
def prompt_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promptness, "PROMPT_S", 1e9)
    monkeypatch.setattr(promptness, "IN_A_ROW", 1)


def test_nothing_counts_twice_while_it_is_in_both_places(
    store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that heard of a head too high would pass over what gets those places."""
    seen: list[tuple[int, int]] = []
    settled = Ahead.settled

    def look(ahead: Ahead) -> None:
        seen.append((store.head_seq, store.count()))
        settled(ahead)
        seen.append((store.head_seq, store.count()))

    monkeypatch.setattr(Ahead, "settled", look)
    events = notes(FEW + 4)
    store.add(events[:3])
    assert (store.head_seq, store.count()) == (3, 3)
    store.add(events[3:])
    assert seen == [(FEW + 4, FEW + 4)] * 2
    store.add([unsigned(kind=5, tags=(("e", events[0].id),))])
    assert (store.head_seq, store.count()) == (FEW + 5, FEW + 4)


def test_whoever_asks_does_not_wait_for_what_the_writer_does_after_it(
    store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vacuum holds the lock for minutes."""
    store.add(notes(1))
    asks, answered, found = threading.Event(), threading.Event(), list[str]()
    settle = store._committing.settle

    def asked() -> bool:
        asks.set()
        return settle()

    monkeypatch.setattr(store._committing, "settle", asked)

    def ask() -> None:
        found.extend(ids(store.query(ALL, 9)))
        answered.set()

    thread = threading.Thread(target=ask)
    with store._committing.lock:
        thread.start()
        assert asks.wait(10)
        store._committing.settle_first()
        assert answered.wait(10)
    thread.join()
    assert found == [notes(1)[0].id]


class Crowded:
    """A lock that tells who comes to it."""

    def __init__(self) -> None:
        self.inner = threading.RLock()
        self.comers = threading.Semaphore(0)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        self.comers.release()
        return self.inner.acquire(blocking, 10 if timeout > 0 else timeout)

    def release(self) -> None:
        self.inner.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def test_those_who_waited_do_not_try_what_has_just_failed(
    store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other they would wait for a disk that takes seconds to say that it is broken."""
    store.add(notes(1))
    tries: list[str] = []
    monkeypatch.setattr(committing_module, "TRY_AGAIN_S", 1e6)

    def fail(*_: object) -> None:
        tries.append(threading.current_thread().name)
        raise SqlcipherError("disk I/O error")

    lock = store._committing.lock = Crowded()  # type: ignore[assignment]
    with monkeypatch.context() as broken:
        broken.setattr(Writing, "run", fail)
        threads = [threading.Thread(target=store.query, args=(ALL, 9)) for _ in range(3)]
        with lock.inner:
            for thread in threads:
                thread.start()
            assert all(lock.comers.acquire(timeout=10) for _ in threads)
        for thread in threads:
            thread.join()
    assert len(tries) == 1
    assert store.add(notes(1, start=1)) == [ACCEPTED], "who writes tries it each time"
    assert in_tables(store) == 2


def test_what_finds_no_way_because_of_others_is_found_all_the_same(
    store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that has no room for many may have some for few."""
    events = notes(FEW + 3)
    store.add(events[:1])
    run = Writing.run

    def full(writing: Writing, batch: Sequence[Entry]) -> list[Written]:
        if len(batch) > FEW:
            raise SqlcipherError("database or disk is full")
        return run(writing, batch)

    monkeypatch.setattr(Writing, "run", full)
    assert {verdict.code for verdict in store.add(events[2:])} == {"error"}
    assert store.write([as_entry(events[1])]) == [(ACCEPTED, 2)]
    assert in_tables(store) == 0
    assert ids(store.query(ALL, 9)) == [events[1].id, events[0].id]


@pytest.mark.usefixtures("prompt_disk")
def test_the_loop_brings_few_into_the_tables_and_leaves_many_to_a_thread(store: SqliteEventStore) -> None:
    events = notes(2 * AT_ONCE + 2)
    for event in events[:AT_ONCE]:
        store.add([event])
    answer = store.answer_now(ALL, 99, 10_000)
    assert answer is not None
    assert len(answer.raws) == AT_ONCE == in_tables(store)
    for event in events[AT_ONCE : 2 * AT_ONCE + 1]:
        store.add([event])
    assert store.answer_now(ALL, 99, 10_000) is None
    assert store.write_now([as_entry(unsigned(kind=0))]) is None
    assert store.write_now([as_entry(events[-1])]) == [(ACCEPTED, 2 * AT_ONCE + 2)], "no others with it"
    assert in_tables(store) == AT_ONCE
    assert store.write([as_entry(unsigned(kind=0))]) == [(ACCEPTED, 2 * AT_ONCE + 3)]


@pytest.mark.usefixtures("prompt_disk")
def test_the_loop_waits_no_more_where_that_took_long(
    store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = notes(2)
    store.add([one])
    monkeypatch.setattr(promptness, "PROMPT_S", -1.0)
    assert store.answer_now(ALL, 9, 1000) is not None
    assert store.write_now([as_entry(two)]) is None


class Measured:
    """A quota that is measured when it is full."""

    def __init__(self) -> None:
        self.free = 1 << 20
        self.exact: list[int] = []
        self.store: SqliteEventStore | None = None

    def reserve(self, count: int) -> None:
        if count > self.free:
            raise Refused("restricted", "the quota is full")
        self.free -= count

    def release(self, count: int) -> None:
        self.free += count

    def excess_bytes(self) -> int:
        return 0

    def ran_out(self, sentence: str) -> None:
        pytest.fail(sentence)

    def measured(self, used_bytes: int, *, exact: bool) -> None:
        assert exact
        assert self.store is not None
        self.exact.append(in_tables(self.store))
        self.free = 1 << 20


@pytest.mark.usefixtures("prompt_disk")
def test_what_was_promised_room_has_taken_it_before_that_is_measured(database: Path) -> None:
    """Else the promise is forgotten, and the file grows beyond the quota."""
    quota = Measured()
    store = quota.store = SqliteEventStore(database, KEY, TAG_KEY, quota=quota, log_bytes=0)
    events = notes(4)
    store.add(events[:2])
    quota.free = 0
    assert store.write_now([as_entry(events[2])]) is None, "not on the loop"
    assert (quota.exact, in_tables(store)) == ([], 0)
    assert store.add(events[2:3]) == [ACCEPTED]
    assert (quota.exact, in_tables(store)) == ([2], 2)
    store.close()


@pytest.mark.usefixtures("prompt_disk")
def test_what_the_loop_leaves_to_a_thread_is_promised_nothing(database: Path) -> None:
    quota = Measured()
    store = quota.store = SqliteEventStore(database, KEY, TAG_KEY, quota=quota, log_bytes=0)
    for event in notes(AT_ONCE + 1):
        store.add([event])
    free = quota.free
    assert store.write_now([as_entry(unsigned(kind=0))]) is None
    assert quota.free == free
    store.close()


def test_a_database_that_was_set_back_takes_nothing_from_a_later_journal(
    database: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was deleted in between must not come back with it."""
    store = SqliteEventStore(database, KEY, TAG_KEY)
    events = notes(6)
    store.add(events[:2])
    store.close()
    shutil.copy(database, tmp_path / "older.db")
    store = SqliteEventStore(database, KEY, TAG_KEY)
    store.add(events[2:4])
    store.query(ALL, 9)
    store.add(events[4:5])
    store.delete([Filter(ids=frozenset({events[4].id}))], dry_run=False)
    store.close()
    shutil.move(tmp_path / "older.db", database)
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    store = SqliteEventStore(database, KEY, TAG_KEY)
    assert set(ids(store.query(ALL, 9))) == {event.id for event in events[:2]}
    assert "set back" in caplog.text
    assert store.write([as_entry(events[5])]) == [(ACCEPTED, 3)]
    again = killed(database, tmp_path / "killed")
    assert [(row.seq, row.id) for row in again.feed(2, 9)] == [(3, events[5].id)]
    again.close()
    store.close()
