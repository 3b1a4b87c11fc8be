"""Who may talk with this node by libp2p, who is given blocks, and whom it dials."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.formats.protobuf import bytes_field
from meshconsole.content.libp2p import service
from meshconsole.content.libp2p.kademlia import LAN, Found
from meshconsole.content.libp2p.multiaddr import Multiaddr
from meshconsole.content.libp2p.service import House, Libp2p, Settings
from meshconsole.core.errors import RemoteError
from tests.content.libp2p.dht_server import entry
from tests.content.libp2p.peers import FreeMeter, party
from tests.content.libp2p.test_dht import server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

LOCAL = Settings("127.0.0.1", 0)


@dataclass
class Store:
    """Stands for the content store."""

    may_read: dict[str, Callable[[str], bool]] = field(default_factory=dict)
    may_hear: dict[str, Callable[[bytes], bool] | None] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def attach(
        self,
        peer: str,
        send: Callable[[bytes], Awaitable[None]],
        may_read: Callable[[str], bool],
        *,
        may_hear: Callable[[bytes], bool] | None = None,
    ) -> None:
        del send
        self.may_read[peer], self.may_hear[peer] = may_read, may_hear
        self.news.set()

    def detach(self, peer: str) -> None:
        del self.may_read[peer]
        self.news.set()

    async def receive(self, peer: str, message: bytes) -> None:
        raise NotImplementedError

    async def until(self, peers: set[str]) -> None:
        while set(self.may_read) != peers:
            self.news.clear()
            await self.news.wait()


@dataclass
class Node:
    store: Store
    teammates: set[str]
    changed: asyncio.Event
    gives_strangers: bool = False
    libp2p: Libp2p = field(init=False)

    @property
    def peer(self) -> str:
        return str(self.libp2p.peer)

    @property
    def port(self) -> int:
        return self.libp2p.host.listening[0][1]

    @property
    def address(self) -> str:
        (address,) = self.libp2p.addresses()
        return str(address.with_peer(self.libp2p.peer))


@asynccontextmanager
async def node(
    settings: Settings = LOCAL, *teammates: str, gives_strangers: bool = False
) -> AsyncIterator[Node]:
    store, team = Store(), set(teammates)
    changed = asyncio.Event()
    house = House(
        teammates=lambda: team,
        admit=lambda _: "",
        gives=lambda: True,
        gives_strangers=lambda: made.gives_strangers,
        own_hosts=lambda: ("127.0.0.1",),
        changed=changed.set,
        wanted=lambda: [b"teams", b"other"],
        is_teams=lambda root: root == b"teams",
    )
    made = Node(store, team, changed, gives_strangers)
    made.libp2p = Libp2p(os.urandom(32), store, settings, house, FreeMeter())
    await made.libp2p.start()
    try:
        yield made
    finally:
        await made.libp2p.stop()


async def test_a_named_peer_is_dialled_and_let_in() -> None:
    async with node() as there:
        async with node(replace(LOCAL, peers=(there.address,))) as here:
            there.teammates.add(here.peer)
            await there.store.until({here.peer})
            await here.store.until({there.peer})
            assert here.store.may_read[there.peer]("any")
            (line,) = here.libp2p.peers()
            assert (line.connected, line.standing, line.address) == (
                True,
                "team",
                there.address.split("/p2p/")[0],
            )
        await there.store.until(set())


async def test_a_named_peer_that_is_away_is_shown_with_the_reason() -> None:
    async with node() as there:
        address = there.address
    async with node(replace(LOCAL, peers=(address,))) as here:
        while not here.libp2p.peers()[0].error:
            here.changed.clear()
            await here.changed.wait()
        assert "cannot be reached" in here.libp2p.peers()[0].error


async def test_a_peer_that_refuses_this_node_is_dialled_less_and_less() -> None:
    async with node() as there, node(replace(LOCAL, peers=(there.address,))) as here:
        while not here.libp2p.peers()[0].error:
            here.changed.clear()
            await here.changed.wait()
        (sought,) = here.libp2p._sought.values()
        assert sought.failures == 1
        assert there.libp2p.host.faults == {"a peer that is not of the team": 1}
        there.teammates.add(here.peer)
        sought.next_try = 0.0
        here.libp2p.recheck()
        await here.store.until({there.peer})
        assert sought.failures == 0


async def test_it_is_dialled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "FIRST_PAUSE_S", 0.01)
    async with node() as there, node(replace(LOCAL, peers=(there.address,))) as here:
        there.teammates.add(here.peer)
        await there.store.until({here.peer})
        there.libp2p.host.all()[0].close("Cut by the test.")
        await there.store.until(set())
        await there.store.until({here.peer})


async def test_a_stranger_is_refused_and_in_public_gets_nothing_of_the_teams() -> None:
    async with party("stranger") as stranger:
        async with node() as private:
            await stranger.host.dial(private.libp2p.addresses()[0])
            await stranger.until(count_gone=1)
            assert not private.libp2p.peers()
        for gives in (False, True):
            async with node(replace(LOCAL, public=True), gives_strangers=gives) as public:
                stranger.rules.team = {"/ipfs/bitswap/1.2.0": None}  # type: ignore[dict-item]
                await stranger.host.dial(public.libp2p.addresses()[0])
                await public.store.until({str(stranger.host.own.peer)})
                (may_read,) = public.store.may_read.values()
                assert may_read("any") == gives
                assert public.libp2p.peers()[0].standing == "stranger"


async def test_strangers_do_not_learn_what_is_fetched_of_the_teams() -> None:
    async with node(replace(LOCAL, public=True)) as public, node() as mate, party("stranger") as stranger:
        stranger.rules.team = {"/ipfs/bitswap/1.2.0": None}  # type: ignore[dict-item]
        public.teammates.add(mate.peer)
        mate.teammates.add(public.peer)
        for host in (stranger.host, mate.libp2p.host):
            await host.dial(public.libp2p.addresses()[0])
        await public.store.until({str(stranger.host.own.peer), mate.peer})
        may_hear = public.store.may_hear[str(stranger.host.own.peer)]
        assert may_hear is not None
        assert (may_hear(b"teams"), may_hear(b"other")) == (False, True)
        assert public.store.may_hear[mate.peer] is None
        assert public.libp2p._wanted() == [b"other"]  # servers of the DHT are strangers


async def test_strangers_are_let_go_when_they_are_given_nothing_any_more() -> None:
    settings = replace(LOCAL, public=True)
    async with (
        node(settings, gives_strangers=True) as public,
        node() as mate,
        party("stranger") as stranger,
    ):
        stranger.rules.team = {"/ipfs/bitswap/1.2.0": None}  # type: ignore[dict-item]
        public.teammates.add(mate.peer)
        mate.teammates.add(public.peer)
        for host in (stranger.host, mate.libp2p.host):
            await host.dial(public.libp2p.addresses()[0])
        both = {str(stranger.host.own.peer), mate.peer}
        await public.store.until(both)
        public.libp2p.recheck()
        assert set(public.store.may_read) == both
        public.gives_strangers = False
        public.libp2p.recheck()
        await public.store.until({mate.peer})
        assert [line.standing for line in public.libp2p.peers()] == ["team"]


async def test_peers_hear_of_new_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LOOK_S", 0.05)
    everywhere = replace(LOCAL, host="0.0.0.0")
    async with node(everywhere) as there, node() as here:
        there.teammates.add(here.peer)
        here.teammates.add(there.peer)
        connection = await here.libp2p.host.dial(there.libp2p.addresses()[0])
        await here.store.until({there.peer})
        there.libp2p._house = replace(there.libp2p._house, own_hosts=lambda: ("127.0.0.2",))
        while [str(each) for each in connection.identified.listen] != [f"/ip4/127.0.0.2/tcp/{there.port}"]:
            here.changed.clear()
            await here.changed.wait()


async def test_a_teammate_that_left_the_roster_is_let_go() -> None:
    async with node() as there, node(replace(LOCAL, peers=(there.address,))) as here:
        there.teammates.add(here.peer)
        await there.store.until({here.peer})
        there.teammates.clear()
        there.libp2p.recheck()
        await there.store.until(set())


async def test_the_dht_says_where_a_named_peer_is_and_its_servers_get_nothing() -> None:
    async with node() as there, server("dht") as dht:
        dht.answer = bytes_field(8, entry(Found(there.libp2p.peer, there.libp2p.addresses())))
        dht.party.rules.team = {**dht.party.rules.team, "/ipfs/bitswap/1.2.0": dht.serve}
        settings = replace(
            LOCAL, peers=(f"/p2p/{there.peer}",), dht=LAN, dht_servers=(str(dht.party.address),)
        )
        async with node(settings) as here:
            there.teammates.add(here.peer)
            await here.store.until({there.peer})
            assert here.libp2p.finding is not None
            assert here.libp2p.finding.line == "1 servers answered"


async def test_no_name_that_is_announced_is_followed() -> None:
    async with node() as there, node(LOCAL, there.peer) as here:
        there.teammates.add(here.peer)
        here.libp2p._found(Multiaddr.parse(f"/dns4/localhost/tcp/{there.port}/p2p/{there.peer}"))
        assert not here.libp2p._trying
        here.libp2p._found(Multiaddr.parse(there.address))
        await here.store.until({there.peer})


async def test_a_quiet_node_dials_nobody() -> None:
    async with node() as there, node(replace(LOCAL, peers=(there.address,), may_show=False)) as here:
        there.teammates.add(here.peer)
        # It answers all the same, and by then it has had its turn to dial.
        await there.libp2p.host.dial(here.libp2p.addresses()[0])
        await here.store.until({there.peer})
        assert [each.dialled for each in here.libp2p.host.all()] == [False]


@pytest.mark.parametrize("bad", ["/ip4/192.0.2.1/tcp/4001", "/ip4/192.0.2.1/tcp/x/p2p/nobody"])
def test_a_setting_that_is_no_address_is_named(bad: str) -> None:
    house = House(tuple, lambda _: "", lambda: True, lambda: False, tuple)
    with pytest.raises(RemoteError) as refused:
        Libp2p(bytes(32), Store(), replace(LOCAL, peers=(bad,)), house, FreeMeter())
    assert refused.value.sentence
