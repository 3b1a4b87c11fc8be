"""Requests to vanish by strangers remove what there is, and fill nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.event import Event, encode_event
from meshconsole.core.kinds import GIFT_WRAP, VANISH
from meshconsole.core.verdict import ACCEPTED
from meshconsole.relay import vanishing
from meshconsole.relay.store import Entry
from meshconsole.relay.vanishing import NOTHING_HERE
from tests.relay.making import NOW, fake_npub, unsigned

if TYPE_CHECKING:
    from meshconsole.core.verdict import Verdict
    from meshconsole.relay.store import EventStore

STRANGERS = {fake_npub("carol"), fake_npub("dave")}


def request(author: str, at: int = NOW) -> Event:
    return unsigned(author, kind=VANISH, tags=(("relay", "ALL_RELAYS"),), created_at=at)


def write(store: EventStore, *events: Event) -> list[Verdict]:
    entries = [Entry(event, encode_event(event), event.kind == VANISH) for event in events]
    return [written.verdict for written in vanishing.write(store, entries, STRANGERS)]


def test_who_has_nothing_here_leaves_nothing_here(store: EventStore) -> None:
    note, reply = unsigned("alice"), unsigned("alice", content="more")
    assert write(store, note, request("carol"), reply) == [ACCEPTED, NOTHING_HERE, ACCEPTED]
    assert [row.id for row in store.feed(0, 10)] == [note.id, reply.id]


def test_who_has_something_here_is_forgotten_once(store: EventStore) -> None:
    store.add([unsigned("carol", created_at=NOW - 1)])
    wrap = unsigned("random", kind=GIFT_WRAP, tags=(("p", fake_npub("dave")),), created_at=NOW - 1)
    store.add([wrap])
    asked = [request("carol"), request("dave")]
    assert write(store, *asked) == [ACCEPTED, ACCEPTED]
    assert {row.id for row in store.feed(0, 10)} == {event.id for event in asked}
    assert write(store, request("carol", NOW + 1), request("dave", NOW + 1)) == [NOTHING_HERE, NOTHING_HERE]


def test_who_may_write_here_is_heard_by_peers_in_any_case(store: EventStore) -> None:
    assert write(store, request("alice")) == [ACCEPTED]
