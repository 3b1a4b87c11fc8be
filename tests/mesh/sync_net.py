"""Many nodes with sync machines on every link, in memory: messages keep their order on each wire and
take their time, a clock of the net's own moves from one to the next."""

from __future__ import annotations

import heapq
import random
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from meshconsole.mesh.asked import Asked
from meshconsole.mesh.known import KnownIds
from meshconsole.mesh.messages import Live, Sync, decode_sync, encode
from tests.mesh.sync_pair import MemoryStore, Side, id_of

if TYPE_CHECKING:
    from collections.abc import Iterable

Wire = tuple[str, str]


class NetSide(Side):
    """A node's machine for one of its peers."""

    node: Node


@dataclass
class Node:
    name: str
    role: str = "member"
    settled: KnownIds = field(default_factory=lambda: KnownIds(16_384))
    asked: Asked = field(default_factory=Asked)
    sides: dict[str, NetSide] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = MemoryStore(f"log-{self.name}", added=self.fresh)
        self.news: deque[bytes] = deque()

    def fresh(self, raw: bytes) -> None:
        self.news.append(raw)

    def told(self, raw: bytes, now: float) -> None:
        """An event is in the store: every session hears of it."""
        self.settled.add(id_of(raw))
        for side in self.sides.values():
            side.sync.stored(self.store.head, now, id_of(raw))

    @property
    def lag(self) -> int:
        return sum(side.sync.taking.lag for side in self.sides.values())


class Net:
    """`delay_s` is the time on a wire, give or take a half."""

    def __init__(self, names: Iterable[str], seed: int = 1, delay_s: float = 0.01) -> None:
        self.nodes = {name: Node(name) for name in names}
        self.now = 1000.0
        self.bytes_carried = 0
        self._rng = random.Random(seed)
        self._delay_s = delay_s
        self._under_way: list[tuple[float, int, Wire, bytes]] = []
        self._numbers = count()
        self._arrival: dict[Wire, float] = {}
        self._timers: dict[str, tuple[float, NetSide]] = {}

    def link(self, a: str, b: str) -> None:
        for me, other in ((a, b), (b, a)):
            node, peer = self.nodes[me], self.nodes[other]
            side = NetSide(node.store, peer.role, node.settled, node.asked)
            side.node = node
            node.sides[other] = side
            side.sync.taking.start(
                peer.store.log_id, peer.store.head, node.store.cursors.get(peer.store.log_id, 0)
            )

    def cut(self, a: str, b: str) -> None:
        """The link goes, with all that is under way."""
        for me, other in ((a, b), (b, a)):
            del self.nodes[me].sides[other]
        wires = {(a, b), (b, a)}
        self._under_way = [item for item in self._under_way if item[2] not in wires]
        heapq.heapify(self._under_way)

    def write(self, name: str, raw: bytes) -> None:
        node = self.nodes[name]
        assert node.store.add(raw, local=True).accepted
        self._turn(node)

    def run(self, within_s: float = 60.0) -> None:
        """Until nothing is under way and no timer is due within `within_s`."""
        for node in self.nodes.values():
            self._turn(node)
        while True:
            wire_at = self._under_way[0][0] if self._under_way else None
            timer_at, side_of = self._next_timer()
            if wire_at is not None and (timer_at is None or wire_at <= timer_at):
                at, _, (sender, receiver), data = heapq.heappop(self._under_way)
                self.now = max(self.now, at)
                node = self.nodes[receiver]
                node.sides[sender].sync.receive(decode_sync(data), self.now)
                self._turn(node)
            elif timer_at is not None and timer_at <= self.now + within_s and side_of is not None:
                self.now = max(self.now, timer_at)
                side_of.sync.handle_timer(self.now)
                self._turn(side_of.node)
            else:
                return

    def _next_timer(self) -> tuple[float | None, NetSide | None]:
        due = min(self._timers.values(), default=None, key=lambda timer: timer[0])
        return (None, None) if due is None else due

    def _set_timer(self, node: Node) -> None:
        timers = [(at, side) for side in node.sides.values() if (at := side.sync.next_timer()) is not None]
        self._timers.pop(node.name, None)
        if timers:
            self._timers[node.name] = min(timers, key=lambda timer: timer[0])

    def _turn(self, node: Node) -> None:
        """Everything that a node does at once: its asks are answered, its messages sent."""
        while True:
            busy = False
            for name, side in node.sides.items():
                while side.answer_one(self.now):
                    busy = True
                self._send(node.name, name, side)
            while node.news:
                node.told(node.news.popleft(), self.now)
                busy = True
            if not busy:
                self._set_timer(node)
                return

    def _send(self, sender: str, receiver: str, side: Side) -> None:
        sync = side.sync
        messages: list[Sync | Live] = [
            *sync.taking.outbox,
            *sync.take_served(),
            *(live for _, live in sync.live_outbox),
        ]
        sync.taking.outbox.clear()
        sync.live_outbox.clear()
        wire = (sender, receiver)
        for message in messages:
            data = encode(message)
            self.bytes_carried += len(data)
            at = self.now + self._delay_s * self._rng.uniform(0.5, 1.5)
            at = self._arrival[wire] = max(at, self._arrival.get(wire, 0.0))
            heapq.heappush(self._under_way, (at, next(self._numbers), wire, data))
