"""Several processes on one database hear each other: everything once, in the log's order."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psycopg

from meshconsole.core.verdict import DUPLICATE
from meshconsole.relay.filter import Filter
from meshconsole.relay.postgres.writing import Writing
from meshconsole.relay.shared import SharedStore
from meshconsole.relay.store import FeedRow, as_entry
from tests.relay.making import NOW, raw, unsigned
from tests.relay.postgres.ears import Ear

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from meshconsole.core.event import Event
    from meshconsole.relay.postgres.store import PostgresEventStore
    from meshconsole.relay.postgres.writing import State
    from scripts.postgres import Cluster

    Open = Callable[[], PostgresEventStore]


def notes(count: int, content: str = "", start: int = 0) -> list[Event]:
    return [unsigned(content=f"{content} {n}", created_at=NOW + n) for n in range(start, start + count)]


def test_it_is_a_shared_store(open_store: Open) -> None:
    store: SharedStore = open_store()
    assert isinstance(store, SharedStore)


def test_all_processes_see_one_log(open_store: Open) -> None:
    one, two = open_store(), open_store()
    assert one.log_id == two.log_id
    event = unsigned()
    assert [w.seq for w in one.write([as_entry(event)])] == [1]
    assert two.add([event]) == [DUPLICATE]
    assert [w.seq for w in two.write([as_entry(unsigned(content="second"))])] == [2]
    assert one.query([Filter()], 9) == two.query([Filter()], 9)
    assert one.count() == two.count() == one.usage().count == 2
    later = open_store()
    assert later.head_seq == 2


def test_what_others_store_is_heard_once_and_in_order(open_store: Open) -> None:
    one, two = open_store(), open_store()
    ear = Ear()
    one.follow(ear)
    events = notes(5)
    for event in events:
        two.add([event])
    ear.wait(5)
    assert [(row.seq, row.id, row.kind, row.raw) for row in ear.rows] == [
        (n, event.id, 1, raw(event)) for n, event in enumerate(events, 1)
    ]
    assert one.head_seq == 5


def test_own_events_are_not_heard_and_come_after_those_before_them(open_store: Open) -> None:
    """Whoever is answered for seq 3 has been told of 1 and 2, whatever the notifications do."""
    one, two = open_store(), open_store()
    ear = Ear()
    one.follow(ear)
    assert one._following is not None
    one._following.stop()  # so that the write alone can tell
    one._following = None
    foreign = notes(2, "foreign")
    two.add(foreign)
    assert [w.seq for w in one.write([as_entry(unsigned(content="own"))])] == [3]
    assert ear.ids == [event.id for event in foreign]
    assert one.head_seq == 3


def test_two_that_write_at_once_hear_exactly_each_others_events(open_store: Open) -> None:
    stores = [open_store() for _ in range(3)]
    ears = [Ear() for _ in stores]
    for store, ear in zip(stores, ears, strict=True):
        store.follow(ear)
    batches = [[notes(7, f"{name} {n}") for n in range(15)] for name in range(3)]

    def write(store: PostgresEventStore, mine: list[list[Event]]) -> None:
        for batch in mine:
            assert all(verdict.accepted for verdict in store.add(batch))

    threads = [threading.Thread(target=write, args=pair) for pair in zip(stores, batches, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, ear in enumerate(ears):
        ear.wait(2 * 7 * 15)
        seqs = [row.seq for row in ear.rows]
        assert seqs == sorted(set(seqs))
        others = [event.id for n, mine in enumerate(batches) if n != number for b in mine for event in b]
        assert sorted(ear.ids) == sorted(others)


def test_a_reader_of_the_log_never_misses_a_lower_number(open_store: Open) -> None:
    """Numbers become visible in their order: a cursor that moves to the last row seen loses nothing."""
    writers = [open_store() for _ in range(3)]
    reader = open_store()
    total = 3 * 40 * 3

    def write(store: PostgresEventStore, name: int) -> None:
        for n in range(40):
            store.add(notes(3, f"{name} {n}"))

    threads = [threading.Thread(target=write, args=(store, n)) for n, store in enumerate(writers)]
    for thread in threads:
        thread.start()
    seen: list[int] = []
    while len(seen) < total:
        rows = reader.feed(seen[-1] if seen else 0, 50)
        seen += [row.seq for row in rows]
        if not rows and not any(thread.is_alive() for thread in threads):
            seen += [row.seq for row in reader.feed(seen[-1], 1000)]
            break
    for thread in threads:
        thread.join()
    assert seen == list(range(1, total + 1))


def test_a_snapshot_tells_the_head_that_it_shows(open_store: Open) -> None:
    """Nothing is lost or doubled between the stored and the live part of a subscription."""
    writer, reader = open_store(), open_store()
    done = threading.Event()

    def write() -> None:
        for n in range(60):
            writer.add(notes(5, str(n)))
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    heads = set()
    while not done.is_set():
        selection = reader.select([Filter()], 1000)
        assert len(selection.keys) == selection.head_seq
        heads.add(selection.head_seq)
    thread.join()
    assert len(heads) > 1


# --- ephemeral events ------------------------------------------------------------------------------


def test_ephemeral_events_are_told_whatever_their_size(open_store: Open) -> None:
    one, two = open_store(), open_store()
    ears = Ear(), Ear()
    one.follow(ears[0])
    two.follow(ears[1])
    events = [unsigned(kind=20001, content=content) for content in ("", "é" * 10_000, "\U0001f600" * 50_000)]
    two.add([unsigned()])  # once this is heard, one listens
    ears[0].wait(1)
    for event in events:
        two.pass_on(raw(event))
    ears[0].wait(4)
    assert [(row.seq, row.raw) for row in ears[0].rows[1:]] == [(0, raw(event)) for event in events]
    one.pass_on(raw(unsigned(kind=20002)))
    assert [row.id for row in ears[1].wait(1)] == [unsigned(kind=20002).id]
    assert one.count() == 1


def test_too_many_waiting_ephemeral_events_are_dropped(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshconsole.relay.postgres.following.MAX_WAITING_BYTES", 1000)
    store = open_store()
    store.follow(Ear())
    store.pass_on(raw(unsigned(kind=20001, content="x" * 2000)))
    following = store._following
    assert following is not None
    assert not following._waiting


# --- faults ----------------------------------------------------------------------------------------


def test_a_commit_without_an_answer_is_heard_if_it_was_done(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer is told "error", since nobody knows; live subscriptions get the event all the same."""
    store = open_store()
    ear = Ear()
    store.follow(ear)
    first, second, third = notes(3)
    commit = Writing.commit

    def lost(writing: Writing, channel: str) -> State:
        commit(writing, channel)
        writing._db.close()
        raise psycopg.OperationalError("the connection was lost")

    with monkeypatch.context() as patch:
        patch.setattr(Writing, "commit", lost)
        assert store.add([first])[0].code == "error"
    assert [row.id for row in ear.wait(1)] == [first.id]
    assert store.add([second, first]) == [store.add([third])[0], DUPLICATE]
    assert ear.ids == [first.id]


def test_a_write_that_fails_leaves_nothing_and_is_not_heard(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = open_store(), open_store()
    ear = Ear()
    store.follow(ear)
    event, marker = notes(2)

    def full(writing: Writing, channel: str) -> State:
        raise psycopg.errors.DiskFull("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Writing, "commit", full)
        verdict = store.add([event])[0]
    assert (verdict.accepted, verdict.code) == (False, "error")
    assert "no space left" in verdict.sentence
    assert other.known([event.id]) == set()
    other.add([marker])
    assert [row.id for row in ear.wait(1)] == [marker.id]
    assert store.add([event])[0].accepted


def test_what_was_stored_while_nobody_listened_is_caught_up(open_store: Open, postgres: Cluster) -> None:
    one, two = open_store(), open_store()
    ear = Ear()
    one.follow(ear)
    two.add(notes(1))
    ear.wait(1)
    postgres.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen%'"
        " or (application_name = 'meshconsole' and pid <> pg_backend_pid())"
    )
    batches = [notes(700, f"missed {n}") for n in range(2)]
    for batch in batches:
        assert all(verdict.accepted for verdict in two.add(batch))
    rows = ear.wait(1401)
    assert [row.seq for row in rows] == list(range(1, 1402))


def test_nothing_is_heard_after_unfollow(open_store: Open) -> None:
    one, two = open_store(), open_store()
    ear = Ear()
    one.follow(ear)
    one.unfollow()
    two.add(notes(3))
    one.add([unsigned(content="own")])
    assert ear.rows == []


def test_a_damaged_whisper_is_forgotten(open_store: Open, postgres: Cluster, url: str) -> None:
    store = open_store()
    ear = Ear()
    store.follow(ear)
    channel = f"{store._channel}_say"
    for payload in ("", "x" * 80, "0" * 64 + "00000002" + "half", "0" * 64 + "00010003" + "other"):
        postgres.execute(f"select pg_notify('{channel}', '{payload}')", url)
    postgres.execute(f"select pg_notify('{store._channel}', 'not a number')", url)
    whole = unsigned(kind=20001)
    other = open_store()
    other.follow(Ear())
    other.add([unsigned()])
    ear.wait(1)
    other.pass_on(raw(whole))
    assert ear.wait(2)[1] == FeedRow(0, whole.id, 0, raw(whole))
