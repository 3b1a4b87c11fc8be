"""Keys one after the other, however fast they come.

Textual hands each key to the widget that has the focus when the key arrives, while the effect of the
key before (a line that opens, a field that is left) is still on its way through message queues. Over a
slow line keys come in bunches: "n" and the words of a note would be read as commands. So the next key
waits until the last one has been through the queues, from the widget up to the application.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from textual import events
    from textual.app import App
    from textual.dom import DOMNode

ROUNDS = 3
"""Up through the queues: the key itself, the message it makes (a line was submitted), its answer (a
new focus)."""
PATIENCE_S = 1.0
"""After this long a key is not waited for: its widget is gone, or busy with something else."""
MOST = 256
"""Keys that wait. More is no typing."""


class KeyQueue:
    def __init__(self, app: App[None], forward: Callable[[events.Key], Awaitable[None]]) -> None:
        self.app = app
        self.forward = forward
        self._waiting: deque[events.Key] = deque(maxlen=MOST)
        self._busy_since: float | None = None

    async def put(self, key: events.Key) -> None:
        self._waiting.append(key)
        busy = self._busy_since is not None and time.monotonic() - self._busy_since < PATIENCE_S
        if not busy:
            await self._next()

    async def _next(self) -> None:
        if not self._waiting:
            self._busy_since = None
            return
        self._busy_since = time.monotonic()
        await self.forward(self._waiting.popleft())
        self._climb(ROUNDS)

    def _climb(self, rounds: int) -> None:
        """A callback behind everything that waits in the queue of each, from the focus up to the app."""
        if rounds == 0:
            self.app.call_later(self._next)
            return
        self._hop([*(self.app.focused or self.app.screen).ancestors_with_self], rounds)

    def _hop(self, chain: list[DOMNode], rounds: int) -> None:
        while chain:
            pump = chain.pop(0)
            if pump.call_later(self._hop, chain, rounds):
                return
        self._climb(rounds - 1)
