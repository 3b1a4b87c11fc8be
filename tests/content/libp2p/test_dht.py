"""Servers of a DHT that answer as the test says. Real ones are in tests/interop."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.formats.protobuf import bytes_field
from meshconsole.content.libp2p import dht as dht_module
from meshconsole.content.libp2p.dht import Dht
from meshconsole.content.libp2p.finding import Finding
from meshconsole.content.libp2p.kademlia import LAN, PUBLIC, Found
from meshconsole.content.libp2p.multiaddr import Multiaddr, tcp_address
from meshconsole.core.errors import RemoteError, Unavailable
from tests.content.libp2p.dht_server import entry
from tests.content.libp2p.peers import Party, key, party

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from meshconsole.content.libp2p.connection import Stream

KEY = b"\x12\x20" + bytes(32)


@dataclass
class Server:
    party: Party
    answer: bytes = b""
    asked: list[bytes] = field(default_factory=list)
    is_slow: bool = False

    @property
    def found(self) -> Found:
        return Found(self.party.host.own.peer, (tcp_address(*self.party.host.listening[0]),))

    async def serve(self, stream: Stream) -> None:
        self.asked.append(await stream.read_message(1 << 16))
        if self.is_slow:
            await asyncio.Event().wait()
        await stream.write_message(self.answer)


@asynccontextmanager
async def server(name: str, protocol: str = LAN) -> AsyncIterator[Server]:
    async with party(name) as one:
        made = Server(one)
        one.rules.team = {protocol: made.serve}
        yield made


async def test_a_lookup_goes_on_to_who_is_named() -> None:
    there = Found(key("provider").peer, (tcp_address("192.0.2.1", 4001),))
    async with party("here") as here, server("a") as a, server("b") as b:
        a.answer = bytes_field(8, entry(b.found))
        b.answer = bytes_field(9, entry(there))
        dht = Dht(here.host, LAN, [a.party.address])
        assert await dht.providers(KEY) == (there,)
        assert (len(a.asked), len(b.asked), dht.last_asked) == (1, 1, 2)
        await here.until(count_gone=2)
        assert await dht.find_peer(key("provider").peer) == ()


async def test_garbage_and_silence_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dht_module, "ANSWER_S", 0.1)
    async with party("here") as here, server("a") as a, server("b") as b, server("c") as c:
        a.answer = b"\xff\xff\xff"
        b.is_slow = True
        servers = [a.party.address, b.party.address]
        with pytest.raises(Unavailable, match="No server"):
            await Dht(here.host, LAN, servers).providers(KEY)
        assert await Dht(here.host, LAN, [*servers, c.party.address]).providers(KEY) == ()


async def test_the_public_network_leads_to_no_private_address() -> None:
    async with party("here") as here, server("a", PUBLIC) as a, server("b", PUBLIC) as b:
        a.answer = bytes_field(8, entry(b.found))
        await Dht(here.host, PUBLIC, [a.party.address]).providers(KEY)
        assert a.asked
        assert not b.asked


async def test_nobody_is_told_addresses_that_lead_into_this_network() -> None:
    """Servers of the public network, and the team's of a private one."""
    peer, other = key("peer").peer, key("other").peer
    told = [
        "/ip4/127.0.0.1/tcp/6379",
        "/dns4/localhost/tcp/22",
        "/dnsaddr/example.org",
        "/ip6/64:ff9b::7f00:1/tcp/80",
        f"/ip4/9.9.9.9/tcp/4001/p2p/{other}/p2p-circuit",
        f"/ip4/9.9.9.9/tcp/4001/p2p/{other}",
        "/ip4/192.168.1.1/tcp/80",
    ]
    found = Found(peer, tuple(map(Multiaddr.parse, told)))
    public = Found(peer, (Multiaddr.parse("/ip4/9.9.9.9/tcp/4001"),))
    both = Found(peer, (*found.addresses[-7:-1], *public.addresses))
    async with party("here") as here, server("a", PUBLIC) as a:
        a.answer = bytes_field(8, entry(both)) + bytes_field(9, entry(both))
        dht = Dht(here.host, PUBLIC, [a.party.address])
        assert await dht.providers(KEY) == (public,)
        assert await dht.find_peer(peer) == public.addresses
    async with party("here") as here, server("b", LAN) as b:
        b.answer = bytes_field(9, entry(found))
        (provider,) = await Dht(here.host, LAN, [b.party.address]).providers(KEY)
        assert [str(each) for each in provider.addresses] == [told[0], told[-1]]


async def test_a_server_needs_a_peer_id() -> None:
    async with party("here") as here:
        with pytest.raises(RemoteError, match="/p2p/"):
            Dht(here.host, LAN, [tcp_address("192.0.2.1", 4001)])


async def test_who_is_sought_and_what_is_wanted_are_asked_for_once() -> None:
    lost = Found(key("lost").peer, (tcp_address("192.0.2.1", 1),))
    told: list[Multiaddr] = []
    async with party("here") as here, server("a") as a:
        a.answer = bytes_field(8, entry(lost)) + bytes_field(9, entry(lost))
        dht = Dht(here.host, LAN, [a.party.address])
        finding = Finding(dht, lambda: [lost.peer], lambda: [KEY], told.append, told.append)
        for _ in range(2):
            await finding._look()
        assert told == [lost.addresses[0].with_peer(lost.peer)] * 2
        assert len(a.asked) == 2
        assert finding.line == "1 servers answered"
