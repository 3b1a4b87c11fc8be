"""Whole nets of nodes that pass wants on: everything comes, and everything comes to rest."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshconsole.content.exchange.asking import MAX_HOPS, PATIENCE_S
from meshconsole.content.exchange.bitswap import Message, Payload, decode_message, encode_message
from meshconsole.content.exchange.passing import Passing
from meshconsole.content.exchange.serving import Serving
from meshconsole.content.exchange.wants import SCOUT_S, Wants
from meshconsole.content.formats.block import Block
from tests.content.deterministic import BLOCKS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from meshconsole.content.formats.cid import Cid

GROUP = b"group"
A = BLOCKS[0]


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
