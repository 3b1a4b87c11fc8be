"""Hosts that stand on this machine, and what a test says through the pipes of one."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import starmap
from typing import TYPE_CHECKING

from meshconsole.content.libp2p.host import Bounds, Host, Rules
from meshconsole.content.libp2p.keys import OwnKey, PeerId
from meshconsole.content.libp2p.multiaddr import Multiaddr, tcp_address
from meshconsole.content.libp2p.noise import Secured, handshake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from meshconsole.content.libp2p.connection import Connection, Standing


class FreeMeter:
    async def wait_in(self, count: int) -> None:
        del count

    async def wait_out(self, count: int) -> None:
        del count


def key(name: str = "") -> OwnKey:
    """The same for the same name; else a new one."""
    return OwnKey(name.encode().ljust(32, b"-") if name else os.urandom(32))


@dataclass
class Party:
    """A host and what it was told."""

    host: Host
    rules: Rules
    standing: dict[PeerId, Standing | None] = field(default_factory=dict)
    """Of peers that are not of the team."""
    up: list[Connection] = field(default_factory=list)
    gone: list[Connection] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def address(self) -> Multiaddr:
        return tcp_address(*self.host.listening[0]).with_peer(self.host.own.peer)

    async def until(self, count_up: int = 0, count_gone: int = 0) -> None:
        while len(self.up) < count_up or len(self.gone) < count_gone:
            self.news.clear()
            await self.news.wait()

    def judge(self, peer: PeerId, dialled: bool) -> Standing | None:
        del dialled
        return self.standing.get(peer, "team")

    def on_up(self, connection: Connection) -> None:
        self.up.append(connection)
        self.news.set()

    def on_down(self, connection: Connection) -> None:
        self.gone.append(connection)
        self.news.set()


@asynccontextmanager
async def party(name: str = "", bounds: Bounds = Bounds(per_minute=0)) -> AsyncIterator[Party]:  # noqa: B008
    rules = Rules(lambda _, __: None, lambda _: "", lambda _: None, lambda _: None)
    host = Host(key(name), rules, FreeMeter(), bounds, lambda: tuple(starmap(tcp_address, host.listening)))
    one = Party(host, rules)
    rules.judge, rules.up, rules.down = one.judge, one.on_up, one.on_down
    await one.host.start("127.0.0.1", 0)
    try:
        yield one
    finally:
        await one.host.stop()


def shake(left: OwnKey, right: OwnKey) -> tuple[Secured, Secured, list[bytes]]:
    """Both sides' outcome of a handshake that `left` begins, and the messages."""
    told: list[bytes] = []
    first, second = handshake(left, dialled=True), handshake(right, dialled=False)
    assert next(second) is None
    message = next(first)
    assert message is not None
    told.append(message)
    assert next(first) is None
    answer = second.send(message)
    assert answer is not None
    told.append(answer)
    assert next(second) is None
    last = first.send(answer)
    assert last is not None
    told.append(last)
    try:
        next(first)
    except StopIteration as done:
        dialler: Secured = done.value
    try:
        second.send(last)
    except StopIteration as done:
        listener: Secured = done.value
    return dialler, listener, told


@dataclass
class Clock:
    now: float = field(default_factory=time.monotonic)

    def __call__(self) -> float:
        return self.now
