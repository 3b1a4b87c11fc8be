"""What every event store must do, run on each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.core.kinds import CONTROL_KINDS
from meshconsole.core.verdict import ACCEPTED, DUPLICATE
from meshconsole.relay.filter import Filter
from meshconsole.relay.store import EventStore, as_entry
from tests.relay.making import NOW, Clock, fake_npub, raw, unsigned
from tests.relay.memory import MemoryEventStore, ids

if TYPE_CHECKING:
    from meshconsole.core.event import Event

ALL = [Filter()]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, clock: Clock) -> EventStore:
    if request.param == "memory":
        return MemoryEventStore(clock)
    made: EventStore = request.getfixturevalue("sqlite_store")
    return made


def held(store: EventStore, *filters: Filter, limit: int = 100) -> list[str]:
    return ids(store.query(filters or ALL, limit))


def codes(store: EventStore, *events: Event) -> list[tuple[bool, str]]:
    return [(verdict.accepted, verdict.code) for verdict in store.add(events)]


STORED = (True, "")
DELETED = (False, "blocked")
SUPERSEDED = (False, "duplicate")


def deletion(*tags: tuple[str, ...], author: str = "alice", at: int = NOW) -> Event:
    return unsigned(author, kind=5, tags=tags, created_at=at)


# --- taking in -------------------------------------------------------------------------------------


def test_an_event_comes_back_byte_for_byte(store: EventStore) -> None:
    event = unsigned(content='é "x" \\ \n', tags=(("t", "é"),))
    assert store.add([event]) == [ACCEPTED]
    assert store.query(ALL, 10) == [raw(event)]
    assert store.get([event.id]) == [raw(event)]


def test_the_bytes_given_are_the_bytes_kept(store: EventStore) -> None:
    event = unsigned()
    store.write([as_entry(event)._replace(raw=raw(event) + b" ")])
    assert store.get([event.id]) == [raw(event) + b" "]


def test_a_known_event_is_a_duplicate(store: EventStore) -> None:
    event = unsigned()
    assert store.add([event, event]) == [ACCEPTED, DUPLICATE]
    assert store.add([event]) == [DUPLICATE]
    assert store.count() == 1


def test_an_empty_batch_is_nothing(store: EventStore) -> None:
    assert store.write([]) == []


def test_ephemeral_events_are_not_kept(store: EventStore) -> None:
    assert not store.add([unsigned(kind=20000)])[0].accepted
    assert store.count() == 0


def test_known(store: EventStore) -> None:
    here, gone = unsigned(content="here"), unsigned(content="gone")
    store.add([here])
    assert store.known([here.id, gone.id]) == {here.id}
    assert store.known([]) == set()


def test_usage_counts(store: EventStore) -> None:
    store.add([unsigned(content=str(n)) for n in range(3)])
    assert store.usage().count == store.count() == 3
    assert store.usage().bytes > 0


# --- order and limits ------------------------------------------------------------------------------


def test_newest_first_then_lowest_id(store: EventStore) -> None:
    events = [unsigned(content=str(n), created_at=NOW + n % 3) for n in range(12)]
    store.add(events)
    assert held(store) == [e.id for e in sorted(events, key=lambda e: (-e.created_at, e.id))]


def test_a_limit_keeps_the_newest(store: EventStore) -> None:
    events = [unsigned(content=str(n), created_at=NOW + n) for n in range(5)]
    store.add(events)
    assert held(store, Filter(limit=2)) == [events[4].id, events[3].id]
    assert held(store, Filter(limit=0)) == []
    assert held(store, Filter(limit=50), limit=3) == [e.id for e in events[:1:-1]]


def test_limits_are_per_filter_and_events_come_once(store: EventStore) -> None:
    notes = [unsigned(content=str(n), created_at=NOW + n) for n in range(3)]
    likes = [unsigned(kind=7, content=str(n), created_at=NOW + 10 + n) for n in range(3)]
    store.add(notes + likes)
    both = Filter(kinds=frozenset({1, 7}), limit=1)
    found = held(store, Filter(kinds=frozenset({1}), limit=2), Filter(kinds=frozenset({7}), limit=1), both)
    assert found == [likes[2].id, notes[2].id, notes[1].id]


def test_selection_says_whether_a_limit_cut(store: EventStore) -> None:
    store.add([unsigned(content=str(n)) for n in range(3)])
    assert store.select([Filter(limit=3)], 10).complete is False
    assert store.select([Filter(limit=4)], 10).complete is True
    assert store.select(ALL, 3).complete is False
    assert store.select(ALL, 10).head_seq == 3


def test_fetch_keeps_order_and_leaves_out_what_is_gone(store: EventStore) -> None:
    events = [unsigned(content=str(n), created_at=NOW + n) for n in range(3)]
    store.add(events)
    keys = store.select(ALL, 10).keys
    store.add([deletion(("e", events[1].id))])
    assert ids(store.fetch(keys)) == [events[2].id, events[0].id]
    assert ids(store.fetch(keys[::-1])) == [events[0].id, events[2].id]
    assert store.fetch([]) == []


# --- filters ---------------------------------------------------------------------------------------


def test_each_condition_selects(store: EventStore) -> None:
    hex_id = "ab" * 32
    tagged = unsigned("bob", kind=7, tags=(("t", "x"), ("e", hex_id)), created_at=NOW + 5)
    plain = unsigned()
    store.add([tagged, plain])
    for wanted in (
        Filter(ids=frozenset({tagged.id, "00" * 32})),
        Filter(authors=frozenset({fake_npub("bob"), fake_npub("nobody")})),
        Filter(kinds=frozenset({7, 9})),
        Filter(tags=(("t", frozenset({"x", "y"})),)),
        Filter(tags=(("t", frozenset({"x"})), ("e", frozenset({hex_id})))),
        Filter(tags=(("t", frozenset({"x"})),), authors=frozenset({fake_npub("bob")}), kinds=frozenset({7})),
        Filter(since=NOW + 5),
        Filter(since=NOW + 5, until=NOW + 5),
        Filter(authors=frozenset({fake_npub("bob")}), kinds=frozenset({7, 1})),
        Filter(hidden=frozenset({1})),
    ):
        assert held(store, wanted) == [tagged.id], wanted
    for wanted in (
        Filter(until=NOW + 4),
        Filter(authors=frozenset({fake_npub("alice")})),
        Filter(kinds=frozenset({1})),
        Filter(kinds=frozenset({1, 7}), hidden=frozenset({7})),
    ):
        assert held(store, wanted) == [plain.id], wanted
    for wanted in (
        Filter(ids=frozenset()),
        Filter(authors=frozenset()),
        Filter(kinds=frozenset()),
        Filter(tags=(("t", frozenset()),)),
        Filter(tags=(("T", frozenset({"x"})),)),
        Filter(tags=(("t", frozenset({"x"})), ("e", frozenset({"cd" * 32})))),
        Filter(tags=(("t", frozenset({"x"})),), authors=frozenset({fake_npub("alice")})),
        Filter(tags=(("t", frozenset({"x"})),), authors=frozenset({fake_npub("nobody")})),
        Filter(ids=frozenset({tagged.id}), kinds=frozenset({1})),
        Filter(ids=frozenset({tagged.id}), until=NOW),
        Filter(authors=frozenset({fake_npub("nobody")})),
        Filter(kinds=frozenset({7}), hidden=frozenset({7})),
        Filter(since=NOW + 6),
        Filter(since=1 << 70),
        Filter(until=-(1 << 70)),
    ):
        assert held(store, wanted) == [], wanted
    assert len(held(store, Filter(since=-(1 << 70), until=1 << 70))) == 2


def test_many_values_select_like_few(store: EventStore) -> None:
    """Beyond a number of places in the index another way is taken."""
    events = [
        unsigned(f"author {n}", kind=n, tags=(("t", str(n)),), created_at=NOW + n)
        for n in (*range(1, 3), *range(100, 200))
    ]
    store.add(events)
    newest = [event.id for event in events[: -(7 + 1) : -1]]
    many = frozenset(event.pubkey for event in events)
    assert held(store, Filter(authors=many, limit=7)) == newest
    assert held(store, Filter(authors=many, kinds=frozenset({1, 2, 150}), limit=7)) == [
        events[52].id,
        events[1].id,
        events[0].id,
    ]
    assert held(store, Filter(kinds=frozenset(range(300)), limit=7)) == newest
    assert held(store, Filter(tags=(("t", frozenset(map(str, range(300)))),), limit=7)) == newest
    assert held(store, Filter(ids=frozenset(e.id for e in events), limit=7)) == newest
    assert held(store, Filter(authors=many, hidden=frozenset({199}), limit=6)) == newest[1:]


def test_an_author_of_many_kinds(store: EventStore) -> None:
    events = [unsigned(kind=100 + n, created_at=NOW + n) for n in range(60)]
    store.add([*events, unsigned("bob", created_at=NOW + 99)])
    found = held(store, Filter(authors=frozenset({fake_npub("alice")}), limit=3))
    assert found == [event.id for event in events[: -(3 + 1) : -1]]


# --- replaceable and addressable -------------------------------------------------------------------


@pytest.mark.parametrize("kind", [0, 3, 10000, 19999])
def test_a_newer_version_replaces(store: EventStore, kind: int) -> None:
    old = unsigned(kind=kind, content="old")
    new = unsigned(kind=kind, content="new", created_at=NOW + 1, tags=(("d", "is ignored"),))
    assert codes(store, old) == [STORED]
    assert codes(store, new, old) == [STORED, SUPERSEDED]
    assert held(store) == [new.id]
    assert store.get([old.id]) == []
    assert store.count() == 1


@pytest.mark.parametrize("kind", [1, 2, 4, 44, 1000, 9999, 40000, 65535])
def test_regular_events_do_not_replace(store: EventStore, kind: int) -> None:
    store.add([unsigned(kind=kind, content="1"), unsigned(kind=kind, content="2", created_at=NOW + 1)])
    assert store.count() == 2


def test_of_two_versions_with_one_time_the_lowest_id_stays(store: EventStore) -> None:
    low, high = sorted((unsigned(kind=0, content=str(n)) for n in range(2)), key=lambda e: e.id)
    assert codes(store, high) == [STORED]
    assert codes(store, low) == [STORED]
    assert codes(store, high) == [SUPERSEDED]
    assert held(store) == [low.id]


def test_versions_are_per_author_and_kind(store: EventStore) -> None:
    events = [unsigned(author, kind=kind) for author in ("alice", "bob") for kind in (0, 10002)]
    store.add(events)
    assert store.count() == 4


@pytest.mark.parametrize("kind", [30000, 39999])
def test_addressable_events_are_told_apart_by_d(store: EventStore, kind: int) -> None:
    one = unsigned(kind=kind, tags=(("d", "one"), ("d", "ignored")))
    two = unsigned(kind=kind, tags=(("d", "two"),))
    newer = unsigned(kind=kind, tags=(("d", "one"),), created_at=NOW + 1)
    store.add([one, two, newer])
    assert set(held(store)) == {two.id, newer.id}


def test_a_missing_d_is_an_empty_one(store: EventStore) -> None:
    store.add([unsigned(kind=30000, tags=tags) for tags in ((), (("d",),), (("d", ""),))])
    assert store.count() == 1


def test_replaced_events_leave_no_tags_behind(store: EventStore) -> None:
    old = unsigned(kind=0, tags=(("t", "x"),))
    new = unsigned(kind=0, created_at=NOW + 1)
    store.add([old, new])
    assert held(store, Filter(tags=(("t", frozenset({"x"})),))) == []


# --- NIP-09 ----------------------------------------------------------------------------------------


def test_an_author_deletes_by_id(store: EventStore) -> None:
    event = unsigned(tags=(("t", "x"),))
    gone = deletion(("e", event.id))
    store.add([event])
    assert codes(store, gone) == [STORED]
    assert held(store) == [gone.id]
    assert held(store, Filter(tags=(("t", frozenset({"x"})),))) == []
    assert codes(store, event) == [DELETED]


def test_a_deletion_may_come_before_its_event(store: EventStore) -> None:
    event = unsigned()
    store.add([deletion(("e", event.id))])
    assert codes(store, event) == [DELETED]


def test_deletion_and_event_in_one_batch_in_either_order(store: EventStore) -> None:
    first, second = unsigned(content="1"), unsigned(content="2")
    assert codes(store, deletion(("e", first.id)), first) == [STORED, DELETED]
    assert codes(store, second, deletion(("e", second.id))) == [STORED, STORED]
    assert store.known([first.id, second.id]) == set()


def test_strangers_delete_nothing(store: EventStore) -> None:
    here, to_come = unsigned(content="here"), unsigned(content="to come")
    store.add([here])
    place = f"30000:{here.pubkey}:x"
    store.add([deletion(("e", here.id), ("e", to_come.id), ("a", place), author="mallory")])
    addressed = unsigned(kind=30000, tags=(("d", "x"),))
    assert codes(store, to_come, addressed) == [STORED, STORED]
    assert store.known([here.id]) == {here.id}


def test_an_address_is_deleted_up_to_the_deletions_time(store: EventStore) -> None:
    versions = [unsigned(kind=30000, tags=(("d", "a:b:"),), created_at=NOW + n) for n in range(3)]
    place = f"30000:{versions[0].pubkey}:a:b:"
    store.add(versions[:2])
    store.add([deletion(("a", place), at=NOW + 1)])
    assert store.known([versions[1].id]) == set()
    assert codes(store, versions[0], versions[1], versions[2]) == [DELETED, DELETED, STORED]


def test_an_older_deletion_leaves_a_newer_version(store: EventStore) -> None:
    event = unsigned(kind=30000, created_at=NOW + 5)
    store.add([event, deletion(("a", f"30000:{event.pubkey}:"), at=NOW + 4)])
    assert store.known([event.id]) == {event.id}


def test_two_deletions_of_an_address_count_together(store: EventStore) -> None:
    event = unsigned(kind=30000, created_at=NOW + 5)
    place = f"30000:{event.pubkey}:"
    store.add([deletion(("a", place), at=NOW + 9), deletion(("a", place), at=NOW + 1)])
    assert codes(store, event) == [DELETED]


@pytest.mark.parametrize("ending", [":", "", ":whatever"])
def test_replaceable_events_are_deleted_by_address(store: EventStore, ending: str) -> None:
    event = unsigned(kind=10002)
    store.add([event])
    store.add([deletion(("a", f"10002:{event.pubkey}{ending}"))])
    assert store.known([event.id]) == set()


def test_a_deletion_cannot_be_deleted(store: EventStore) -> None:
    event = unsigned()
    gone = deletion(("e", event.id))
    again = deletion(("e", gone.id), at=NOW + 1)
    store.add([event, gone, again])
    assert store.known([gone.id, again.id]) == {gone.id, again.id}
    assert codes(store, event) == [DELETED]
    other = deletion(("e", "00" * 32), at=NOW + 2)
    store.add([deletion(("e", other.id), at=NOW + 3)])
    assert codes(store, other) == [STORED]


def test_malformed_deletion_tags_do_no_harm(store: EventStore) -> None:
    event = unsigned()
    author = event.pubkey
    tags = (
        ("e",),
        ("e", ""),
        ("e", event.id[:32]),
        ("e", event.id.upper()),
        ("a",),
        ("a", ""),
        ("a", "::"),
        ("a", f"x:{author}:"),
        ("a", f"1:{author}:"),
        ("a", f"-1:{author}:"),
        ("a", f"99999999999999999999:{author}:"),
        ("a", f"٣:{author}:"),
        ("p", author),
    )
    assert codes(store, event, deletion(*tags)) == [STORED, STORED]
    assert store.known([event.id]) == {event.id}


def test_who_a_gift_wrap_is_for_may_delete_it(store: EventStore) -> None:
    bob = fake_npub("bob")
    here = unsigned("random key", kind=1059, tags=(("p", bob),))
    to_come = unsigned("other key", kind=1059, tags=(("p", bob),))
    note = unsigned("alice", tags=(("p", bob),))
    store.add([here, note])
    store.add([deletion(("e", here.id), ("e", to_come.id), ("e", note.id), author="bob")])
    assert store.known([here.id, note.id]) == {note.id}
    assert codes(store, to_come) == [DELETED]


# --- NIP-40 ----------------------------------------------------------------------------------------


def expiring(at: int, **more: object) -> Event:
    return unsigned(tags=(("expiration", str(at)), ("t", "x")), **more)  # type: ignore[arg-type]


def test_an_expired_event_is_refused(store: EventStore) -> None:
    assert codes(store, expiring(NOW), expiring(NOW + 1)) == [(False, "invalid"), STORED]


@pytest.mark.parametrize("kind", sorted(CONTROL_KINDS))
def test_what_makes_a_team_does_not_expire(store: EventStore, clock: Clock, kind: int) -> None:
    event = expiring(NOW - 1, kind=kind)
    assert codes(store, event) == [STORED]
    clock.now = NOW + 10**6
    store.purge_expired()
    assert held(store) == [event.id]


def test_what_expires_is_no_longer_given_out(store: EventStore, clock: Clock) -> None:
    event, other = expiring(NOW + 10, created_at=NOW), unsigned(created_at=NOW - 1)
    store.add([event, other])
    author = frozenset({event.pubkey})
    asked = (
        Filter(),
        Filter(ids=frozenset({event.id, other.id})),
        Filter(kinds=frozenset({1})),
        Filter(authors=author),
        Filter(authors=author, kinds=frozenset({1})),
    )
    for wanted in asked:
        assert held(store, wanted) == [event.id, other.id], wanted
    clock.now = NOW + 10
    for wanted in asked:
        assert held(store, wanted) == [other.id], wanted
        assert held(store, Filter(limit=1)) == [other.id]
    assert held(store, Filter(tags=(("t", frozenset({"x"})),))) == []
    assert store.get([event.id]) == []
    assert [row.id for row in store.feed(0, 10)] == [other.id]


def test_an_expired_version_does_not_bring_back_an_older_one(store: EventStore, clock: Clock) -> None:
    old, new = unsigned(kind=0, created_at=NOW - 5), expiring(NOW + 10, kind=0)
    store.add([old, new])
    clock.now = NOW + 20
    assert codes(store, old) == [SUPERSEDED]
    assert held(store) == []


# --- the feed --------------------------------------------------------------------------------------


def test_the_feed_follows_arrival(store: EventStore) -> None:
    events = [unsigned(kind=n + 1, content=str(n), created_at=NOW - n) for n in range(4)]
    seqs = [written.seq for written in store.write([as_entry(e) for e in events])]
    assert seqs == sorted(seqs)
    assert seqs[0] > 0
    rows = store.feed(0, 10)
    assert [(row.seq, row.id, row.kind, row.raw) for row in rows] == [
        (seq, e.id, e.kind, raw(e)) for seq, e in zip(seqs, events, strict=True)
    ]
    assert [row.seq for row in store.feed(seqs[1], 1)] == [seqs[2]]
    assert store.feed(seqs[3], 10) == []
    assert store.head_seq == seqs[3]


def test_refused_and_known_events_have_no_place_in_the_feed(store: EventStore) -> None:
    event = unsigned()
    written = store.write([as_entry(event), as_entry(event), as_entry(unsigned(kind=20000))])
    assert [w.seq for w in written] == [1, 0, 0]


def test_the_feed_skips_what_is_gone_and_keeps_deletions(store: EventStore) -> None:
    note, profile = unsigned(), unsigned(kind=0)
    newer = unsigned(kind=0, created_at=NOW + 1)
    gone = deletion(("e", note.id))
    store.add([note, profile, newer, gone])
    assert [(row.seq, row.id) for row in store.feed(0, 10)] == [(3, newer.id), (4, gone.id)]


def test_a_seq_is_never_used_twice(store: EventStore) -> None:
    first, second = unsigned(kind=0), unsigned(kind=0, created_at=NOW + 1)
    assert [w.seq for w in store.write([as_entry(first)])] == [1]
    assert [w.seq for w in store.write([as_entry(second)])] == [2]
    store.add([deletion(("a", f"0:{first.pubkey}:"), at=NOW + 2)])
    assert store.head_seq == 3
    assert [w.seq for w in store.write([as_entry(unsigned())])] == [4]
