"""How much bulk may be under way on a link, so that what is urgent hardly waits behind it. Pure.

Below the link everything goes in order: the kernel, routers and the peer may hold seconds of bulk on a slow
way, and nothing overtakes it there. So bulk beyond a window waits here, where lanes are. Pings are sent
behind it and tell by their answers what has arrived and how long that took. The window grows while answers
come quickly and halves when they do not: never below one record, which is what a flash may wait for.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

FIRST = 64 * 1024
LEAST = 16 * 1024
MOST = 16 * 1024 * 1024
QUEUE_S = 0.1
"""So much longer than the quickest answer is still quick."""
_PROBES = 4
"""To a window."""
_REMEMBERED = 60
"""Answers among which the quickest is the way's own: ways change."""


@dataclass(slots=True)
class BulkWindow:
    """Counts bytes of bulk since the link began; times are seconds."""

    window: int = FIRST
    _sent: int = 0
    _delivered: int = 0
    _probed: int = 0
    """What had been sent when the newest ping went out."""
    _probes: deque[tuple[int, int]] = field(default_factory=deque)
    """Number of a ping, and what had been sent before it."""
    _took: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    @property
    def has_room(self) -> bool:
        return self._sent - self._delivered < self.window

    @property
    def wants_ping(self) -> bool:
        """Without one behind it nobody would hear that what was sent last has arrived."""
        unprobed = self._sent - self._probed
        return unprobed >= self.window // _PROBES or (unprobed > 0 and not self.has_room and not self._probes)

    def sent(self, total: int) -> None:
        """So much was handed on by now."""
        self._sent = total

    def pinged(self, number: int) -> None:
        """A ping went out behind what was sent."""
        self._probed = self._sent
        self._probes.append((number, self._sent))

    def answered(self, number: int, took_s: float) -> None:
        """That ping came back: what went before it has arrived."""
        was_used = self._sent - self._delivered > self.window // 2
        while self._probes and self._probes[0][0] <= number:
            self._delivered = max(self._delivered, self._probes.popleft()[1])
        self._took.append(took_s)
        if took_s > 2 * min(self._took) + QUEUE_S:
            self.window = max(LEAST, self.window // 2)
        elif was_used:
            self.window = min(MOST, 2 * self.window)
