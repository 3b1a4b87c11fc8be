"""The door on real sockets: clients that send too much, read too little, or must wait for bandwidth."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from meshconsole.core.sections import RelaySection
from meshconsole.relay import client as client_module
from meshconsole.relay.memory import OFFERED
from tests.relay.door import door, hear, say
from tests.relay.making import NOW, event_message, signed


async def test_a_client_with_too_much_under_way_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OFFERED, "balanced", 4)
    async with door() as d, d.connect() as client:
        events = [signed(content=str(n)) for n in range(100)]
        most = 0
        receive = d.relay.receive

        def watched(session: Any, message: bytes, via: str = "") -> None:  # noqa: ANN401
            nonlocal most
            receive(session, message, via)
            most = max(most, session.offered)

        monkeypatch.setattr(d.relay, "receive", watched)
        frames = b"".join(bytes(Frame(Opcode.TEXT, event_message(e)).serialize(mask=True)) for e in events)
        client.transport.write(frames)
        answers = [await hear(client) for _ in events]
        assert [answer[1] for answer in answers] == [event.id for event in events]
        assert most == 4


async def test_a_client_that_does_not_read_is_not_read_either() -> None:
    async with door(config=RelaySection(rate_limits=False, max_subscriptions=99)) as d, d.connect() as client:
        big = [signed(content="x" * 60_000, created_at=NOW + n) for n in range(10)]
        await d.relay.publish_many(big)
        asked = 40
        for number in range(asked):
            client.protocol.send_text(json.dumps(["REQ", str(number), {}]).encode())
        client.transport.write(b"".join(client.protocol.data_to_send()))
        await hear(client)
        (session,) = d.relay._receiving.ports
        opened = len(session.subscriptions)
        ends = events = most = 0
        while ends < asked:
            message = await hear(client)
            ends += message[0] == "EOSE"
            events += message[0] == "EVENT"
            most = max(most, session.unsent)
        assert events == asked * len(big) - 1
        assert opened < asked
        assert most < 10 * 300_000


class Counting:
    """A meter that notes what it is asked for, and lets it pass when its gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.blocked = asyncio.Event()
        """Something waits to be sent."""
        self.sent = 0
        self.received = 0

    async def wait_out(self, count: int) -> None:
        self.sent += count
        if not self.gate.is_set():
            self.blocked.set()
        await self.gate.wait()

    async def wait_in(self, count: int) -> None:
        self.received += count
        await self.gate.wait()

    def of_one(self) -> Counting:
        return self


class Eager(Counting):
    def __init__(self) -> None:
        super().__init__()
        self.refused = 0

    def try_out(self, count: int) -> bool:
        if not self.gate.is_set():
            self.refused += 1
            return False
        self.sent += count
        return True

    def try_in(self, count: int) -> bool:
        if not self.gate.is_set():
            self.refused += 1
            return False
        self.received += count
        return True


@pytest.mark.parametrize("make", [Counting, Eager])
async def test_bandwidth_is_paid_in_both_directions(make: type[Counting]) -> None:
    meter = make()
    async with door(meter=meter) as d, d.connect() as client:
        event = signed()
        frame = bytes(Frame(Opcode.TEXT, event_message(event)).serialize(mask=True))
        client.transport.write(frame)
        answer = await client.recv()
        assert meter.received == len(frame)
        assert meter.sent == 2 + len(answer)
        meter.gate.clear()
        await say(client, "REQ", "s", {})
        await meter.blocked.wait()
        hearing = asyncio.ensure_future(hear(client))
        for _ in range(20):  # loopback delivers within a turn of the loop
            await asyncio.sleep(0)
        assert not hearing.done()
        meter.gate.set()
        assert (await hearing)[0] == "EVENT"
        assert (await hear(client))[0] == "EOSE"


async def test_an_unpaid_flood_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_UNPAID_BYTES", 1000)
    meter = Eager()
    async with door(meter=meter) as d, d.connect() as client:
        meter.gate.clear()
        events = [signed(content=str(n)) for n in range(200)]
        for event in events:
            frame = bytes(Frame(Opcode.TEXT, event_message(event)).serialize(mask=True))
            client.transport.write(frame)
            await asyncio.sleep(0)
        assert meter.received < 20_000
        meter.gate.set()
        answers = [await hear(client) for _ in events]
        assert [answer[1] for answer in answers] == [event.id for event in events]
