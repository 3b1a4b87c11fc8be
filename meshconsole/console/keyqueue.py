"""Keys one after the other, however fast they come.

Textual hands each key to the widget that has the focus when the key arrives, while the effect of the
key before (a line that opens, a field that is left) is still on its way through message queues. Over a
slow line keys come in bunches: "n" and the words of a note would be read as commands. So the next key
waits until the last one has been through the queues, from the widget up to the application.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from textual import events
    from textual.app import App
    from textual.dom import DOMNode

ROUNDS = 3
"""Up through the queues: the key itself, the message it makes (a line was submitted), its answer (a
new focus)."""
PATIENCE_S = 0.3
"""After this long a key is not waited for: its widget went away with what was in its queue."""
MOST = 256
"""Keys that wait. More is no typing."""


class KeyQueue:
    def __init__(self, app: App[None], forward: Callable[[events.Key], Awaitable[None]]) -> None:
        self.app = app
        self.forward = forward
        self._waiting: deque[events.Key] = deque(maxlen=MOST)
        self._turn = 0
        """Counts the keys handed on; a climb that belongs to an earlier one is out of date."""
        self._under_way = False

    @property
    def idle(self) -> bool:
        return not self._under_way and not self._waiting

    async def put(self, key: events.Key) -> None:
        self._waiting.append(key)
        if not self._under_way:
            await self._next(self._turn)
        elif len(self._waiting) == 1:
            self.app.set_timer(PATIENCE_S, partial(self._next, self._turn))

    async def _next(self, turn: int) -> None:
        if turn != self._turn:
            return
        self._turn += 1
        self._under_way = bool(self._waiting)
        if self._waiting:
            await self.forward(self._waiting.popleft())
            self._climb(self._turn, ROUNDS)
            if self._waiting:
                self.app.set_timer(PATIENCE_S, partial(self._next, self._turn))

    def _climb(self, turn: int, rounds: int) -> None:
        """A callback behind everything that waits in the queue of each, from the focus up to the app."""
        if rounds == 0:
            self.app.call_later(self._next, turn)
        else:
            self._hop(turn, rounds, [*(self.app.focused or self.app.screen).ancestors_with_self])

    def _hop(self, turn: int, rounds: int, chain: list[DOMNode]) -> None:
        while chain:
            if chain.pop(0).call_later(self._hop, turn, rounds, chain):
                return
        self._climb(turn, rounds - 1)
