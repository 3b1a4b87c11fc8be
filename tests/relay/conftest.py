"""Stores for the relay's tests. Each of STORES goes through the conformance suite: the tests that
take `store` or `make_store` (test_store*.py, test_reference.py)."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from meshconsole.relay.sqlite import SqliteEventStore
from tests.relay.making import KEY, TAG_KEY, Clock
from tests.relay.memory import MemoryEventStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from meshconsole.relay.store import EventStore

    MakeStore: TypeAlias = Callable[[Clock], contextlib.AbstractContextManager[EventStore]]


@contextlib.contextmanager
def memory_store(clock: Clock) -> Iterator[EventStore]:
    yield MemoryEventStore(clock)


@contextlib.contextmanager
def new_sqlite_store(clock: Clock) -> Iterator[EventStore]:
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteEventStore(Path(folder) / "node.db", KEY, TAG_KEY, clock=clock)
        try:
            yield store
        finally:
            store.close()


STORES: dict[str, MakeStore] = {"sqlite": new_sqlite_store}
"""What makes an empty store of each kind that the product has."""


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


@pytest.fixture(scope="session", params=sorted(STORES))
def make_store(request: pytest.FixtureRequest) -> MakeStore:
    """For tests that need more than one store, or one for each example."""
    return STORES[request.param]


@pytest.fixture(params=["memory", *sorted(STORES)])
def store(request: pytest.FixtureRequest, clock: Clock) -> Iterator[EventStore]:
    made = {"memory": memory_store, **STORES}[request.param]
    with made(clock) as store:
        yield store
