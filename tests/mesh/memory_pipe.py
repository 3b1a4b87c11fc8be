"""Two ends of a pipe in memory, with a limit like a socket's, and ways to hurt it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from meshconsole.mesh.links.frames import PIPE_MESSAGE
from meshconsole.mesh.links.pipe import PipeClosed

if TYPE_CHECKING:
    from meshconsole.core.status import PathName


class MemoryPipe:
    """One end. `other` is set by `memory_pipes`."""

    path: PathName = "websocket"
    relayed = False
    channel = ""
    own_host = ""

    def __init__(self, address: str, limit: int = 256 * 1024) -> None:
        self.address = address
        self.limit = limit
        self.other: MemoryPipe
        self.inbox: deque[bytes] = deque()
        self.held = 0
        self.ended: str | None = None
        self.is_frozen = False
        """A frozen end delivers nothing: the cable is out and nobody knows yet."""
        self.largest = 0
        self.is_narrow = False
        self._changed = asyncio.Condition()

    async def send(self, message: bytes) -> None:
        if self.ended is not None:
            raise PipeClosed(self.ended)
        self.largest = max(self.largest, len(message))
        assert len(message) <= PIPE_MESSAGE
        other = self.other
        if other.is_frozen:
            return
        other.inbox.append(message)
        other.held += len(message)
        await other.notify()
        async with other._changed:
            await other._changed.wait_for(lambda: other.held < other.limit or self.ended is not None)

    async def receive(self) -> bytes:
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self.inbox) or self.ended is not None)
            if not self.inbox:
                raise PipeClosed(self.ended or "The pipe ended.")
            message = self.inbox.popleft()
            self.held -= len(message)
            self._changed.notify_all()
            return message

    def standing(self) -> None:
        return None

    def narrow(self, is_narrow: bool, /) -> None:
        self.is_narrow = is_narrow

    async def close(self, reason: str) -> None:
        for end in (self, self.other):
            if end.ended is None:
                end.ended = "The connection was closed."
            await end.notify()

    async def notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def memory_pipes(limit: int = 256 * 1024) -> tuple[MemoryPipe, MemoryPipe]:
    a, b = MemoryPipe("b:1", limit), MemoryPipe("a:1", limit)
    a.other, b.other = b, a
    return a, b
