"""How fast a transfer goes and how long it will take. Pure; `now` is an argument."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW_S = 15.0
"""The pace is that of the last seconds: a link may have become better or worse."""
SETTLED_S = 2.0
"""Nothing is said of the time left before so long has been seen."""


@dataclass(slots=True)
class Pace:
    """`total_bytes` is 0 while unknown."""

    total_bytes: int = 0
    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def put(self, now: float, have_bytes: int, total_bytes: int) -> None:
        """How far it is. One that begins anew is measured anew."""
        if self._seen and have_bytes < self._seen[-1][1]:
            self._seen.clear()
        self.total_bytes = total_bytes
        self._seen.append((now, have_bytes))
        while now - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()

    def rate_bps(self, now: float) -> float:
        """Bytes per second; 0.0 while too little was seen, and when nothing has come for a while."""
        if not self._seen:
            return 0.0
        (since, before), (last, have) = self._seen[0], self._seen[-1]
        if last - since < SETTLED_S or now - last > WINDOW_S:
            return 0.0
        return (have - before) / max(SETTLED_S, now - since)

    def left_s(self, now: float) -> float | None:
        """None where it cannot be told."""
        rate = self.rate_bps(now)
        if not rate or not self.total_bytes:
            return None
        return max(0, self.total_bytes - self._seen[-1][1]) / rate
