"""The server is killed in the middle of writes: nothing acknowledged is lost, and the store recovers."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest

from meshconsole.core.sections import RelaySection
from meshconsole.relay.filter import Filter
from meshconsole.relay.postgres.store import PostgresEventStore
from meshconsole.relay.relay import Relay, Stored
from scripts.postgres import MISSING, Cluster, programs
from tests.relay.making import NOW, Public, signed
from tests.relay.postgres.test_store import check_tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshconsole.relay.relay import RefusedEvent
    from meshconsole.relay.store import FeedRow

pytestmark = pytest.mark.slow


@pytest.fixture
def own_server() -> Iterator[Cluster]:
    """One that may be killed."""
    binaries = programs()
    if binaries is None:
        pytest.skip(MISSING)
    cluster = Cluster(binaries)
    yield cluster
    cluster.remove()


async def test_acknowledged_events_survive_the_servers_death(own_server: Cluster) -> None:
    """Two relays on one database, eight writers each, three deaths. Every event that a relay called
    stored is there afterwards, and was delivered live exactly once in each relay."""
    url = own_server.url()
    stores = [PostgresEventStore(url) for _ in range(2)]
    stored: list[list[str]] = [[], []]
    more = asyncio.Event()
    relays = []
    for number, store in enumerate(stores):

        def emit(what: Stored | RefusedEvent, number: int = number) -> None:
            if isinstance(what, Stored):
                stored[number].append(what.event.id)
                more.set()

        relays.append(Relay(store, access=Public(), emit=emit, config=RelaySection()))
        await relays[-1].start()
    acknowledged: set[str] = set()
    errors: list[str] = []
    enough = asyncio.Event()

    async def publish(relay: Relay, name: str) -> None:
        for count in itertools.count():
            event = signed(name, content=str(count), created_at=NOW + count)
            verdict = await relay.publish(event)
            if verdict.accepted:
                acknowledged.add(event.id)
            else:
                assert verdict.code == "error", verdict
                errors.append(verdict.sentence)
            if len(acknowledged) > wanted:
                enough.set()
                await asyncio.sleep(0)
            if stopping:
                return

    stopping = False
    wanted = 300
    async with asyncio.TaskGroup() as group:
        for number, relay in enumerate(relays):
            for writer in range(8):
                group.create_task(publish(relay, f"{number} {writer}"))
        for _ in range(3):
            await enough.wait()
            await asyncio.to_thread(own_server.stop, "immediate")
            await asyncio.to_thread(own_server.start)
            wanted = len(acknowledged) + 300
            enough.clear()
        await enough.wait()
        stopping = True
    assert errors, "the server was away"
    assert any("PostgreSQL" in sentence for sentence in errors)
    try:
        assert stores[0].known(acknowledged) == acknowledged
        check_tables(stores[0])
        rows: list[FeedRow] = []
        while page := stores[1].feed(rows[-1].seq if rows else 0, 1000):
            rows += page
        assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
        held = [row.id for row in rows]
        assert acknowledged <= set(held)
        async with asyncio.timeout(30):
            while any(len(heard) < len(held) for heard in stored):
                more.clear()
                await more.wait()
        for heard in stored:
            assert heard == held, "each once, in the order of the log"
        assert len(stores[0].query([Filter()], 10**6)) == len(held)
    finally:
        for relay, store in zip(relays, stores, strict=True):
            await relay.stop()
            store.close()
