"""The DHT's client against servers of Kubo that form a private network on this machine."""

from __future__ import annotations

import asyncio
import hashlib
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.formats.cid import Cid
from meshconsole.content.libp2p.dht import Dht
from meshconsole.content.libp2p.kademlia import LAN
from meshconsole.content.libp2p.keys import PeerId
from meshconsole.content.libp2p.multiaddr import Multiaddr, tcp_address
from scripts.machine import Machine
from tests.content.libp2p.peers import party
from tests.interop.kubo_node import Kubo, needs_kubo
from tests.interop.test_libp2p import tcp_address_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from meshconsole.content.libp2p.connection import Standing
    from tests.homes import Homes

pytestmark = [*needs_kubo, pytest.mark.slow]


@pytest.fixture
def kubos(tmp_path: Path) -> Iterator[list[Kubo]]:
    """Three, each connected to the first."""
    made = [Kubo(tmp_path / name, "unixfs-v1-2025") for name in ("one", "two", "three")]
    with ExitStack() as stack:
        for kubo in made:
            kubo.run("config", "Routing.Type", "dhtserver")
            kubo.run("config", "--json", "Routing.LoopbackAddressesOnLanDHT", "true")
            stack.enter_context(kubo.daemon())
        for kubo in made[1:]:
            kubo.run("swarm", "connect", tcp_address_of(made[0]))
        yield made


def peer_of(kubo: Kubo) -> str:
    return str(Multiaddr.parse(tcp_address_of(kubo)).peer)


def stranger(_: PeerId, dialled: bool) -> Standing | None:
    return "stranger" if dialled else None


async def test_what_is_provided_is_found_both_ways(kubos: list[Kubo]) -> None:
    one, two, three = kubos
    root = two.say("add", "--quieter", "--pin=false", data=b"kept by the second")
    await asyncio.to_thread(two.run, "routing", "provide", root)
    multihash = Cid.parse(root).multihash
    async with party("here") as here:
        here.rules.judge = stranger
        dht = Dht(here.host, LAN, [Multiaddr.parse(tcp_address_of(one))])
        providers = await dht.providers(multihash)
        assert peer_of(two) in {str(each.peer) for each in providers}
        assert any(each.addresses for each in providers)
        found = await dht.find_peer(PeerId.parse(peer_of(three)))
        assert tcp_address_of(three).startswith(str(found[0]))
        # A record of ours, at an address that only we have a use for.
        meeting = b"\x12\x20" + hashlib.sha256(b"a meeting place").digest()
        mesh = tcp_address("127.0.0.1", 7447, ("ws", ""))
        assert await dht.provide(meeting, (mesh,)) >= 1
        (told,) = await dht.providers(meeting)
        assert told.peer == here.host.own.peer
        assert mesh in told.addresses
        assert not here.host.connections or all(each.is_closed for each in here.host.all())
    said = await asyncio.to_thread(
        three.say, "routing", "findprovs", "--num-providers=1", str(Cid(1, 0x55, 0x12, meeting[2:]))
    )
    assert said.splitlines()[:1] == [str(here.host.own.peer)]


def test_teammates_find_each_other_through_it_alone(tmp_path: Path, init: Homes) -> None:
    kubo = Kubo(tmp_path / "kubo", "unixfs-v1-2025")
    kubo.run("config", "Routing.Type", "dhtserver")
    kubo.run("config", "--json", "Routing.LoopbackAddressesOnLanDHT", "true")
    others = ("mdns", "beacons", "gossip", "cached_peers", "invite")
    blind = tuple(f"discovery.{rung}=false" for rung in others)
    with kubo.daemon(), ExitStack() as stack:
        dht = ("discovery.dht=true", "p2p.dht=lan", f"p2p.dht_servers={tcp_address_of(kubo)}")
        alpha, bravo = Machine(tmp_path, "alpha", None), Machine(tmp_path, "bravo", None)
        stack.callback(alpha.kill)
        stack.callback(bravo.kill)
        init(alpha, "--team", "Falcon")
        init(bravo)
        for node in (alpha, bravo):
            node.start()
        bravo.command("team", "join", alpha.json("team", "invite")["text"])
        for node in (alpha, bravo):  # what they know of each other is in memory, and goes with it
            node.kill(signal.SIGTERM)
            node.start(*blind, *dht)
        for line in bravo.json("status")["discovery"]:
            assert not line.startswith("dht") or "off, as privacy.allow_public_discovery" in line
        for node in (alpha, bravo):
            node.command("config", "set", "privacy.allow_public_discovery=true")
        bravo.wait("a link", lambda status: any(peer["links"] for peer in status["peers"]))
        tried = [
            attempt for node in (alpha, bravo) for attempt in node.json("status")["peers"][0]["attempts"]
        ]
        assert {attempt["source"] for attempt in tried if attempt["outcome"] == "linked"} == {"dht"}
