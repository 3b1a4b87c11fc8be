"""The recent past of one number, at a fixed step of time and in bounded memory. Pure.

The node keeps some for whoever looks, the console goes on with them, and both draw the same lines.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from meshconsole.core.status import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterable


class Track(Frozen, frozen=True):
    """A history as it is sent: the newest value last, one each `step_s` seconds, the newest at `at`."""

    name: str
    """in, out (bytes per second), stored (bytes), or rtt (milliseconds)."""
    step_s: float
    at: float
    values: tuple[float, ...] = ()
    npub: str = ""
    """The peer that it is of, for rtt."""


class History:
    """Values at a fixed step, whatever the pace they come at. Each step keeps its highest."""

    def __init__(self, step_s: float = 10.0, capacity: int = 360) -> None:
        self.step_s = step_s
        self.values: deque[float] = deque(maxlen=capacity)
        self._slot: int | None = None

    def put(self, now: float, value: float) -> None:
        """`now` in seconds since the epoch."""
        slot = int(now / self.step_s)
        if self._slot is None or slot < self._slot:
            self.values.append(value)
        elif slot == self._slot:
            self.values[-1] = max(self.values[-1], value)
        else:
            last = self.values[-1]
            missing = min(slot - self._slot - 1, self.values.maxlen or 0)
            # Nobody spoke while nothing changed, so the gap was as the last value.
            self.values.extend([last] * missing)
            self.values.append(value)
        self._slot = slot

    def track(self, name: str, npub: str = "") -> Track:
        at = (self._slot or 0) * self.step_s
        return Track(name, self.step_s, at, tuple(round(value, 1) for value in self.values), npub)

    def resume(self, track: Track) -> None:
        """Goes on from what another one has kept."""
        self.step_s = track.step_s
        self.values = deque(track.values, maxlen=self.values.maxlen)
        self._slot = round(track.at / track.step_s) if track.values else None


def named(tracks: Iterable[Track], name: str) -> Track | None:
    return next((track for track in tracks if track.name == name), None)
