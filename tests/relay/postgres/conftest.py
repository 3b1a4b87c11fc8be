from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.relay.postgres.store import PostgresEventStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scripts.postgres import Cluster
    from tests.relay.making import Clock


@pytest.fixture
def url(postgres: Cluster) -> Iterator[str]:
    """An empty place of the server."""
    with postgres.schema() as url:
        yield url


@pytest.fixture
def open_store(url: str, clock: Clock) -> Iterator[Callable[[], PostgresEventStore]]:
    """Each call is another process's view of one database, as far as the database can tell."""
    opened: list[PostgresEventStore] = []

    def open_one() -> PostgresEventStore:
        opened.append(PostgresEventStore(url, clock=clock))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()
