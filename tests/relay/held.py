"""Short ways to ask a store, for the conformance tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.relay.filter import Filter
from tests.relay.making import NOW, unsigned
from tests.relay.memory import ids

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from meshconsole.relay.store import EventStore

ALL = [Filter()]


def held(store: EventStore, *filters: Filter, limit: int = 100) -> list[str]:
    return ids(store.query(filters or ALL, limit))


def codes(store: EventStore, *events: Event) -> list[tuple[bool, str]]:
    return [(verdict.accepted, verdict.code) for verdict in store.add(events)]


STORED = (True, "")
DELETED = (False, "blocked")
SUPERSEDED = (False, "duplicate")


def deletion(*tags: tuple[str, ...], author: str = "alice", at: int = NOW) -> Event:
    return unsigned(author, kind=5, tags=tags, created_at=at)
