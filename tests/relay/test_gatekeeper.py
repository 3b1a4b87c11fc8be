"""The door under pressure, on real sockets with the test's own clock: floods, slow handshakes, half-open
connections, slow readers and strangers. Each time somebody else is served all the while."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from meshconsole.core.sections import LimitsSection, RelaySection
from meshconsole.relay import connection as connection_module
from meshconsole.relay import gatekeeper as gatekeeper_module
from meshconsole.relay import places as places_module
from meshconsole.relay import server as server_module
from tests.relay.door import Door, door, hear, say
from tests.relay.making import NOW, Clock, Members, event_message, npub, raw, signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.client import ClientConnection as Client

    from meshconsole.core.status import RelayStatus

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
LIMITS = LimitsSection(ping_interval_s=0, idle_timeout_s=0, write_timeout_s=0)


@pytest.fixture(autouse=True)
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine is not exempt, and nobody but the test looks after the connections."""
    monkeypatch.setattr(places_module, "network_of", lambda address: (address, False))
    monkeypatch.setattr(gatekeeper_module, "TEND_S", 3600)


@asynccontextmanager
async def kept(
    limits: LimitsSection = LIMITS, access: Members | None = None, config: RelaySection | None = None
) -> AsyncIterator[tuple[Door, Clock]]:
    clock = Clock(0)
    async with door(access, config, limits=limits, clock=clock) as d:
        yield d, clock


def seen(d: Door) -> RelayStatus:
    return d.server.status(d.server.addresses)


async def until(true: object, tries: int = 2000) -> None:
    """Lets loopback and the loop do their work."""
    assert callable(true)
    for _ in range(tries):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")


async def is_served(client: Client) -> bool:
    await say(client, "REQ", "served", {"limit": 1})
    while (answer := await hear(client))[0] == "EVENT":
        pass
    return bool(answer[:2] == ["EOSE", "served"])


async def raw_connection(
    d: Door, source: str = "127.0.0.1"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = d.address.split(":")
    return await asyncio.open_connection(host, int(port), local_addr=(source, 0))


async def log_in(client: Client, d: Door, name: str) -> None:
    challenge = (await hear(client))[1]
    tags = (("relay", f"ws://{d.address}/"), ("challenge", challenge))
    await client.send(f'["AUTH",{raw(signed(name, kind=22242, tags=tags)).decode()}]')
    assert (await hear(client))[2] is True


# --- Connections -----------------------------------------------------------------------------------


async def test_who_has_lost_the_rights_is_let_go_and_nobody_else() -> None:
    members = Members({npub("alice"), npub("bob")})
    async with (
        kept(access=members) as (d, _),
        d.connect() as alice,
        d.connect() as bob,
        d.connect() as nobody,
    ):
        await log_in(alice, d, "alice")
        await log_in(bob, d, "bob")
        assert await is_served(bob)
        d.server.recheck()
        assert await is_served(bob)
        members.npubs.discard(npub("bob"))
        d.server.recheck()
        await bob.wait_closed()
        assert bob.close_code == 1008
        assert "may not use this relay" in str(bob.close_reason)
        assert await is_served(alice)
        assert (await hear(nobody))[0] == "AUTH"  # still asked who it is


async def test_too_many_from_one_address_are_told_so() -> None:
    limits = LimitsSection(max_connections_per_ip=2, ping_interval_s=0)
    async with kept(limits) as (d, _), d.connect() as one, d.connect() as two:
        with pytest.raises(InvalidStatus) as refused:
            await d.connect()
        assert refused.value.response.status_code == 429
        assert b"at most 2 connections from one address" in (refused.value.response.body or b"")
        assert await is_served(one)
        await two.close()
        await until(lambda: d.server.connections == 1)
        async with d.connect() as three:
            assert await is_served(three)
        (reason,) = seen(d).refusals
        assert reason.startswith("rate-limited: at most 2 connections")


async def test_a_flood_of_connections_harms_nobody_else() -> None:
    limits = LimitsSection(new_connections_per_minute=10, max_connections_per_ip=0, ping_interval_s=0)
    async with kept(limits) as (d, clock), d.connect() as client:
        floods = [await raw_connection(d, "127.0.0.66") for _ in range(60)]
        told = [await reader.readline() for reader, _ in floods[5:]]
        assert all(line.startswith(b"HTTP/1.1 429 ") for line in told)
        assert await is_served(client)
        assert seen(d).handshakes == 5
        for _, writer in floods:
            writer.close()
        clock.now += 60
        _, writer = await raw_connection(d, "127.0.0.66")
        await until(lambda: seen(d).handshakes == 1)
        writer.close()


async def test_new_limits_hold_for_the_next_connection() -> None:
    async with kept() as (d, _), d.connect() as one:
        d.server.apply(LimitsSection(max_connections_per_ip=1, ping_interval_s=0))
        with pytest.raises(InvalidStatus):
            await d.connect()
        assert await is_served(one)


# --- Handshakes --------------------------------------------------------------------------------------


async def test_slowloris_displaces_only_himself() -> None:
    """Byte by byte, never finished: whoever opens many of them pays with his own."""
    limits = LimitsSection(max_handshakes=8, max_connections_per_ip=0, new_connections_per_minute=0)
    async with kept(limits) as (d, _):
        honest = await raw_connection(d, "127.0.0.2")
        honest[1].write(REQUEST[:20])
        slow = [await raw_connection(d, "127.0.0.66") for _ in range(40)]
        for _, writer in slow:
            writer.write(b"G")
        assert seen(d).handshakes == 8
        told = [await reader.readline() for reader, _ in slow[:33]]
        assert all(line.startswith(b"HTTP/1.1 503 ") for line in told)
        async with d.connect() as client:
            assert await is_served(client)
        honest[1].write(REQUEST[20:])
        assert (await honest[0].readline()).startswith(b"HTTP/1.1 101 ")
        for _, writer in (honest, *slow):
            writer.close()


async def test_everybody_may_come_back_at_once() -> None:
    """After a restart, or through a proxy: honest handshakes that begin in one moment all succeed."""
    limits = LimitsSection(max_connections_per_ip=0, new_connections_per_minute=0, ping_interval_s=0)
    async with kept(limits) as (d, _):
        many = await asyncio.gather(*(raw_connection(d) for _ in range(300)))
        for _, writer in many:
            writer.write(REQUEST)
        told = await asyncio.gather(*(reader.readline() for reader, _ in many))
        assert set(told) == {b"HTTP/1.1 101 Switching Protocols\r\n"}
        assert seen(d).clients == 300
        for _, writer in many:
            writer.transport.abort()


async def test_a_handshake_that_takes_too_long_ends() -> None:
    async with kept(LimitsSection(handshake_timeout_s=5)) as (d, clock):
        silent, talking = await raw_connection(d), await raw_connection(d)
        talking[1].write(b"GET / HTTP/1.1\r\n")
        await until(lambda: seen(d).handshakes == 2)
        d.server.gate.tend(clock.now + 4.9)
        assert seen(d).handshakes == 2
        d.server.gate.tend(clock.now + 5)
        assert seen(d).handshakes == 0
        for reader, writer in (silent, talking):
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
            writer.close()


async def test_who_has_gone_by_himself_does_not_spoil_the_look() -> None:
    async with kept(LimitsSection(handshake_timeout_s=5)) as (d, clock):
        host, _, port = d.address.rpartition(":")
        gone = [socket.create_connection((host, int(port))) for _ in range(3)]
        await until(lambda: seen(d).handshakes == 3)
        for one in gone:
            one.close()
        # Before the loop has heard of it: the answer is written to somebody who refuses it.
        d.server.gate.tend(clock.now + 5)
        assert seen(d).handshakes == 0


async def test_stopping_does_not_wait_for_handshakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "LINGER_S", 0)
    monkeypatch.setattr(server_module, "LINGER_S", 0)
    async with kept() as (d, _):
        reader, writer = await raw_connection(d)
        await until(lambda: seen(d).handshakes == 1)
        await d.server.stop()
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
        writer.close()


# --- Strangers ---------------------------------------------------------------------------------------


async def test_strangers_who_never_log_in_cannot_hold_all_places() -> None:
    limits = LimitsSection(max_connections=8, max_strangers_percent=50, ping_interval_s=0)
    async with kept(limits, Members({npub("alice")})) as (d, clock):
        strangers = [await d.connect() for _ in range(3)]
        with pytest.raises(InvalidStatus) as refused:
            await d.connect()
        assert refused.value.response.status_code == 503
        clock.now += places_module.LOGIN_GRACE_S
        async with d.connect() as alice:
            await log_in(alice, d, "alice")
            assert await is_served(alice)
            assert (await hear(strangers[0]))[0] == "AUTH"
            assert (await hear(strangers[0]))[1].startswith("restricted: the place was needed")
            with pytest.raises(ConnectionClosed) as closed:
                await hear(strangers[0])
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
            clock.now += places_module.LOGIN_GRACE_S
            more = [await d.connect() for _ in range(2)]
            assert await is_served(alice), "who has logged in stays"
            assert seen(d).strangers == 3
        for client in (*strangers, *more):
            await client.close()


async def test_where_everybody_may_come_nobody_is_a_stranger() -> None:
    limits = LimitsSection(max_connections=8, max_strangers_percent=1, ping_interval_s=0)
    async with kept(limits) as (d, _), d.connect() as one, d.connect() as two:
        assert await is_served(one)
        assert await is_served(two)
        assert seen(d).strangers == 0


# --- Half-open, idle and slow connections ------------------------------------------------------------


async def test_a_half_open_connection_is_found_and_the_living_stay() -> None:
    limits = LimitsSection(ping_interval_s=20, ping_timeout_s=60)
    async with kept(limits) as (d, clock), d.connect() as alive:
        dead = await d.connect()
        await say(dead, "REQ", "s", {})
        await hear(dead)
        dead.transport.pause_reading()  # as if the cable had been pulled: no pong will come
        assert await is_served(alive)
        d.server.gate.tend(clock.now)
        d.server.gate.tend(clock.now + 20)
        heard = {p: p.client.use.bytes_in for p, _ in d.server.gate._clients.values()}
        await until(lambda: any(p.client.use.bytes_in > heard[p] for p in heard))
        d.server.gate.tend(clock.now + 79)
        assert d.server.connections == 2
        d.server.gate.tend(clock.now + 80)
        assert d.server.connections == 1
        assert await is_served(alive)
        assert "error: no answer to a ping for 60 s" in seen(d).refusals
        dead.transport.abort()


async def test_an_idle_client_is_told_and_let_go() -> None:
    async with kept(LimitsSection(idle_timeout_s=600, ping_interval_s=0)) as (d, clock):
        idle, busy = await d.connect(), await d.connect()
        await say(busy, "REQ", "s", {})
        assert (await hear(busy))[0] == "EOSE"
        d.server.gate.tend(clock.now)
        d.server.gate.tend(clock.now + 601)
        assert await hear(idle) == ["NOTICE", "error: idle: no subscription and no message for 600 s"]
        with pytest.raises(ConnectionClosed):
            await hear(idle)
        assert await is_served(busy)
        await busy.close()


@asynccontextmanager
async def one_that_never_reads(d: Door) -> AsyncIterator[None]:
    """A client that has asked for far more than fits, and takes none of it."""
    await d.relay.publish_many([signed(content="x" * 60_000, created_at=NOW + n) for n in range(40)])
    host, port = d.address.split(":")
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.setblocking(False)
    await asyncio.get_running_loop().sock_connect(slow, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=slow)
    writer.write(REQUEST)
    await reader.readuntil(b"\r\n\r\n")
    assert isinstance(writer.transport, asyncio.Transport)
    writer.transport.pause_reading()
    for number in range(50):
        message = json.dumps(["REQ", str(number), {}]).encode()
        writer.write(bytes((0x81, 0x80 | len(message), 0, 0, 0, 0)) + message)
    await until(lambda: bool(seen(d).slow))
    try:
        yield
    finally:
        writer.transport.abort()


async def test_one_that_never_reads_is_let_go_and_costs_a_bounded_amount() -> None:
    limits = LimitsSection(write_timeout_s=30, ping_interval_s=0)
    config = RelaySection(rate_limits=False, max_subscriptions=99)
    async with kept(limits, config=config) as (d, clock), d.connect() as other, one_that_never_reads(d):
        d.server.gate.tend(clock.now)
        assert await is_served(other)
        d.server.gate.tend(clock.now + 29)
        (shown,) = seen(d).slow
        assert shown.unsent_bytes < 8 << 20, "of the 120 MB that it has asked for"
        assert d.server.connections == 2
        d.server.gate.tend(clock.now + 30)
        assert d.server.connections == 1
        assert seen(d).slow_closed == 1
        assert "error: too slow" in seen(d).refusals
        assert await is_served(other)


async def test_stopping_does_not_wait_for_those_who_do_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "LINGER_S", 0)
    config = RelaySection(rate_limits=False, max_subscriptions=99)
    async with kept(config=config) as (d, _), one_that_never_reads(d):
        await d.server.stop()
        assert d.server.connections == 0


# --- Events ------------------------------------------------------------------------------------------


async def test_a_kind_comes_at_its_own_rate_over_all_connections_of_an_address() -> None:
    config = RelaySection(kind_events_per_minute=("7=8",))
    async with kept(config=config) as (d, _), d.connect() as one, d.connect() as two:
        answers = []
        for number, client in enumerate((one, two, one, two, one)):
            await client.send(event_message(signed(kind=7, content=str(number))).decode())
            answers.append((await hear(client))[2:])
        assert answers[:2] == [[True, ""]] * 2
        refusal = "rate-limited: at most 8 events of kind 7 a minute from one client"
        assert answers[3:] == [[False, refusal]] * 2
        await one.send(event_message(signed(kind=1)).decode())
        assert (await hear(one))[2] is True


async def test_a_key_has_one_rate_over_all_its_connections() -> None:
    config = RelaySection(key_events_per_minute=8)
    async with (
        kept(access=Members({npub("alice")}), config=config) as (d, _),
        d.connect() as one,
        d.connect() as two,
    ):
        for client in (one, two):
            await log_in(client, d, "alice")
        answers = []
        for number, client in enumerate((one, two, one, two, one)):
            await client.send(event_message(signed(content=str(number))).decode())
            answers.append((await hear(client))[2:])
        assert answers[:2] == [[True, ""]] * 2
        assert answers[3:] == [[False, "rate-limited: at most 8 events a minute with one key"]] * 2


async def test_what_an_operator_sees() -> None:
    config = RelaySection(max_filters=2)
    async with kept(config=config) as (d, _), d.connect() as client:
        d.relay.sample(0)
        event = signed(kind=7)
        await client.send(event_message(event).decode())
        await hear(client)
        await say(client, "REQ", "s", {"kinds": [7]}, {"kinds": [8]})
        await hear(client)
        await hear(client)
        await say(client, "REQ", "many", {}, {}, {})
        assert (await hear(client))[0] == "CLOSED"
        d.relay.sample(2)
        now = seen(d)
        assert (now.events_in, now.events_out, now.requests, now.subscriptions, now.filters) == (
            1,
            1,
            1,
            1,
            2,
        )
        assert now.refusals == {"invalid: at most 2 filters in one REQ": 1}
        assert (now.rates.events_in, now.rates.requests, now.rates.refused) == (0.5, 0.5, 0.5)
        assert now.rates.bytes_in == now.bytes_in / 2 > 100
        assert [(kind.kind, kind.count, kind.per_s) for kind in now.kinds] == [(7, 1, 0.5)]
        (key,), (address,) = now.keys, now.addresses
        assert (key.source, key.events) == (event.pubkey, 1)
        assert (address.source, address.connections, address.events) == ("127.0.0.1", 1, 1)
        assert (address.requests, address.refused, address.bytes_out) == (1, 1, now.bytes_out)


async def test_a_fault_does_not_end_the_watch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked = asyncio.Queue[float]()

    def broken(self: object, now: float) -> None:
        looked.put_nowait(now)
        raise ZeroDivisionError("bug")

    monkeypatch.setattr(gatekeeper_module, "TEND_S", 0)
    monkeypatch.setattr(gatekeeper_module.Gatekeeper, "tend", broken)
    async with door():
        await looked.get()
        await looked.get()
    assert "looking after the connections failed" in caplog.text
