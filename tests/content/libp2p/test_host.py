from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress

import pytest

from meshconsole.content.libp2p import connection as connections
from meshconsole.content.libp2p.host import MAX_OF_ONE_PEER, PING, Bounds
from meshconsole.content.libp2p.identify import IDENTIFY
from meshconsole.content.libp2p.multiaddr import Multiaddr, tcp_address
from meshconsole.content.libp2p.multistream import HEADER, encode_lines
from meshconsole.core.errors import Refused, RemoteError, Unavailable
from tests.content.libp2p.peers import key, party


async def test_two_hosts_know_each_other_and_talk() -> None:
    async with party("a") as a, party("b") as b:
        connection = await a.host.dial(b.address)
        await a.until(1)
        await b.until(1)
        assert connection.peer == b.host.own.peer
        assert b.up[0].peer == a.host.own.peer
        assert connection.identified.protocols == {IDENTIFY, "/ipfs/id/push/1.0.0", PING}
        assert connection.identified.agent.startswith("meshconsole/")
        assert await a.host.ping(b.host.own.peer) > 0
        assert await a.host.dial(b.address) is connection


async def test_who_listens_is_told_of_new_addresses() -> None:
    async with party("a") as a, party("b") as b:
        await a.host.dial(b.address)
        await a.until(1)
        await b.until(1)
        elsewhere = tcp_address("192.0.2.9", 4001)
        b.host._addresses = lambda: (elsewhere,)
        b.host.tell_all()
        await a.until(2)
        assert a.up[1].identified.listen == (elsewhere,)


async def test_a_stranger_is_refused_once_it_is_known() -> None:
    async with party("a") as a, party("b") as b:
        b.standing[a.host.own.peer] = None
        connection = await a.host.dial(b.address)
        await a.until(count_gone=1)
        assert connection.is_closed
        assert not b.host.connections
        assert b.host.faults == {"a peer that is not of the team": 1}


async def test_somebody_else_answers_there() -> None:
    async with party("a") as a, party("b") as b:
        with pytest.raises(RemoteError, match="answers there"):
            await a.host.dial(b.address, key("c").peer)
        assert not a.host.connections


async def test_nobody_answers() -> None:
    async with party("a") as a:
        async with party("b") as b:
            address = b.address
        with pytest.raises(Unavailable, match="cannot be reached"):
            await a.host.dial(address)


async def test_a_node_that_dials_itself_notices() -> None:
    async with party("a") as a:
        with pytest.raises(RemoteError, match="itself"):
            await a.host.dial(a.address, key("b").peer)


async def test_places_are_counted() -> None:
    async with AsyncExitStack() as stack:
        b = await stack.enter_async_context(party("b", Bounds(max_peers=3, per_minute=0)))
        guests = [await stack.enter_async_context(party()) for _ in range(5)]
        for guest in guests[:2]:
            b.standing[guest.host.own.peer] = "stranger"
        first = await guests[0].host.dial(b.address)
        await b.until(1)
        second = await guests[1].host.dial(b.address)
        await guests[1].until(count_gone=1)
        assert second.is_closed
        for guest in guests[2:]:
            await guest.host.dial(b.address)
        await b.until(3)
        await guests[4].until(count_gone=1)
        assert not first.is_closed
        assert len(b.host.all()) == 3
        assert b.host.faults == {
            "all places for strangers are taken": 1,
            "all places for peers are taken": 1,
        }


async def test_one_peer_has_two_connections_at_most() -> None:
    async with party("b", Bounds(per_minute=0)) as b, AsyncExitStack() as stack:
        twins = [await stack.enter_async_context(party("twin")) for _ in range(MAX_OF_ONE_PEER + 1)]
        for twin in twins:
            await twin.host.dial(b.address)
        await twins[-1].until(count_gone=1)
        assert len(b.host.all()) == MAX_OF_ONE_PEER


async def test_who_may_not_talk_any_more_is_let_go() -> None:
    async with party("a") as a, party("b") as b:
        await a.host.dial(b.address)
        await b.until(1)
        b.standing[a.host.own.peer] = None
        b.host.recheck()
        await b.until(count_gone=1)
        await a.until(count_gone=1)
        assert "may not talk" in b.gone[0].reason


async def test_an_idle_stranger_is_let_go_and_a_teammate_stays() -> None:
    async with party("a") as a, party("b", Bounds(idle_s=-1.0, per_minute=0)) as b, party("c") as c:
        b.standing[a.host.own.peer] = "stranger"
        for guest in (a, c):
            await guest.host.dial(b.address)
            await guest.until(1)
        await b.until(2)
        for guest in (a, c):  # by then nothing else is under way
            await guest.host.ping(b.host.own.peer)
        for connection in b.host.all():
            for stream in list(connection.session._streams.values()):
                connection.session.reset(stream)
        b.host.let_go()
        await b.until(count_gone=1)
        assert [each.peer for each in b.host.all()] == [c.host.own.peer]


async def test_a_silent_peer_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "KEEPALIVE_S", 0.05)
    async with party("a") as a, party("b") as b:
        connection = await a.host.dial(b.address)
        await a.until(1)
        await b.until(1)
        (theirs,) = b.host.all()
        theirs.session.receive = _ignore  # type: ignore[method-assign]
        theirs.session.outbox = lambda: b""  # type: ignore[method-assign]
        await a.until(count_gone=1)
        assert "silent" in connection.reason


def _ignore(data: bytes) -> None:
    del data


async def test_a_protocol_that_is_not_spoken() -> None:
    async with party("a") as a, party("b") as b:
        connection = await a.host.dial(b.address)
        with pytest.raises(RemoteError, match="does not speak /nothing"):
            await connection.open(("/nothing",))
        assert await a.host.ping(b.host.own.peer) > 0


async def test_garbage_and_broken_handshakes_leave_nothing_behind() -> None:
    hello = encode_lines(HEADER, "/noise")
    async with party("b") as b:
        host, port = b.host.listening[0]
        garbage = [b"\0" * 300, b"GET / HTTP/1.1\r\n\r\n", encode_lines(HEADER, "/tls/1.0.0")]
        for said in (*(hello[:n] for n in range(len(hello))), *garbage, hello + b"\xff\xff", hello + b"\0\0"):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(said)
            writer.write_eof()
            while await reader.read(4096):
                continue
            writer.close()
        assert not b.host.connections
        assert b.host._door._under_way.total() == 0
        assert b.host.faults["handshake broken off"] >= len(hello)
        async with party("a") as a:
            await a.host.dial(b.address)


async def test_whoever_says_nothing_is_let_go() -> None:
    async with party("b", Bounds(handshake_s=0.05, per_minute=0)) as b:
        reader, writer = await asyncio.open_connection(*b.host.listening[0])
        assert await _reset(reader)
        writer.close()
        assert b.host.faults == {"handshake takes too long": 1}


async def test_a_stop_waits_for_no_handshake() -> None:
    async with party("b", Bounds(handshake_s=60.0, per_minute=0)) as b:
        reader, writer = await asyncio.open_connection(*b.host.listening[0])
        writer.write(encode_lines(HEADER))
        await reader.read(1)  # it has begun
        async with asyncio.timeout(10):
            await b.host.stop()
            with suppress(ConnectionError):
                await reader.read()
        writer.close()


async def _reset(reader: asyncio.StreamReader) -> bool:
    try:
        return not await reader.read()
    except ConnectionError:
        return True


async def test_an_address_that_cannot_be_dialled() -> None:
    async with party("a") as a:
        with pytest.raises(Refused, match="dial"):
            await a.host.dial(Multiaddr.parse("/ip4/127.0.0.1/udp/1/quic-v1"))


async def test_the_node_may_take_no_more_connections() -> None:
    async with party("a") as a, party("b") as b:
        b.rules.admit = lambda _: "all 64 connections are in use"
        with pytest.raises(Unavailable):
            await a.host.dial(b.address)
        assert b.host.faults == {"all 64 connections are in use": 1}
