"""Commits on the event loop itself: only where that waits for nothing."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from meshconsole.core.verdict import ACCEPTED, DUPLICATE
from meshconsole.crypto.database import SqlcipherError
from meshconsole.relay import promptness
from meshconsole.relay.filter import Filter
from meshconsole.relay.sqlite import SqliteEventStore
from meshconsole.relay.store import as_entry
from meshconsole.relay.upkeep import Upkeep
from meshconsole.relay.writing import Writing
from tests.relay.making import KEY, NOW, TAG_KEY, signed, unsigned
from tests.relay.memory import MemoryEventStore, ids
from tests.relay.test_pipeline import Gated, bench, until_written
from tests.relay.test_sqlite import Limited

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from meshconsole.relay.store import Entry, Written


@pytest.fixture
def prompt_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine does beside; and nobody empties the log meanwhile."""
    monkeypatch.setattr(promptness, "PROMPT_S", 1e9)
    monkeypatch.setattr(promptness, "IN_A_ROW", 1)
    monkeypatch.setattr(Upkeep, "_run", lambda upkeep: None)


def test_it_writes_as_ever_once_the_disk_was_prompt(
    prompt_disk: None, sqlite_store: SqliteEventStore
) -> None:
    one, two = (unsigned(content=name, created_at=NOW + number) for number, name in enumerate("ab"))
    assert sqlite_store.write_now([as_entry(one)]) is None
    sqlite_store.add([one])
    written = sqlite_store.write_now([as_entry(one), as_entry(two)])
    assert written == [(DUPLICATE, 0), (ACCEPTED, 2)]
    assert ids(sqlite_store.query([Filter()], 9)) == [two.id, one.id]


def test_it_waits_for_no_other_writer_and_no_checkpoint(
    prompt_disk: None, sqlite_store: SqliteEventStore
) -> None:
    sqlite_store.add([unsigned()])
    entry = as_entry(unsigned(content="more"))
    for lock in (sqlite_store._committing.lock, sqlite_store._committing.checkpointing):
        with held_elsewhere(lock):
            assert sqlite_store.write_now([entry]) is None
    assert sqlite_store.write_now([entry]) == [(ACCEPTED, 2)]


@pytest.mark.usefixtures("prompt_disk")
def test_after_a_failure_the_loop_waits_for_no_commit(
    sqlite_store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would take as long as a disk that breaks takes to say so."""
    sqlite_store.add([unsigned()])
    entry = as_entry(unsigned(kind=0))  # which the tables must have at once

    def fail(*_: object) -> None:
        raise SqlcipherError("disk I/O error")

    with monkeypatch.context() as broken:
        broken.setattr(Writing, "run", fail)
        failed = sqlite_store.write_now([entry])
        assert failed is not None
        assert failed[0].verdict.code == "error"
    assert sqlite_store.write_now([entry]) is None
    assert sqlite_store.write([entry]) == [(ACCEPTED, 2)]


@pytest.mark.usefixtures("prompt_disk")
def test_room_is_never_made_on_the_loop(database: Path) -> None:
    quota = Limited(1 << 30)
    store = SqliteEventStore(database, KEY, TAG_KEY, quota=quota, log_bytes=0)
    store.add([unsigned()])
    quota.limit = 0
    entry = as_entry(unsigned(content="x" * 500_000))  # more than what is free in the file
    assert store.write_now([entry]) is None
    (written,) = store.write([entry])
    assert written.verdict.code == "restricted"
    store.close()


@contextmanager
def held_elsewhere(lock: AbstractContextManager[object]) -> Iterator[None]:
    taken, release = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(10)
    try:
        yield
    finally:
        release.set()
        thread.join()


class Prompt(Gated):
    """Says in which thread it wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.prompt = True
        self.at_once = 0

    def write_now(self, batch: Sequence[Entry]) -> list[Written] | None:
        if not self.prompt:
            return None
        assert threading.current_thread() is threading.main_thread()
        self.at_once += len(batch)
        return MemoryEventStore.write(self, batch)


async def test_a_lone_event_is_written_on_the_loop() -> None:
    store = Prompt()
    async with bench(store) as b:
        assert await b.offer(signed()) == ACCEPTED
        assert await b.offer(signed(content="another")) == ACCEPTED
        assert (store.at_once, store.batches, b.order) == (2, [], [1, 2])
        store.prompt = False
        assert await b.offer(signed(content="a third")) == ACCEPTED
        assert (store.at_once, store.batches) == (2, [1])


async def test_what_comes_beside_others_or_deletes_is_left_to_the_thread() -> None:
    store = Prompt()
    async with bench(store) as b:
        store.gate.clear()
        deletion = b.offer(signed(kind=5, tags=(("e", "ab" * 32),)))
        await until_written(store)
        beside = b.offer(signed())
        store.gate.set()
        assert [await deletion, await beside] == [ACCEPTED, ACCEPTED]
        many = [signed(content=str(number)) for number in range(40)]
        assert set(await b.offer_all(many)) == {ACCEPTED}
        assert store.batches[0] == 1
        assert sum(store.batches) + store.at_once == 42
        assert b.order == sorted(b.order)
