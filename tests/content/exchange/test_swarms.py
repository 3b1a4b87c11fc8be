"""Whole swarms in memory, under a clock of their own: everybody gets what somebody has."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from meshconsole.content.exchange.asking import PATIENCE_S
from meshconsole.content.exchange.bitswap import Message, Payload, decode_message, encode_message
from meshconsole.content.exchange.serving import Serving
from meshconsole.content.exchange.wants import SCOUT_S, Wants
from meshconsole.content.formats.block import Block
from meshconsole.content.formats.cid import RAW, Cid
from meshconsole.core.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

GROUP = b"group"
BLOCKS = [Block.of(RAW, f"block {i}".encode()) for i in range(60)]


@dataclass
class Node:
    """A peer with a store of its own, driven by hand."""

    blocks: dict[bytes, bytes] = field(default_factory=dict)
    wants: Wants = field(default_factory=Wants)
    serving: dict[str, Serving] = field(default_factory=dict)
    mute: bool = False
    """Says what it has and never sends a block."""
    change: Callable[[bytes], bytes] | None = None

    def messages(self) -> list[tuple[str, Message]]:
        out = self.wants.outbox()
        for name, serving in self.serving.items():
            while (order := serving.next_order()) is not None:
                payload = tuple(
                    Payload(cid.prefix, self._sent(self.blocks[cid.multihash]))
                    for cid in order.blocks
                    if not self.mute
                )
                out.append((name, Message(payload=payload, haves=order.haves, dont_haves=order.dont_haves)))
        return out

    def receive(self, name: str, message: Message, now: float) -> None:
        if message.payload:
            self.wants.expect_blocks(name, len(message.payload))
            hashed = [Block.received(each.prefix, each.data) for each in message.payload]
            for block in self.wants.blocks(name, hashed, now):
                self.blocks[block.cid.multihash] = block.data
                for serving in self.serving.values():
                    self._answer(serving, serving.wanted([block.cid.multihash]))
        self.wants.presences(name, message.haves, message.dont_haves, now)
        self.serving[name].receive(message)
        self._answer(self.serving[name], self.serving[name].lookups())

    def _answer(self, serving: Serving, cids: tuple[Cid, ...]) -> None:
        serving.found(
            cids, {mh: len(self.blocks[mh]) for mh in (c.multihash for c in cids) if mh in self.blocks}
        )

    def _sent(self, data: bytes) -> bytes:
        return self.change(data) if self.change else data


@dataclass
class Swarm:
    nodes: dict[str, Node]
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    now: float = 0.0
    links: set[tuple[str, str]] = field(default_factory=set)
    wires: dict[tuple[str, str], list[bytes]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    carried: int = 0

    def link(self, a: str, b: str) -> None:
        for here, there in ((a, b), (b, a)):
            self.links.add((here, there))
            self.wires[here, there] = []
            self.nodes[here].serving[there] = Serving()
            self.nodes[here].wants.attach(there, self.now)

    def cut(self, a: str, b: str) -> None:
        for here, there in ((a, b), (b, a)):
            self.links.discard((here, there))
            self.nodes[here].serving.pop(there, None)
            self.nodes[here].wants.detach(there, self.now)

    def run(self, until: Callable[[], bool], limit_s: float = 4000.0) -> None:
        """Carries messages in an order of chance; moves the clock when there is nothing to carry."""
        while not until():
            self._collect()
            busy = [wire for wire in self.links if self.wires[wire]]
            if busy:
                self._carry(self.chance.choice(sorted(busy)))
                continue
            timers = [time for node in self.nodes.values() if (time := node.wants.next_timer()) is not None]
            assert timers, "nothing to do and nothing to wait for"
            self.now = max(self.now, min(timers))
            assert self.now < limit_s, "it takes too long"
            for node in self.nodes.values():
                node.wants.handle_timer(self.now)

    def _collect(self) -> None:
        for name, node in self.nodes.items():
            for peer, message in node.messages():
                if (name, peer) in self.links:
                    self.wires[name, peer].append(encode_message(message))

    def _carry(self, wire: tuple[str, str]) -> None:
        sender, receiver = wire
        data = self.wires[wire].pop(0)
        self.now += 0.01
        self.carried += 1
        try:
            self.nodes[receiver].receive(sender, decode_message(data), self.now)
        except RemoteError as error:
            self.faults.append(f"{sender}: {error.code}")
            self.cut(sender, receiver)

    def fetch(self, name: str, blocks: Iterable[Block]) -> Callable[[], bool]:
        blocks = list(blocks)
        self.nodes[name].wants.want([block.cid for block in blocks], GROUP, self.now)
        return lambda: all(block.cid.multihash in self.nodes[name].blocks for block in blocks)


def holding(blocks: Iterable[Block]) -> Node:
    return Node({block.cid.multihash: block.data for block in blocks})


def test_two_providers_share_the_work() -> None:
    swarm = Swarm({"me": Node(), "p": holding(BLOCKS), "q": holding(BLOCKS)})
    swarm.link("me", "p")
    swarm.link("me", "q")
    swarm.run(swarm.fetch("me", BLOCKS))
    shares = [swarm.nodes[name].serving["me"].sent_blocks for name in ("p", "q")]
    assert sum(shares) == len(BLOCKS)
    assert min(shares) > len(BLOCKS) // 4
    assert swarm.faults == []


def test_peers_with_halves() -> None:
    swarm = Swarm({"me": Node(), "p": holding(BLOCKS[:30]), "q": holding(BLOCKS[30:])})
    swarm.link("me", "p")
    swarm.link("me", "q")
    swarm.run(swarm.fetch("me", BLOCKS), limit_s=PATIENCE_S)


def test_the_loss_of_a_peer_in_the_middle() -> None:
    swarm = Swarm({"me": Node(), "p": holding(BLOCKS), "q": holding(BLOCKS)})
    swarm.link("me", "p")
    swarm.link("me", "q")
    done = swarm.fetch("me", BLOCKS)
    swarm.run(lambda: len(swarm.nodes["me"].blocks) >= 20)
    swarm.cut("me", "p")
    swarm.run(done, limit_s=PATIENCE_S)
    assert swarm.faults == []


def test_a_liar_does_not_stop_a_fetch() -> None:
    swarm = Swarm({"me": Node(), "liar": holding(BLOCKS), "p": holding(BLOCKS)})
    swarm.nodes["liar"].mute = True
    swarm.link("me", "liar")
    swarm.link("me", "p")
    swarm.run(swarm.fetch("me", BLOCKS), limit_s=PATIENCE_S + 5)
    assert {happening.peer for happening in swarm.nodes["me"].wants.happened()} == {"liar"}


def test_a_peer_that_sends_other_bytes_is_cut_off_and_others_are_asked() -> None:
    swarm = Swarm({"me": Node(), "evil": holding(BLOCKS), "p": holding(BLOCKS)})
    swarm.nodes["evil"].change = lambda data: data + b"!"
    swarm.link("me", "evil")
    swarm.link("me", "p")
    swarm.run(swarm.fetch("me", BLOCKS), limit_s=PATIENCE_S)
    assert swarm.faults == ["evil: unsolicited-block"]
    assert all(Cid.of(RAW, data).multihash == mh for mh, data in swarm.nodes["me"].blocks.items())


def test_a_chain_passes_blocks_on_as_they_come() -> None:
    swarm = Swarm({"far": Node(), "middle": Node(), "source": holding(BLOCKS)})
    swarm.link("far", "middle")
    swarm.link("middle", "source")
    far = swarm.fetch("far", BLOCKS)
    middle = swarm.fetch("middle", BLOCKS)
    swarm.run(lambda: far() and middle(), limit_s=PATIENCE_S)
    assert swarm.nodes["source"].serving["middle"].sent_blocks == len(BLOCKS)


def test_a_peer_that_comes_late_is_enough() -> None:
    swarm = Swarm({"me": Node(), "empty": Node(), "late": holding(BLOCKS)})
    swarm.link("me", "empty")
    done = swarm.fetch("me", BLOCKS)
    swarm.run(lambda: swarm.now > 3 * SCOUT_S)
    assert not done()
    swarm.link("me", "late")
    before = swarm.now
    swarm.run(done)
    assert swarm.now - before < PATIENCE_S


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1 << 30))
def test_every_swarm_gets_everything_that_somebody_has(seed: int) -> None:
    chance = random.Random(seed)
    blocks = BLOCKS[:25]
    names = [f"n{i}" for i in range(chance.randint(2, 5))]
    swarm = Swarm({name: holding(b for b in blocks if chance.random() < 0.5) for name in names}, chance)
    swarm.nodes["seed"] = holding(blocks)
    swarm.nodes["seed"].change = None
    everybody = [*names, "seed"]
    for i, a in enumerate(everybody):
        for b in everybody[i + 1 :]:
            if b == "seed" or chance.random() < 0.7:
                swarm.link(a, b)
    for name in names:
        swarm.nodes[name].mute = chance.random() < 0.3
    done = [swarm.fetch(name, blocks) for name in names]
    for _ in range(chance.randint(0, 3)):
        target = swarm.carried + chance.randint(1, 60)
        swarm.run(lambda target=target: swarm.carried >= target or all(d() for d in done))  # type: ignore[misc]
        a, b = sorted(chance.choice(sorted(swarm.links)))
        swarm.cut(a, b)
        if "seed" in (a, b) or chance.random() < 0.5:
            swarm.link(a, b)
    swarm.run(lambda: all(d() for d in done))
    assert swarm.faults == []
