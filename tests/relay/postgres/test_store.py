"""What only the PostgreSQL store has: its tables, its budget, its figures, its answers to trouble."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from meshconsole.core.errors import Fatal, Refused, Unavailable
from meshconsole.relay.filter import Filter
from meshconsole.relay.postgres import connecting, reading
from meshconsole.relay.postgres import store as module
from meshconsole.relay.store import NoQuota, as_entry
from tests.relay.conftest import postgres_store
from tests.relay.held import deletion
from tests.relay.making import NOW, Clock, raw, unsigned
from tests.relay.memory import ids
from tests.relay.strategies import histories
from tests.relay.test_reference import relaxed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from meshconsole.core.event import Event
    from meshconsole.relay.postgres.store import PostgresEventStore
    from meshconsole.relay.store import EventStore
    from scripts.postgres import Cluster

    Open = Callable[[], PostgresEventStore]

ALL = [Filter()]

ORPHANS = (
    "select count(*) from mc_bodies where key not in (select key from mc_events)",
    "select count(*) from mc_events where key not in (select key from mc_bodies)",
    "select count(*) from mc_tags where key not in (select key from mc_events)",
    "select count(*) from mc_tags t join mc_events e on e.key = t.key where t.kind <> e.kind",
    "select count(*) from mc_events e, unnest(e.tags) hash"
    " where not exists (select 1 from mc_tags t where t.hash = hash and t.key = e.key)",
    "select count(*) from mc_events e join mc_bodies b on b.key = e.key where e.size <> length(b.raw)",
    "select events - (select count(*) from mc_events) from mc_state",
    "select bytes - (select coalesce(sum(size), 0) from mc_events) from mc_state",
    "select greatest(head_seq, (select max(seq) from mc_events)) - head_seq from mc_state",
    "select count(*) from mc_refused r join mc_events e on e.id = r.id where e.place is null",
)
"""Each is 0 whatever has happened."""


def check_tables(store: EventStore) -> None:
    writer = store._writer  # type: ignore[attr-defined]
    for question in ORPHANS:
        assert writer.execute(question).fetchall() == [(0,)], question
    writer.rollback()


@pytest.mark.slow
def test_no_history_leaves_orphans(postgres: Cluster) -> None:
    make = postgres_store(postgres)

    @relaxed
    @given(histories())
    def check(history: list[list[Event]]) -> None:
        with make(Clock()) as store:
            for batch in history:
                store.add(batch)
            check_tables(store)

    check()


def with_id(event: Event, event_id: str) -> Event:
    import msgspec

    return msgspec.structs.replace(event, id=event_id)


def test_ids_that_share_their_first_bits_keep_their_order(open_store: Open) -> None:
    """In one batch and one by one, upwards and downwards."""
    store = open_store()
    names = [f"abcdef0{n:x}{'0' * 56}" for n in (8, 9, 0xA, 0xB, 0xC, 0xD, 0xE, 0xF)]
    events = [with_id(unsigned(content=str(n)), name) for n, name in enumerate(names)]
    store.add([events[3], events[1], events[5]])
    for event in (events[0], events[4], events[7]):
        store.add([event])
    store.add([events[6], events[2]])
    assert sorted(ids(store.query(ALL, 9))) == sorted(names)
    assert store.known(names) == set(names)
    assert store.query([Filter(since=NOW, until=NOW)], 9) == store.query(ALL, 9)
    store.add([deletion(("e", names[3]))])
    assert store.known(names) == set(names) - {names[3]}
    assert [w.seq for w in store.write([as_entry(events[3])])] == [0]
    check_tables(store)


@pytest.mark.parametrize("edge", ["00000000", "ffffffff"])
def test_shared_bits_at_the_edge_of_a_second_stay_in_it(open_store: Open, edge: str) -> None:
    store = open_store()
    events = [with_id(unsigned(content=str(n)), f"{edge}{n:056x}") for n in range(4)]
    assert all(verdict.accepted for verdict in store.add(events))
    assert len(store.query([Filter(since=NOW, until=NOW)], 9)) == 4


def test_a_query_that_takes_too_long_is_broken_off(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connecting.READER, "statement_timeout", "1ms")
    store = open_store()
    for start in range(0, 3000, 1000):
        store.add([unsigned(content=f"word {n}", created_at=NOW + n) for n in range(start, start + 1000)])
    many = [Filter(search="word", limit=500 + n) for n in range(20)]
    with pytest.raises(Unavailable, match="longer"):
        store.query(many, 5000)
    assert store.tally(many, 10_000).complete is False
    monkeypatch.setitem(connecting.READER, "statement_timeout", "60s")
    other = open_store()
    assert len(other.query(many, 5000)) == 519
    assert other.tally(many, 10_000).count == 3000


def test_a_search_is_ordered_by_how_well_it_fits(open_store: Open) -> None:
    store = open_store()
    far = unsigned(content="bridge " + "and so on " * 50 + "closed", created_at=NOW + 9)
    near = unsigned(content="bridge closed, bridge closed")
    once = unsigned(content="The bridge is closed", created_at=NOW + 1)
    store.add([far, near, once])
    assert ids(store.query([Filter(search="closed bridge")], 9)) == [near.id, once.id, far.id]
    assert ids(store.query([Filter(search="closed bridge", limit=1)], 9)) == [near.id]


@pytest.mark.parametrize(
    ("content", "search", "found"),
    [
        ("std::move it", "std::move", True),
        ("move std", "std::move", False),
        ("see https://example.org/a-b?c=d", "https://example.org/a-b", True),
        ("ÜBUNG macht den Meister", "übung", True),
        ("straße", "STRASSE", True),
        ("é" * 5000, "é" * 500, True),
        ("a\x00b", "a", True),
        ("tab\tand\nline", "line", True),
        ("🙂 smile", "🙂", False),
        ("':* & | ! <-> \\ :1A", "1a", True),
        ("QUJD" * 100 + "==", "QUJD", False),
    ],
)
def test_words(open_store: Open, content: str, search: str, found: bool) -> None:
    store = open_store()
    event = unsigned(content=content)
    store.add([event])
    assert ids(store.query([Filter(search=search)], 9)) == ([event.id] if found else [])


def test_a_content_of_a_megabyte_of_words(open_store: Open) -> None:
    store = open_store()
    event = unsigned(content=" ".join(f"wörd{n}" for n in range(90_000)))
    assert store.add([event])[0].accepted
    assert ids(store.query([Filter(search="wörd77")], 9)) == [event.id]


def test_a_deletion_of_thousands_and_a_batch_of_many_deletions(open_store: Open) -> None:
    store = open_store()
    events = [unsigned(content=str(n), created_at=NOW + n) for n in range(3000)]
    for start in range(0, 3000, 1000):
        store.add(events[start : start + 1000])
    gone = [deletion(*(("e", event.id) for event in events[n::3]), at=NOW + n) for n in range(3)]
    assert all(verdict.accepted for verdict in store.add([*gone, *events[:5]][:3]))
    assert store.count() == 3
    assert not any(verdict.accepted for verdict in store.add(events[:5]))
    check_tables(store)


# --- figures and upkeep ----------------------------------------------------------------------------


class Limited(NoQuota):
    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.reserved = 0

    def reserve(self, count: int) -> None:
        if self.reserved + count > self.limit:
            raise Refused("restricted", "quota full: raise it")
        self.reserved += count

    def release(self, count: int) -> None:
        self.reserved -= count


def test_a_full_quota_refuses_and_goes_on_reading(open_store: Open) -> None:
    store = open_store()
    quota = store._quota = Limited(2000)
    first, second = unsigned(), [unsigned(content=f"{n}" + "x" * 3000) for n in range(100)]
    assert store.add([first])[0].accepted
    assert {verdict.message for verdict in store.add(second)} == {"restricted: quota full: raise it"}
    assert ids(store.query(ALL, 9)) == [first.id]
    assert store.add([unsigned(kind=4201)])[0].accepted, "what makes a team goes in"
    quota.limit = 1 << 30
    assert all(verdict.accepted for verdict in store.add(second))


def test_reserved_bytes_are_given_back_when_nothing_was_written(
    open_store: Open, postgres: Cluster, url: str
) -> None:
    store = open_store()
    quota = store._quota = Limited(1 << 30)
    postgres.execute("alter table mc_tags rename to hidden", url)
    assert store.add([unsigned(tags=(("t", "x"),))])[0].code == "error"
    assert quota.reserved == 0
    postgres.execute("alter table hidden rename to mc_tags", url)
    assert store.add([unsigned(tags=(("t", "x"),))])[0].accepted


def test_usage_follows_what_is_held(open_store: Open) -> None:
    store = open_store()
    empty = store.usage()
    store.add([unsigned(content=f"{n} " + "x" * 1000) for n in range(500)])
    full = store.usage()
    assert full.bytes > empty.bytes + 500_000
    assert (empty.count, full.count) == (0, 500)
    store.delete(ALL, dry_run=False)
    store.vacuum()
    assert store.usage().count == 0
    assert store.vacuum_step(100) == 0


def test_expired_events_are_freed_after_a_day(open_store: Open, clock: Clock) -> None:
    store = open_store()
    short = unsigned(tags=(("expiration", str(NOW + 10)), ("t", "x")))
    version = unsigned(kind=30000, tags=(("expiration", str(NOW + 10)),))
    older = unsigned(kind=30000, created_at=NOW - 1)
    later = unsigned(content="later", tags=(("expiration", str(NOW + 900_000)),))
    store.add([short, version, later])
    clock.now = NOW + 11
    assert store.purge_expired() == 0
    assert store.count() == 3
    clock.now = NOW + 10 + module.PURGE_AFTER_S
    assert store.purge_expired() == 2
    assert store.purge_expired() == 0
    assert store.count() == 1
    assert store.add([older])[0].code == "blocked"
    assert [row.id for row in store.feed(0, 9)] == [later.id]
    check_tables(store)


def test_the_oldest_refused_ids_are_forgotten(
    open_store: Open, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_REFUSED", 3)
    store = open_store()
    profiles = [unsigned(kind=0, content=str(n), created_at=NOW + n) for n in range(8)]
    for n, profile in enumerate(profiles):
        clock.now = NOW + n
        store.add([profile])
    assert store.purge_expired() == 0
    names = [profile.id for profile in profiles]
    assert store.settled(names) == {*names[4:]}


def test_a_page_of_the_log_is_bounded_in_bytes(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store()
    events = [unsigned(content=f"{n} " + "x" * 500, created_at=NOW + n) for n in range(10)]
    store.add(events)
    limit = 3 * len(raw(events[0]))
    monkeypatch.setattr("meshconsole.relay.postgres.following.LOG_BYTES", limit)
    assert [row.seq for row in store.feed(0, 10)] == [1, 2, 3]
    monkeypatch.setattr(reading, "LOG_BYTES", limit)
    page = store.scan(ALL, None, 10)
    assert ids(page.raws) == [event.id for event in events[:3]]
    assert page.after is not None
    assert ids(store.scan(ALL, page.after, 2).raws) == [event.id for event in events[3:5]]


def test_backups_are_postgresqls_own(open_store: Open, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="PostgreSQL") as caught:
        open_store().backup(tmp_path / "copy")
    assert caught.value.code == "unsupported"
    assert "pg_dump" in caught.value.hint


def test_a_closed_store_says_so(open_store: Open) -> None:
    store = open_store()
    store.close()
    with pytest.raises(Fatal, match="closed"):
        store.count()
