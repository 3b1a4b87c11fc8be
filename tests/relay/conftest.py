from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.relay.sqlite import SqliteEventStore
from tests.relay.making import KEY, TAG_KEY, Clock
from tests.relay.memory import MemoryEventStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from meshconsole.relay.store import EventStore


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "node.db"


@pytest.fixture
def sqlite_store(database: Path, clock: Clock) -> Iterator[SqliteEventStore]:
    store = SqliteEventStore(database, KEY, TAG_KEY, clock=clock)
    yield store
    store.close()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, clock: Clock) -> EventStore:
    if request.param == "memory":
        return MemoryEventStore(clock)
    made: EventStore = request.getfixturevalue("sqlite_store")
    return made
