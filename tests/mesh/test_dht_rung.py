"""The DHT rung: devices find each other through a server that learns nothing of their team."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.content.libp2p.dht import Dht
from meshconsole.content.libp2p.kademlia import Found
from meshconsole.content.libp2p.multiaddr import tcp_address
from meshconsole.core.config import Config
from meshconsole.core.sections import P2pSection
from meshconsole.mesh.discovery import dht as dht_module
from meshconsole.mesh.discovery.dht import DhtRung
from meshconsole.mesh.discovery.rendezvous import (
    DAY_S,
    days_to_ask,
    days_to_tell,
    place,
    record_of,
    short_lived_key,
    teammates_among,
)
from meshconsole.mesh.discovery.rungs import Rungs
from meshconsole.mesh.ladder import Ladder
from meshconsole.mesh.nursery import Nursery
from tests.content.libp2p.dht_server import DhtServer, dht_server
from tests.content.libp2p.peers import FreeMeter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY, OTHER = b"k" * 32, b"o" * 32
ALICE, BOB = "aa" * 32, "bb" * 32
NOON = 20_000 * DAY_S + 43_200.0


def test_the_place_is_another_one_each_day_and_in_each_epoch() -> None:
    places = {place(key, day) for key in (KEY, OTHER) for day in range(5)}
    assert len(places) == 10
    assert all(len(each) == 34 for each in places)


def test_a_device_has_another_name_each_day() -> None:
    names = {short_lived_key(KEY, day, npub).peer for day in range(5) for npub in (ALICE, BOB)}
    assert len(names) == 10


@given(st.floats(0, 4e9), st.floats(0, 3600))
def test_clocks_that_differ_meet_all_the_same(now: float, behind: float) -> None:
    assert set(days_to_tell(now)) & set(days_to_ask(now + behind))
    assert set(days_to_tell(now + behind)) & set(days_to_ask(now))


def test_records_of_others_are_passed_over() -> None:
    record = record_of(["192.0.2.1:7447", "[2001:db8::1]:7447"])
    bob = Found(short_lived_key(KEY, 1, BOB).peer, record)
    stranger = Found(short_lived_key(OTHER, 1, BOB).peer, record)
    tcp_only = Found(short_lived_key(KEY, 1, ALICE).peer, (tcp_address("192.0.2.1", 1),))
    found = teammates_among([stranger, bob, tcp_only], KEY, 1, [ALICE, BOB])
    assert found == {BOB: ("192.0.2.1:7447", "[2001:db8::1]:7447"), ALICE: ()}
    assert not teammates_among([bob], KEY, 2, [ALICE, BOB])


@dataclass
class Member:
    """A device, as far as the rung sees it."""

    rung: DhtRung
    ladder: Ladder
    settings: list[P2pSection | None]
    quiet: list[bool]
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def found(self) -> list[tuple[str, str, str]]:
        return [(c.source, c.address, c.npub) for c in self.ladder.candidates()]


class Keys:
    """Stands for a team that this device holds the keys of."""

    def __init__(self, *keys: bytes) -> None:
        self.team = self
        self._keys = keys

    def datagram_keys(self) -> tuple[bytes, ...]:
        return self._keys


def member(npub: str, server: DhtServer, address: str, *keys: bytes, missing: tuple[str, ...] = ()) -> Member:
    settings: list[P2pSection | None] = [P2pSection(dht="lan", dht_servers=(str(server.party.address),))]
    ladder, quiet, news = Ladder(Random(1)), [False], asyncio.Event()
    rung = DhtRung(
        npub,
        lambda: settings[0],
        cast(Any, Keys(*(keys or (KEY,)))),
        ladder,
        FreeMeter(),
        listen=lambda: (address, "1.1.1.1:7447"),
        missing=lambda: list(missing),
        may_ask=lambda: not quiet[0],
        changed=news.set,
        clock=lambda: NOON,
        now=asyncio.get_running_loop().time,
    )
    return Member(rung, ladder, settings, quiet, news)


@asynccontextmanager
async def running(*members: Member) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for each in members:
            task = asyncio.create_task(each.rung.run())
            stack.push_async_callback(asyncio.wait, [task])
            stack.callback(task.cancel)
        yield


async def test_a_teammate_is_found_with_its_private_addresses() -> None:
    async with dht_server() as server:
        alice = member(ALICE, server, "192.168.1.5:7447")
        await alice.rung._round()
        bob = member(BOB, server, "192.168.1.6:7447", missing=(ALICE,))
        async with running(bob):
            await bob.news.wait()
        assert bob.found() == [("dht", "192.168.1.5:7447", ALICE)]
        assert bob.ladder.due(asyncio.get_running_loop().time())


async def test_a_teammate_who_has_not_heard_of_the_new_epoch_is_found() -> None:
    async with dht_server() as server:
        await member(ALICE, server, "192.168.1.5:7447", OTHER).rung._round()
        bob = member(BOB, server, "192.168.1.6:7447", KEY, OTHER, missing=(ALICE,))
        await bob.rung._round()
        assert bob.found() == [("dht", "192.168.1.5:7447", ALICE)]


async def test_strangers_who_know_the_place_put_nothing_in() -> None:
    async with dht_server() as server:
        await member("cc" * 32, server, "192.168.1.66:7447").rung._round()
        bob = member(BOB, server, "192.168.1.6:7447", missing=(ALICE,))
        await bob.rung._round()
        assert not bob.found()


async def test_the_server_sees_no_name_twice() -> None:
    async with dht_server() as server:
        for key in (KEY, OTHER):
            await member(ALICE, server, "192.168.1.5:7447", key).rung._round()
        records = [found for kept in server.records.values() for found in kept.values()]
        assert len({each.peer for each in records}) == len(records) == 2
        assert all(str(each.addresses) and ALICE not in str(each) for each in records)
        assert {each.identified.agent for each in server.party.up} <= {""}


async def test_what_was_told_is_not_told_again_soon() -> None:
    async with dht_server() as server:
        alice = member(ALICE, server, "192.168.1.5:7447")
        await alice.rung._round()
        asked = server.asked
        await alice.rung._round()
        assert server.asked == asked
        assert "own record with 1 servers" in alice.rung.line


async def test_what_no_server_took_is_told_again_in_the_next_round(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> bool:
        return False

    async with dht_server() as server:
        alice = member(ALICE, server, "192.168.1.5:7447")
        with monkeypatch.context() as patched:
            patched.setattr(Dht, "_tell", fails)
            await alice.rung._round()
        assert "own record with 0 servers" in alice.rung.line
        await alice.rung._round()
        assert "own record with 1 servers" in alice.rung.line
        assert any(server.records.values())


async def test_a_node_without_addresses_asks_no_server_to_take_them() -> None:
    async with dht_server() as server:
        alice = member(ALICE, server, "8.8.8.8:7447")
        for _ in range(2):
            await alice.rung._round()
        assert not server.asked


@pytest.mark.parametrize("why", ["emcon", "not allowed", "no servers", "no key"])
async def test_nothing_is_sent_where_it_may_not_be(why: str) -> None:
    async with dht_server() as server:
        alice = member(ALICE, server, "192.168.1.5:7447")
        alice.quiet[0] = why == "emcon"
        if why == "not allowed":
            alice.settings[0] = None
        if why == "no servers":
            alice.settings[0] = P2pSection(dht="lan")
        if why == "no key":
            alice.rung._membership = cast(Any, Keys())
        async with running(alice):
            alice.rung.refresh()
            for _ in range(20):
                await asyncio.sleep(0)
        assert not server.asked
        assert not server.party.gone
        assert alice.rung.line.split(",")[0].split(" ")[0] in ("silent", "off", "waits", "this")


async def test_silence_breaks_off_what_is_under_way() -> None:
    async with dht_server() as server:
        begun = asyncio.Event()

        async def never(stream: object) -> None:
            del stream
            begun.set()
            await asyncio.Event().wait()

        server.party.rules.team = dict.fromkeys(server.party.rules.team, never)
        alice = member(ALICE, server, "192.168.1.5:7447")
        async with running(alice):
            await begun.wait()
            alice.quiet[0] = True
            alice.rung.refresh()
            await server.party.until(count_gone=1)
        assert alice.rung.line.startswith("silent")


async def test_a_dht_that_does_not_answer_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dht_module, "RETRY_S", 0.01)
    async with dht_server() as server:
        alice = member(ALICE, server, "192.168.1.5:7447")
    assert await alice.rung._one_round() == 0.01
    assert "No server of the DHT answers" in alice.rung.line


async def test_the_rung_is_switched_on_and_off_while_the_node_runs() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    class Rung:
        async def run(self) -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        def refresh(self) -> None:
            return None

    nothing = cast(Any, None)
    rungs = Rungs(
        Config(), nothing, Ladder(Random(1)), None, nothing, nothing, changed=lambda: None, now=lambda: 0.0
    )
    rungs._mdns = None
    rungs.make_dht = lambda: cast(Any, Rung())
    rungs.allow_dht(None, on=False)
    async with asyncio.TaskGroup() as group:
        nursery = Nursery(group)
        rungs.start(nursery)
        assert rungs.dht is None
        for _ in range(2):
            rungs.allow_dht(None, on=True)
            await began.wait()
            rungs.allow_dht(None, on=False)
            await ended.wait()
            assert rungs.dht is None
            began.clear()
            ended.clear()
        rungs.allow_dht(None, on=True)
        await began.wait()
        nursery.close()
    assert ended.is_set()
