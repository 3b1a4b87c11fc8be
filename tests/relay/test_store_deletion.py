"""NIP-09, NIP-40 and NIP-62 in every event store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.core.kinds import CONTROL_KINDS
from meshconsole.relay.filter import Filter
from meshconsole.relay.store import as_entry
from tests.relay.held import DELETED, STORED, SUPERSEDED, codes, deletion, held
from tests.relay.making import NOW, Clock, fake_npub, unsigned

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from meshconsole.relay.store import EventStore


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


# --- NIP-62 ----------------------------------------------------------------------------------------


def vanish(store: EventStore, author: str = "alice", at: int = NOW) -> Event:
    request = unsigned(author, kind=62, created_at=at, tags=(("relay", "ALL_RELAYS"),))
    assert store.write([as_entry(request)._replace(vanish=True)])[0].verdict.accepted
    return request


def test_who_vanishes_leaves_nothing_up_to_then(store: EventStore) -> None:
    past = [
        unsigned(created_at=NOW - 9),
        unsigned(kind=0, created_at=NOW),
        unsigned(kind=30023, tags=(("d", "x"),), created_at=NOW - 1),
        deletion(("e", "ab" * 32), at=NOW - 5),
        unsigned("random", kind=1059, tags=(("p", fake_npub("alice")),), created_at=NOW - 3),
    ]
    to_come = [unsigned(content="later told", created_at=NOW - 2), deletion(("e", "cd" * 32), at=NOW - 6)]
    stay = [
        unsigned(created_at=NOW + 1),
        unsigned("bob", tags=(("p", fake_npub("alice")),)),
        unsigned("random", kind=1059, tags=(("p", fake_npub("bob")),)),
        unsigned("random", kind=1059, tags=(("p", fake_npub("alice")),), created_at=NOW + 1),
    ]
    store.add([*past, *stay])
    request = vanish(store)
    assert set(held(store)) == {event.id for event in (*stay, request)}
    assert codes(store, *past, *to_come) == [DELETED] * 7
    gone = {event.id for event in (*past, *to_come)}
    assert store.settled(gone) == gone
    assert codes(store, unsigned(content="back again", created_at=NOW + 2)) == [STORED]


def test_a_request_to_vanish_elsewhere_is_only_kept(store: EventStore) -> None:
    note = unsigned()
    assert codes(store, note, unsigned(kind=62, tags=(("relay", "wss://elsewhere"),))) == [STORED, STORED]
    assert store.known([note.id]) == {note.id}


def test_a_request_to_vanish_cannot_be_deleted(store: EventStore) -> None:
    note = unsigned(created_at=NOW - 1)
    request = vanish(store)
    store.add([deletion(("e", request.id), at=NOW + 1)])
    assert store.known([request.id]) == {request.id}
    assert codes(store, note) == [DELETED]


def test_vanishing_twice_takes_what_came_between(store: EventStore) -> None:
    first = vanish(store, at=NOW - 5)
    between = unsigned(created_at=NOW - 4)
    store.add([between])
    second = vanish(store)
    assert set(held(store)) == {first.id, second.id}
    assert vanish(store, at=NOW - 3).id in held(store)
    assert codes(store, between) == [DELETED]


def test_who_vanishes_in_the_batch_that_told_of_them(store: EventStore) -> None:
    notes = [unsigned("newcomer", content=str(n), created_at=NOW - n) for n in range(3)]
    request = unsigned("newcomer", kind=62)
    entries = [as_entry(notes[0]), as_entry(request)._replace(vanish=True), as_entry(notes[1])]
    accepted = [written.verdict.accepted for written in store.write(entries)]
    assert accepted == [True, True, False]
    assert held(store) == [request.id]


@pytest.mark.parametrize("kind", sorted(CONTROL_KINDS))
def test_what_makes_a_team_does_not_vanish(store: EventStore, kind: int) -> None:
    event = unsigned(kind=kind)
    store.add([event])
    vanish(store, at=NOW + 1)
    assert store.known([event.id]) == {event.id}


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
