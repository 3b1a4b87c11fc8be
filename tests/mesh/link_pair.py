"""Two links over a pipe in memory, with real keys and a clock moved by hand."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshconsole.crypto.tls import TlsSession
from meshconsole.mesh.links.link import Closed, Link
from meshconsole.mesh.messages import PROTOCOL_VERSION, Hello
from tests.mesh.devices import MC1, credentials, key_of
from tests.mesh.memory_pipe import MemoryPipe, memory_pipes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from meshconsole.crypto.suites import Suite
    from meshconsole.mesh.links.frames import Frame
    from meshconsole.mesh.links.pipe import Pipe


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class CountingMeter:
    sent: int = 0
    received: int = 0

    async def wait_out(self, count: int, /) -> None:
        self.sent += count

    async def wait_in(self, count: int, /) -> None:
        self.received += count

    def of_one(self) -> CountingMeter:
        return self


def hello(log_id: str = "log", version: int = PROTOCOL_VERSION) -> Hello:
    return Hello(version, b"bootboot", log_id, 0)


def make_link(
    pipe: Pipe,
    me: str,
    accept: Callable[[bytes], bool],
    *,
    dialled: bool,
    clock: Clock | None = None,
    meter: CountingMeter | None = None,
    suite: Suite = MC1,
) -> Link:
    session = TlsSession(credentials(me, suite), server=not dialled, accept=accept)
    clock = clock or Clock()
    return Link(pipe, session, dialled=dialled, meter=meter or CountingMeter(), now=clock, wall=lambda: 1.7e9)


@dataclass
class End:
    link: Link
    pipe: MemoryPipe
    frames: asyncio.Queue[Frame] = field(default_factory=asyncio.Queue)
    closed: asyncio.Future[Closed] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def run(self) -> None:
        self.closed.set_result(await self.link.run(self._handle))

    async def _handle(self, frame: Frame) -> None:
        await self.frames.put(frame)


@asynccontextmanager
async def open_pair(clock: Clock | None = None) -> AsyncIterator[tuple[End, End]]:
    """Alice, who dialled, and Bob, both opened and running."""
    pipe_a, pipe_b = memory_pipes()
    a = make_link(pipe_a, "alice", key_of("bob").__eq__, dialled=True, clock=clock)
    b = make_link(pipe_b, "bob", key_of("alice").__eq__, dialled=False, clock=clock)
    async with asyncio.TaskGroup() as group:
        group.create_task(a.open(lambda _key: hello("log-a")))
        await b.open(lambda _key: hello("log-b"))
    ends = End(a, pipe_a), End(b, pipe_b)
    async with asyncio.TaskGroup() as group:
        for end in ends:
            group.create_task(end.run())
        try:
            yield ends
        finally:
            for end in ends:
                end.link.close("The test is over.")
