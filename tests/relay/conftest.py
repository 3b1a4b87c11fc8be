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
    from scripts.postgres import Cluster

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
"""What makes an empty store of each kind that the product has; but for PostgreSQL, which needs a server."""


def postgres_store(postgres: Cluster) -> MakeStore:
    @contextlib.contextmanager
    def make(clock: Clock) -> Iterator[EventStore]:
        from meshconsole.relay.postgres.schema import TABLES
        from meshconsole.relay.postgres.store import PostgresEventStore

        filled = [table for table in TABLES if table != "mc_state"]
        reset = "update mc_state set head_seq = 0, events = 0, bytes = 0"
        with postgres.emptied(filled, reset) as url:
            store = PostgresEventStore(url, clock=clock)
            try:
                yield store
            finally:
                store.close()

    return make


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


@pytest.fixture(scope="session", params=[*sorted(STORES), "postgres"])
def make_store(request: pytest.FixtureRequest) -> MakeStore:
    """For tests that need more than one store, or one for each example."""
    return _maker(request)


@pytest.fixture(params=["memory", *sorted(STORES), "postgres"])
def store(request: pytest.FixtureRequest, clock: Clock) -> Iterator[EventStore]:
    with _maker(request)(clock) as store:
        yield store


def _maker(request: pytest.FixtureRequest) -> MakeStore:
    if request.param == "postgres":
        return postgres_store(request.getfixturevalue("postgres"))
    return {"memory": memory_store, **STORES}[request.param]
