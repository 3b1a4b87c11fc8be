"""Links between content stores in one process: ordered, with backpressure, and they can be cut."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshconsole.core.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from meshconsole.content.service import Content


@dataclass
class Wire:
    """A link between `left` and `right`, whom the other side knows by these names."""

    left: Content
    right: Content
    left_name: str = "left"
    right_name: str = "right"
    left_may_read: Callable[[str], bool] = lambda _: True
    """What `left` may read of `right`."""
    right_may_read: Callable[[str], bool] = lambda _: True
    passes_on: Callable[[], bool] | None = None
    """Whether each passes on what the other asks for."""
    change: Callable[[bytes], bytes] = lambda message: message
    """What happens to messages on their way from right to left."""
    faults: list[RemoteError] = field(default_factory=list)
    carried: list[int] = field(default_factory=list)
    """Sizes of the messages from right to left."""
    limit_bytes: int = 1 << 40
    """After so much from right to left the link hangs, and `is_full` is set."""
    is_full: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def open(self) -> None:
        to_right: asyncio.Queue[bytes] = asyncio.Queue(1)
        to_left: asyncio.Queue[bytes] = asyncio.Queue(1)

        async def send_left(message: bytes) -> None:
            if sum(self.carried) >= self.limit_bytes:
                self.is_full.set()
                await asyncio.Event().wait()
            self.carried.append(len(message))
            await to_left.put(self.change(message))

        self._tasks = [
            asyncio.ensure_future(self._pump(to_right, self.right, self.left_name)),
            asyncio.ensure_future(self._pump(to_left, self.left, self.right_name)),
        ]
        self.left.attach(self.right_name, to_right.put, self.right_may_read, self.passes_on)
        self.right.attach(self.left_name, send_left, self.left_may_read, self.passes_on)

    async def cut(self) -> None:
        self.left.detach(self.right_name)
        self.right.detach(self.left_name)
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._tasks = []

    async def _pump(self, queue: asyncio.Queue[bytes], content: Content, sender: str) -> None:
        while True:
            try:
                await content.receive(sender, await queue.get())
            except RemoteError as error:
                self.faults.append(error)
                self.left.detach(self.right_name)
                self.right.detach(self.left_name)
                return


@asynccontextmanager
async def wired(*wires: Wire) -> AsyncIterator[None]:
    for wire in wires:
        wire.open()
    try:
        yield
    finally:
        for wire in wires:
            await wire.cut()
