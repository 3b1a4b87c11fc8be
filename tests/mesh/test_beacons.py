"""Beacons: who shows itself is found, answered and looked for; silence is silence."""

from __future__ import annotations

import asyncio
import ipaddress
from random import Random
from typing import TYPE_CHECKING

import pytest

from meshconsole.mesh.addresses import Interface
from meshconsole.mesh.board import Board
from meshconsole.mesh.datagrams.messages import HEARD, Beacon, decode_datagram
from meshconsole.mesh.datagrams.port import DatagramPort
from meshconsole.mesh.datagrams.sealing import Sealer
from meshconsole.mesh.discovery import beacons
from meshconsole.mesh.discovery.beacons import ANSWER_S, ON_THE_LINK, SEEK_FOR_S, BeaconRung
from meshconsole.mesh.emcon import Emcon
from meshconsole.mesh.hearing import LATELY_S, Hearing
from tests.mesh.devices import identity
from tests.mesh.nodes import BEACON_PORT, SmallRoster, TestNode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from meshconsole.core.sections import EmconLevel
    from meshconsole.mesh.datagrams.messages import Way

ME, PEER, BOOT = "aa" * 32, "bb" * 32, b"bootboot"
KEY = b"k" * 32


class RecordingPort(DatagramPort):
    def __init__(self) -> None:
        super().__init__(lambda _datagram, _address: None, may_send=lambda: True, now=lambda: 0.0)
        self.sent: list[tuple[str, bytes]] = []

    def everywhere(self, make: Callable[[Way], bytes]) -> int:
        self.sent += [("everywhere", make(way)) for way in ("multicast-4", "broadcast")]
        return 2

    def to(self, address: str, datagram: bytes) -> bool:
        self.sent.append((address, datagram))
        return True


class Bench:
    """One rung with everything around it in the test's hand."""

    def __init__(self, level: EmconLevel = "open", keys: tuple[bytes, ...] = (KEY,)) -> None:
        self.now = 100.0
        self.port = RecordingPort()
        self.hearing = Hearing()
        self.emcon = Emcon(level)
        self.found: list[tuple[str, list[str]]] = []
        self.linked: set[str] = set()
        self.rung = BeaconRung(
            ME,
            BOOT,
            self.port,
            Sealer(keys),
            self.hearing,
            self.emcon,
            listen=lambda: ("10.0.0.1:7447", "[fd00::1]:7447"),
            on_the_link=True,
            found=lambda npub, addresses: self.found.append((npub, addresses)),
            is_linked=self.linked.__contains__,
            all_linked=lambda: bool(self.linked),
            lost_lately=lambda: False,
            now=lambda: self.now,
            random=Random(1),
        )

    def hears(
        self,
        way: Way = "broadcast",
        heard: bytes = b"",
        address: str = "10.0.0.2:7447",
        hosts: tuple[bytes, ...] = (bytes([10, 0, 0, 2]), bytes([127, 0, 0, 1]), b"short"),
    ) -> None:
        self.rung.received(Beacon(bytes.fromhex(PEER), BOOT, 7450, way, hosts, heard), address)


def test_who_shows_itself_is_found_where_it_came_from_and_answered_directly() -> None:
    bench = Bench()
    bench.hears(address="192.168.7.7:7447")
    assert bench.found == [(PEER, ["192.168.7.7:7450", "10.0.0.2:7450"])]
    ((to, datagram),) = bench.port.sent
    assert to == "192.168.7.7:7447"
    answer = decode_datagram(Sealer((KEY,)).open(datagram) or b"")
    assert isinstance(answer, Beacon)
    assert (answer.npub.hex(), answer.way, answer.port) == (ME, "answer", 7447)
    assert answer.heard == bytes.fromhex(PEER)[:HEARD]


def test_a_link_local_sender_is_found_at_the_addresses_it_names() -> None:
    bench = Bench()
    bench.hears(address="[fe80::2%eth0]:7447")
    assert bench.found == [(PEER, ["10.0.0.2:7450"])]


def test_and_at_its_own_where_it_says_that_it_answers_there() -> None:
    bench = Bench()
    bench.hears(address="[fe80::2%eth0]:7447", hosts=(ON_THE_LINK, bytes([10, 0, 0, 2])))
    bench.hears(address="[fe80::2%eth0]:7447", hosts=(ON_THE_LINK,))
    bench.hears(address="10.0.0.2:7447", hosts=(ON_THE_LINK,))
    local = "[fe80::2%eth0]:7450"
    assert bench.found == [(PEER, ["10.0.0.2:7450", local]), (PEER, [local]), (PEER, ["10.0.0.2:7450"])]
    answer = decode_datagram(Sealer((KEY,)).open(bench.port.sent[0][1]) or b"")
    assert isinstance(answer, Beacon)
    assert answer.hosts == (ON_THE_LINK, bytes([10, 0, 0, 1]), ipaddress.ip_address("fd00::1").packed)


def test_answers_are_not_answered_and_nobody_is_answered_twice_at_once() -> None:
    bench = Bench()
    bench.hears("answer")
    assert bench.port.sent == []
    for _ in range(5):
        bench.hears()
    assert len(bench.port.sent) == 1
    bench.now += ANSWER_S
    bench.hears()
    assert len(bench.port.sent) == 2


def test_who_is_linked_needs_no_finding_but_is_heard() -> None:
    bench = Bench()
    bench.linked.add(PEER)
    bench.hears("multicast-4", heard=bytes.fromhex(ME)[:HEARD])
    assert bench.found == []
    assert bench.port.sent == []
    assert bench.hearing.ways(PEER, bench.now) == ("multicast-4",)
    assert bench.hearing.hears_us(PEER, bench.now) is True


def test_whom_a_peer_hears_is_known_as_long_as_its_beacon_is_fresh() -> None:
    bench = Bench()
    bench.hears(heard=b"\xcc" * HEARD + b"\xdd" * HEARD)
    assert bench.hearing.hears(PEER, bench.now) == b"\xcc" * HEARD + b"\xdd" * HEARD
    bench.hears(heard=b"\xcc" * HEARD)
    assert bench.hearing.hears(PEER, bench.now) == b"\xcc" * HEARD
    bench.now += LATELY_S
    assert bench.hearing.hears(PEER, bench.now) == b""


def test_one_way_is_told_from_silence() -> None:
    bench = Bench()
    assert bench.hearing.hears_us(PEER, bench.now) is None
    bench.hears(heard=b"\xcc" * HEARD)
    assert bench.hearing.hears_us(PEER, bench.now) is False
    bench.now += LATELY_S
    assert bench.hearing.hears_us(PEER, bench.now) is None
    assert bench.hearing.ways(PEER, bench.now) == ()


def test_nobody_hears_itself() -> None:
    bench = Bench()
    bench.rung.received(Beacon(bytes.fromhex(ME), BOOT, 7447, "broadcast"), "10.0.0.1:7447")
    assert bench.found == []
    assert bench.hearing.lately(bench.now) == []


@pytest.mark.parametrize("level", ["quiet", "receive-only", "dark"])
async def test_in_silence_nothing_is_shown_and_nothing_answered(
    level: EmconLevel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beacons, "BURST_S", (0.0, 0.0))
    bench = Bench(level)
    bench.hears()
    running = asyncio.create_task(bench.rung.run())
    for _ in range(20):
        await asyncio.sleep(0)
    assert bench.found, "who is heard is still known"
    assert bench.port.sent == []
    bench.emcon.level = "open"
    bench.rung.refresh()
    async with asyncio.timeout(5):
        while not bench.port.sent:  # noqa: ASYNC110 - the rung has its own pace
            await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.wait([running])


async def test_without_a_key_of_the_team_a_beacon_names_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beacons, "BURST_S", (0.0,))
    bench = Bench(keys=())
    running = asyncio.create_task(bench.rung.run())
    async with asyncio.timeout(5):
        while not bench.port.sent:  # noqa: ASYNC110 - the rung has its own pace
            await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.wait([running])
    for _, datagram in bench.port.sent:
        assert len(datagram) == 14
        assert bytes.fromhex(ME)[:4] not in datagram


LOOPBACK = Interface("lo", 1, (("127.0.0.1", "127.255.255.255"),), has_ipv6=False, is_loopback=True)


async def test_real_sockets_send_by_every_way_and_keep_silent_when_told() -> None:
    heard: asyncio.Queue[tuple[bytes, str]] = asyncio.Queue()
    may_send = True
    ports = [
        DatagramPort(lambda d, a: heard.put_nowait((d, a)), may_send=lambda: may_send, now=lambda: 0.0)
        for _ in range(2)
    ]
    try:
        for port in ports:
            port.interfaces = (LOOPBACK,)
            port.open("127.0.0.1", 0, BEACON_PORT)
            assert port.trouble == ""
        assert ports[0].everywhere(lambda way: way.encode()) == 2
        async with asyncio.timeout(5):
            got = [await heard.get() for _ in range(4)]
        assert sorted(datagram for datagram, _ in got) == [b"broadcast"] * 2 + [b"multicast-4"] * 2
        (sender,) = {address for _, address in got}
        assert ports[1].to(sender, b"answer")
        async with asyncio.timeout(5):
            assert (await heard.get())[0] == b"answer"
        may_send = False
        assert ports[0].everywhere(lambda way: way.encode()) == 0
        assert not ports[0].to(sender, b"answer")
    finally:
        for port in ports:
            port.close()


async def test_a_flood_of_datagrams_is_cut_off() -> None:
    heard: list[bytes] = []
    port = DatagramPort(lambda d, _a: heard.append(d), may_send=lambda: True, now=lambda: 0.0)
    port.interfaces = (LOOPBACK,)
    port.open("127.0.0.1", 0, BEACON_PORT)
    try:
        port._budget.level = port._budget.burst = 10.0
        port._budget.updated = 0.0
        for _ in range(50):
            port.everywhere(lambda _way: b"x")
        async with asyncio.timeout(5):
            while port.dropped < 20:  # noqa: ASYNC110 - the sockets call back
                await asyncio.sleep(0.001)
        assert len(heard) <= 10
    finally:
        port.close()


async def test_nodes_find_each_other_by_beacons_alone_and_part_in_silence(tmp_path: Path) -> None:
    roster = SmallRoster.of("alice", "bob")
    alice, bob = (TestNode(name, roster, tmp_path, beacons=True) for name in ("alice", "bob"))
    async with alice, bob:
        await alice.until_linked(bob)
        await bob.until_linked(alice)
        before = bob.mesh.status()[0]
        assert set(before.heard_by) & {"broadcast", "multicast-4", "answer"}

        def came_by_a_beacon() -> bool:
            attempts = [one for node in (alice, bob) for one in node.mesh.status()[0].attempts]
            return ("beacon", "linked") in {(one.source, one.outcome) for one in attempts}

        await alice.until(came_by_a_beacon)  # a link is up before the attempt that made it is written down
        alice.mesh.set_emcon("receive-only")
        await bob.until(lambda: not bob.is_linked(alice) and bool(bob.downs()))
        assert bob.downs()[-1].reason == "This node keeps radio silence."
        assert alice.mesh.discovery_lines()[0].startswith("emcon: receive-only")
        alice.mesh.set_emcon("open")
        await alice.until_linked(bob)


def test_a_beacon_names_devices_of_the_team_by_the_beginnings_of_their_keys() -> None:
    marks = {bytes.fromhex(PEER)[:HEARD]: PEER}
    assert Board._named(bytes.fromhex(PEER)[:HEARD] + b"\xcc" * HEARD + b"\x01", marks) == (PEER,)


async def test_who_was_lost_lately_is_sought_for_a_while(tmp_path: Path) -> None:
    roster, linked, now = SmallRoster.of("alice", "bob"), set[str](), 1000.0
    async with TestNode("alice", roster, tmp_path) as alice:
        nearby, bob = alice.mesh._nearby, identity("bob").npub
        nearby._is_linked, nearby._now = linked.__contains__, lambda: now
        assert not nearby._lost_lately(), "it was never there"
        linked.add(bob)
        assert not nearby._lost_lately()
        linked.clear()
        now += SEEK_FOR_S - 1
        assert nearby._lost_lately()
        now += 1
        assert not nearby._lost_lately()
