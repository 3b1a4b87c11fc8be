"""Blocks that go through nodes which did not want them: rules one by one, nets under a clock of their own,
then whole content stores in a line.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshconsole.content.asking import MAX_HOPS, PATIENCE_S
from meshconsole.content.bitswap import Message, Payload, Want, decode_message, encode_message
from meshconsole.content.block import Block
from meshconsole.content.cid import RAW, Cid
from meshconsole.content.passing import DIRECT_PER_S, FLOODS_AT_ONCE, MAX_PASSED, Passing, Reach
from meshconsole.content.serving import Serving
from meshconsole.content.transit import Transit
from meshconsole.content.wants import AT_ONCE, SCOUT_S, WIDEN_S, Wants
from meshconsole.core.errors import Unavailable
from tests.content.conftest import World, read_whole
from tests.content.deterministic import deterministic_bytes
from tests.content.wire import Wire, wired

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    from meshconsole.content.service import Content

GROUP = b"group"
BLOCKS = [Block.of(RAW, f"block {i}".encode()) for i in range(30)]
A, B, C = BLOCKS[:3]


def passing(*peers: str) -> Passing:
    machine = Passing(Wants())
    for peer in peers:
        machine.attach(peer)
        machine.wants.attach(peer, 0.0, passes=True)
    return machine


def sent(machine: Passing) -> dict[str, list[tuple[Cid, bool, int]]]:
    """Wants that go out: CID, whether the block itself, hops."""
    out: dict[str, list[tuple[Cid, bool, int]]] = {}
    for peer, message in machine.wants.outbox():
        out.setdefault(peer, []).extend((want.cid, want.block, want.hops) for want in message.wants)
    return {peer: wants for peer, wants in out.items() if wants}


def test_a_want_goes_to_all_but_who_asked_and_says_how_far_it_has_come() -> None:
    machine = passing("p", "q", "r")
    machine.wants.attach("stranger", 0.0)
    assert machine.ask("p", [Want(A.cid, False, hops=2)], 0.0) == {}
    assert sent(machine) == {"q": [(A.cid, False, 3)], "r": [(A.cid, False, 3)]}


def test_who_asked_is_told_when_it_is_in_reach_and_when_not_any_more() -> None:
    machine = passing("p", "q", "r")
    machine.ask("p", [Want(A.cid, False)], 0.0)
    assert machine.news() == []
    machine.wants.presences("q", [], [A.cid], 0.0)
    assert machine.news() == []
    machine.wants.presences("r", [], [], 0.0, [(A.cid, 3)])
    assert machine.news() == [Reach("p", A.cid, 4)]
    machine.wants.presences("q", [A.cid], [], 0.0)
    assert machine.news() == [Reach("p", A.cid, 1)]
    machine.wants.detach("q", 0.0)
    machine.wants.presences("r", [], [A.cid], 0.0)
    assert machine.news() == [Reach("p", A.cid, None)]


def test_the_block_is_asked_for_only_when_it_is_wanted_and_of_the_nearest() -> None:
    machine = passing("p", "q", "r")
    machine.ask("p", [Want(A.cid, False)], 0.0)
    machine.wants.presences("q", [], [], 0.0, [(A.cid, 1)])
    machine.wants.presences("r", [A.cid], [], 0.0)
    sent(machine)
    assert machine.ask("p", [Want(A.cid, True)], 0.0) == {A.cid.multihash: 1}
    assert sent(machine) == {"r": [(A.cid, True, 1)]}
    assert machine.wants.blocks("r", [A], 0.0) == [A]
    assert machine.came(A.cid.multihash)
    assert not machine.came(A.cid.multihash)


def test_a_second_block_is_asked_for_at_once_where_the_first_came_from() -> None:
    machine = passing("p", "q", "r")
    machine.ask("p", [Want(A.cid, False)], 0.0)
    machine.wants.presences("q", [A.cid], [], 0.0)
    assert machine.news() == [Reach("p", A.cid, 1)]
    sent(machine)
    assert machine.ask("p", [Want(B.cid, True)], 0.0) == {B.cid.multihash: 1}
    assert sent(machine) == {"q": [(B.cid, True, 1)]}
    machine.wants.presences("q", [], [B.cid], 0.0)
    assert machine.news() == [Reach("p", B.cid, None)]
    assert sent(machine) == {"r": [(B.cid, False, 1)]}


def test_what_is_asked_for_already_is_not_passed_on_again() -> None:
    machine = passing("p", "q", "r")
    machine.ask("p", [Want(A.cid, False)], 0.0)
    sent(machine)
    machine.ask("p", [Want(A.cid, False)], 1.0)
    assert sent(machine) == {}
    machine.ask("q", [Want(A.cid, False, hops=1)], 1.0)
    # q wants it as well, so now p may be asked: it could reach somebody whom q cannot.
    assert sent(machine) == {"p": [(A.cid, False, 2)]}
    assert machine.passed == 1


def test_a_want_is_not_passed_on_for_ever() -> None:
    machine = passing("p", "q")
    machine.ask("p", [Want(A.cid, False, hops=MAX_HOPS)], 0.0)
    assert sent(machine) == {}
    machine.ask("p", [Want(A.cid, False, hops=MAX_HOPS - 1)], 0.0)
    assert sent(machine) == {"q": [(A.cid, False, MAX_HOPS)]}
    machine.wants.presences("q", [], [], 0.0, [(A.cid, MAX_HOPS)])
    assert machine.news() == []
    machine.wants.presences("q", [], [], 0.0, [(A.cid, 1 << 60)])
    assert machine.news() == []


def test_two_that_wait_for_each_other_do_not() -> None:
    machine = passing("p", "q", "r")
    machine.ask("p", [Want(A.cid, True)], 0.0)
    machine.wants.presences("q", [], [], 0.0, [(A.cid, 1)])
    assert sent(machine)["q"] == [(A.cid, False, 1), (A.cid, True, 1)]
    machine.ask("q", [Want(A.cid, True, hops=2)], 0.0)
    assert machine.news() == []  # p has heard nothing yet
    machine.wants.presences("r", [A.cid], [], 0.0)
    assert (A.cid, True, 1) in sent(machine)["r"]
    assert sorted(news.asker for news in machine.news()) == ["p", "q"]


def test_what_nobody_wants_any_more_is_cancelled() -> None:
    machine = passing("p", "q", "r")
    machine.ask("p", [Want(A.cid, False), Want(B.cid, False)], 0.0)
    machine.ask("q", [Want(B.cid, False)], 0.0)
    machine.wants.outbox()
    machine.receive("p", Message(cancels=(A.cid,)), 0.0)
    assert all(message.cancels == (A.cid,) for _, message in machine.wants.outbox())
    machine.receive("p", Message(full=True), 0.0)
    assert machine.wants.is_open(B.cid.multihash)
    machine.detach("q")
    machine.wants.detach("q", 0.0)
    assert not machine.wants.is_open(B.cid.multihash)


def test_a_want_goes_towards_known_holders_first() -> None:
    machine = passing("p", "q", "r")
    machine.towards = lambda _: ["r"]
    machine.ask("p", [Want(A.cid, False)], 0.0)
    assert sent(machine) == {"r": [(A.cid, False, 1)]}
    assert machine.wants.next_timer() == WIDEN_S
    machine.wants.handle_timer(WIDEN_S)
    assert sent(machine) == {"q": [(A.cid, False, 1)]}


def test_what_this_node_wants_itself_is_asked_of_everybody() -> None:
    machine = passing("p", "q")
    machine.wants.attach("stranger", 0.0)
    machine.ask("p", [Want(A.cid, False)], 0.0)
    sent(machine)
    machine.wants.want([A.cid], GROUP, 0.0)
    own = [(A.cid, False, 0)]
    # q as well: the want may go further than it was told.
    assert sent(machine) == {"p": own, "q": own, "stranger": own}


# Floods


def cids(count: int) -> list[Cid]:
    return [Cid.of(RAW, b"flood %d" % n) for n in range(count)]


def test_a_peer_has_so_many_wants_passed_on_at_a_time() -> None:
    machine = passing("p", "q")
    many = cids(MAX_PASSED + 50)
    machine.ask("p", [Want(cid, False) for cid in many], 0.0)
    assert len(sent(machine)["q"]) == MAX_PASSED
    machine.receive("p", Message(cancels=tuple(many[:10])), 0.0)
    machine.ask("p", [Want(cid, False) for cid in many[MAX_PASSED:]], 0.0)
    assert len(sent(machine)["q"]) == 10


def test_a_peer_that_asks_and_cancels_without_end_is_passed_on_at_a_rate() -> None:
    machine = passing("p", "q")
    passed = 0
    for cid in cids(1000):
        machine.ask("p", [Want(cid, False)], 0.0)
        passed += len(sent(machine).get("q", ()))
        machine.receive("p", Message(cancels=(cid,)), 0.0)
    assert passed == FLOODS_AT_ONCE
    assert not machine.wants._open


def test_wants_towards_one_that_gives_have_a_rate_of_their_own() -> None:
    machine = passing("p", "q")
    machine.ask("p", [Want(A.cid, False)], 0.0)
    machine.wants.presences("q", [A.cid], [], 0.0)
    for n, cid in enumerate(cids(int(3 * DIRECT_PER_S))):
        machine.ask("p", [Want(cid, True)], 0.0)
        machine.receive("p", Message(cancels=(cid,)), 0.0)
        if n == FLOODS_AT_ONCE + 1:
            assert machine.passed == n + 2
    assert machine.passed == 2 * DIRECT_PER_S + 1


def test_a_slow_peer_does_not_fill_the_memory() -> None:
    machine = passing("p", "q", "slow")
    machine.ask("slow", [Want(A.cid, False)], 0.0)
    machine.wants.presences("q", [A.cid], [], 0.0)
    sent(machine)
    machine.ask("slow", [Want(block.cid, True) for block in BLOCKS], 0.0)
    assert len(sent(machine)["q"]) == AT_ONCE
    transit = Transit()
    machine.wants.in_hand = transit.waiting
    machine.wants.blocks("q", [A], 0.0)
    transit.put(A.cid.multihash, A.data, ["slow"])
    machine.wants.assign(0.0)
    assert AT_ONCE - 1 <= len(machine.wants._peers["q"].owes) <= AT_ONCE
    assert transit.drop("slow", [A.cid.multihash])
    assert transit.get(A.cid.multihash) is None
    machine.wants.assign(0.0)
    assert len(machine.wants._peers["q"].owes) == AT_ONCE


# Nets


@dataclass
class Node:
    blocks: dict[bytes, bytes] = field(default_factory=dict)
    passing: Passing = field(default_factory=lambda: Passing(Wants()))
    serving: dict[str, Serving] = field(default_factory=dict)
    lies: bool = False
    """Says that it has everything, and sends nothing."""

    def messages(self) -> list[tuple[str, Message]]:
        for news in self.passing.news():
            self.serving[news.asker].in_reach(news.cid, news.hops)
        out = self.passing.wants.outbox()
        for name, serving in self.serving.items():
            while (order := serving.next_order()) is not None:
                payload = tuple(
                    Payload(cid.prefix, self.blocks[cid.multihash]) for cid in order.blocks if not self.lies
                )
                rest = Message((), (), payload, order.haves, order.dont_haves, afar=order.afar)
                out.append((name, rest))
        return out

    def receive(self, name: str, message: Message, now: float) -> None:
        wants = self.passing.wants
        if message.payload:
            wants.expect_blocks(name, len(message.payload))
            for block in wants.blocks(
                name, [Block.received(each.prefix, each.data) for each in message.payload], now
            ):
                self.blocks[block.cid.multihash] = block.data
                self.passing.came(block.cid.multihash)
                for peer, serving in self.serving.items():
                    self._answer(peer, serving.wanted([block.cid.multihash]), now)
        wants.presences(name, message.haves, message.dont_haves, now, message.afar)
        self.serving[name].receive(message)
        self.passing.receive(name, message, now)
        self._answer(name, self.serving[name].lookups(), now)

    def _answer(self, peer: str, asked: Collection[Cid], now: float) -> None:
        serving = self.serving[peer]
        if self.lies:
            serving.found(asked, {cid.multihash: 1 for cid in asked})
            return
        here = {
            cid.multihash: len(self.blocks[cid.multihash]) for cid in asked if cid.multihash in self.blocks
        }
        absent = serving.standing(cid for cid in asked if cid.multihash not in here)
        serving.found(asked, here, self.passing.ask(peer, absent, now))


@dataclass
class Net:
    nodes: dict[str, Node]
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    now: float = 0.0
    wires: dict[tuple[str, str], list[bytes]] = field(default_factory=dict)
    carried: int = 0
    blocks: int = 0
    """Blocks that went over a link."""

    def link(self, a: str, b: str) -> None:
        for here, there in ((a, b), (b, a)):
            self.wires[here, there] = []
            self.nodes[here].serving[there] = Serving()
            self.nodes[here].passing.attach(there)
            self.nodes[here].passing.wants.attach(there, self.now, passes=True)

    def cut(self, a: str, b: str) -> None:
        for here, there in ((a, b), (b, a)):
            self.wires.pop((here, there), None)
            self.nodes[here].serving.pop(there, None)
            self.nodes[here].passing.detach(there)
            self.nodes[here].passing.wants.detach(there, self.now)

    def step(self) -> bool:
        """Carries one message, in an order of chance; False if there is none."""
        for name, node in self.nodes.items():
            for peer, message in node.messages():
                if (name, peer) in self.wires:
                    self.wires[name, peer].append(encode_message(message))
        busy = sorted(wire for wire, messages in self.wires.items() if messages)
        if not busy:
            return False
        sender, receiver = self.chance.choice(busy)
        message = decode_message(self.wires[sender, receiver].pop(0))
        self.now += 0.001
        self.carried += 1
        self.blocks += len(message.payload)
        self.nodes[receiver].receive(sender, message, self.now)
        return True

    def run(self, until: Callable[[], bool], limit_s: float) -> None:
        while not until():
            if self.step():
                continue
            due = [node.passing.wants.next_timer() for node in self.nodes.values()]
            self.now = max(self.now, min(time for time in due if time is not None))
            assert self.now < limit_s, "it takes too long"
            for node in self.nodes.values():
                node.passing.wants.handle_timer(self.now)

    def fetch(self, name: str, blocks: Iterable[Block]) -> Callable[[], bool]:
        blocks = list(blocks)
        wants = self.nodes[name].passing.wants
        here = self.nodes[name].blocks
        wants.want([block.cid for block in blocks if block.cid.multihash not in here], GROUP, self.now)
        return lambda: all(block.cid.multihash in self.nodes[name].blocks for block in blocks)


def net(links: str, holders: str, blocks: Iterable[Block] = BLOCKS) -> Net:
    """`links` as "ab bc", `holders` as "a"."""
    nodes = {name: Node() for name in sorted(set(links) - {" "})}
    for holder in holders:
        nodes[holder].blocks.update({block.cid.multihash: block.data for block in blocks})
    made = Net(nodes)
    for link in links.split():
        made.link(link[0], link[1])
    return made


def test_a_line_of_four_brings_everything_once() -> None:
    line = net("ab bc cd", "a")
    line.run(line.fetch("d", BLOCKS), limit_s=5)
    assert line.blocks == 3 * len(BLOCKS)


@pytest.mark.parametrize("links", ["ab bc ca", "ab bc cd da ac bd", "ab bc cd de ea ac bd ce da eb"])
def test_what_nobody_has_comes_to_rest_in_a_net_with_cycles(links: str) -> None:
    """Few messages on each link, until all are asked again."""
    cyclic = net(links, "")
    cyclic.fetch("a", [A])
    while cyclic.step():
        pass
    assert cyclic.carried <= 6 * len(links.split())
    assert cyclic.now < SCOUT_S


def test_in_a_ring_blocks_come_by_the_shorter_way() -> None:
    ring = net("ab bc cd de ea", "b")
    ring.run(ring.fetch("a", BLOCKS), limit_s=5)
    assert ring.blocks == len(BLOCKS)
    ring = net("ab bc cd de ea", "c")
    ring.run(ring.fetch("a", BLOCKS), limit_s=5)
    assert ring.blocks <= 2 * len(BLOCKS) + 4  # before the nearer way is known


def test_a_device_more_than_the_hops_away_is_not_reached() -> None:
    names = "abcdefghijk"
    line = net(" ".join(a + b for a, b in pairwise(names)), "k", [A])
    line.fetch("a", [A])
    while line.step():
        pass
    assert A.cid.multihash not in line.nodes["a"].blocks
    asked = [name for name in names if line.nodes[name].passing.wants.is_open(A.cid.multihash)]
    assert asked == list(names[: MAX_HOPS + 1])
    near = line.fetch("d", [A])
    line.run(near, limit_s=2 * SCOUT_S)


def test_a_liar_on_the_way_is_given_up() -> None:
    diamond = net("ab ac bd cd", "d")
    diamond.nodes["b"].lies = True
    diamond.run(diamond.fetch("a", BLOCKS), limit_s=PATIENCE_S + 5)


def test_a_way_that_breaks_is_replaced_by_another() -> None:
    diamond = net("ab bd ac ce ed", "d")
    done = diamond.fetch("a", BLOCKS)
    diamond.run(lambda: len(diamond.nodes["a"].blocks) >= 10, limit_s=5)
    diamond.cut("b", "d")
    diamond.run(done, limit_s=PATIENCE_S)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(3, 9))
def test_every_net_brings_everything_that_somebody_has_and_comes_to_rest(seed: int, size: int) -> None:
    """Links that come and go, several holders of parts, several that want it."""
    chance = random.Random(seed)
    names = "abcdefghi"[:size]
    tree = [names[chance.randrange(n)] + names[n] for n in range(1, size)]
    more = ["".join(chance.sample(names, 2)) for _ in range(chance.randrange(size))]
    links = list({frozenset(link): link for link in (*more, *tree)}.values())
    made = net(" ".join(links), "")
    made.chance = chance
    for block in BLOCKS:
        holder = made.nodes[chance.choice(names)]
        holder.blocks[block.cid.multihash] = block.data
    done = [made.fetch(name, BLOCKS) for name in chance.sample(names, 2)]
    spare = [link for link in links if link not in tree]
    for link in spare[:2]:
        for _ in range(chance.randrange(60)):
            made.step()
        made.cut(link[0], link[1])
    made.run(lambda: all(each() for each in done), limit_s=20 * SCOUT_S)
    while made.step():
        pass
    assert not any(node.passing.wants._open for node in made.nodes.values())


# Whole stores

MIB = 1 << 20


def a_line(stores: list[Content], passes_on: Callable[[], bool] = lambda: True) -> list[Wire]:
    names = "abcd"
    return [
        Wire(stores[n], stores[n + 1], names[n], names[n + 1], passes_on=passes_on)
        for n in range(len(stores) - 1)
    ]


async def fetched(content: Content, cid: str, deadline_s: float = 20.0) -> None:
    async for _ in content.fetch(cid, deadline_s=deadline_s):
        pass


async def test_a_file_comes_along_a_line_of_stores(tmp_path: Path) -> None:
    data = deterministic_bytes(20 * MIB + 3)
    worlds = [World(tmp_path / name) for name in "abcd"]
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(world.content()) for world in worlds]
        cid = (await stores[0].add([data], "file")).cid
        wires = a_line(stores)
        async with wired(*wires):
            await fetched(stores[3], cid)
            assert await read_whole(stores[3], cid) == data
            assert [store.handed_on[0] for store in stores] == [0, 22, 22, 0]
            assert all(not wire.faults for wire in wires)
            # What has gone through is there, for as long as there is room, and belongs to no root.
            assert stores[1].roots() == ()
            await fetched(stores[2], cid)
        assert stores[2].presence(cid).complete


async def test_where_the_storage_is_full_blocks_go_through_and_nothing_is_removed(tmp_path: Path) -> None:
    data = deterministic_bytes(12 * MIB)
    worlds = [World(tmp_path / name) for name in "abc"]
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(world.content()) for world in worlds]
        cid = (await stores[0].add([data], "file")).cid
        own = (await stores[1].add([deterministic_bytes(3 * MIB)], "own", pinned=False)).cid
        worlds[1].quota.limit = worlds[1].quota.used + MIB // 2
        async with wired(*a_line(stores)):
            await fetched(stores[2], cid)
        assert await read_whole(stores[2], cid) == data
        assert stores[1].presence(own).complete
        assert worlds[1].quota.highest <= worlds[1].quota.limit
        assert not stores[1]._exchange._transit._data


async def test_one_that_reads_nothing_has_a_few_blocks_in_hand_whatever_another_fetches(world: World) -> None:
    """Where nothing may be stored. It gets the others when it reads on."""
    world.quota.limit = 0
    everything = {block.cid.multihash: block for block in BLOCKS}
    wants = encode_message(Message(tuple(Want(block.cid, True) for block in BLOCKS)))
    to_source: asyncio.Queue[bytes] = asyncio.Queue()
    got: dict[str, set[bytes]] = {"quick": set(), "slow": set()}
    reads, news = asyncio.Event(), asyncio.Event()

    async with world.content() as hub:

        async def source() -> None:
            while True:
                for want in decode_message(await to_source.get()).wants:
                    block = everything[want.cid.multihash]
                    payload = Message(payload=(Payload(block.cid.prefix, block.data),))
                    answer = payload if want.block else Message(haves=(want.cid,))
                    await hub.receive("source", encode_message(answer))

        def take(peer: str, message: bytes) -> None:
            got[peer] |= {
                Block.received(each.prefix, each.data).cid.multihash
                for each in decode_message(message).payload
            }
            news.set()

        async def to_quick(message: bytes) -> None:
            take("quick", message)

        async def to_slow(message: bytes) -> None:
            await reads.wait()
            take("slow", message)

        async def has_all(peer: str) -> None:
            while got[peer] != everything.keys():
                news.clear()
                await news.wait()

        for name, send in (("source", to_source.put), ("quick", to_quick), ("slow", to_slow)):
            hub.attach(name, send, lambda _: True, lambda: True)
        sending = asyncio.ensure_future(source())
        await hub.receive("slow", wants)
        await hub.receive("quick", wants)
        await has_all("quick")
        transit = hub._exchange._transit
        assert len(transit._data) <= AT_ONCE
        assert not got["slow"]
        reads.set()
        await has_all("slow")
        sending.cancel()


async def test_nothing_goes_through_a_node_that_does_not_pass_on(tmp_path: Path) -> None:
    worlds = [World(tmp_path / name) for name in "abc"]
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(world.content()) for world in worlds]
        cid = (await stores[0].add([b"x" * 1000], "file")).cid
        async with wired(*a_line(stores, lambda: False)):
            with pytest.raises(Unavailable):
                await fetched(stores[2], cid, deadline_s=0.2)
        assert stores[1].usage().blocks == 0


async def test_what_teammates_want_is_not_told_to_strangers(tmp_path: Path) -> None:
    """A peer that is attached without `passes_on` is served, and hears of nobody else's wants."""
    worlds = [World(tmp_path / name) for name in "abc"]
    heard: list[bytes] = []
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(world.content()) for world in worlds]
        cid = (await stores[0].add([b"x" * 1000], "file")).cid

        async def hear(message: bytes) -> None:
            heard.append(message)

        stores[1].attach("stranger", hear, lambda _: True)
        async with wired(*a_line(stores)):
            await fetched(stores[2], cid)
            await stores[1].receive("stranger", encode_message(Message((Want(A.cid, True),))))
        assert not any(message.wants for message in map(decode_message, heard))
        assert all(not peer.said for peer in stores[1]._exchange.passing._askers.values())
