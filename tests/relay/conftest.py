from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.relay.sqlite import SqliteEventStore
from tests.relay.making import KEY, TAG_KEY, Clock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
