"""A relay with clients in memory: what they say goes straight in, what they hear waits in a queue."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from meshconsole.core.sections import RelaySection
from meshconsole.relay.relay import RefusedEvent, Relay, Stored
from tests.relay.making import NOW, Clock, Public, event_message, signed
from tests.relay.memory import MemoryEventStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from meshconsole.core.event import Event
    from meshconsole.relay.policy import Access
    from meshconsole.relay.store import EventStore


class Bench:
    def __init__(self, store: EventStore, access: Access, config: RelaySection) -> None:
        self.emitted: list[Stored | RefusedEvent] = []
        self.relay = Relay(store, access=access, emit=self.emitted.append, config=config, clock=Clock())

    def client(self) -> FakeClient:
        return FakeClient(self.relay)


class FakeClient:
    """A port that takes everything at once, unless it is made to stand still."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.moving = asyncio.Event()
        self.moving.set()
        self.heard: asyncio.Queue[list[Any]] = asyncio.Queue()
        self.session = relay.connect(self, lambda url: True)

    def wake(self) -> None:
        asyncio.get_running_loop().call_soon(self._take)

    async def drained(self) -> None:
        await self.moving.wait()

    def _take(self) -> None:
        for message in self.session.outbox():
            self.heard.put_nowait(json.loads(message))

    def say(self, *parts: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
        self.relay.receive(self.session, json.dumps(parts).encode(), "client test")

    def publish(self, event: Event) -> None:
        self.relay.receive(self.session, event_message(event), "client test")

    async def hear(self, count: int = 1) -> list[list[Any]]:
        return [await self.heard.get() for _ in range(count)]

    async def stored(self, name: str, *filters: dict[str, Any]) -> list[str]:
        """Ids up to EOSE."""
        self.say("REQ", name, *filters)
        found = []
        while (message := await self.heard.get())[0] == "EVENT":
            assert message[1] == name
            found.append(message[2]["id"])
        assert message[:2] == ["EOSE", name]
        return found


@asynccontextmanager
async def bench(
    store: EventStore | None = None, access: Access | None = None, config: RelaySection | None = None
) -> AsyncIterator[Bench]:
    quiet = config or RelaySection(rate_limits=False)
    made = Bench(store or MemoryEventStore(Clock()), access or Public(), quiet)
    await made.relay.start()
    try:
        yield made
    finally:
        await made.relay.stop()


def notes(count: int) -> list[Event]:
    return [signed(content=str(n), created_at=NOW + n) for n in range(count)]
