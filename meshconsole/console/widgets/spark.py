"""A sparkline: the recent past of one number in one line. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def spark(values: Iterable[float], width: int, steps: str) -> str:
    """The newest `width` values, the newest at the right, scaled to the largest among them."""
    shown = list(values)[-width:] if width > 0 else []
    top = max(shown, default=0.0)
    if top <= 0:
        return (steps[0] * len(shown)).rjust(width)
    last = len(steps) - 1
    # A value above nothing is drawn above nothing.
    signs = (steps[max(1, round(value / top * last)) if value > 0 else 0] for value in shown)
    return "".join(signs).rjust(width)


@dataclass(slots=True)
class History:
    """Values at a fixed step of time, whatever the pace they come at. Each step keeps its highest."""

    step_s: float = 2.0
    values: deque[float] = field(default_factory=lambda: deque(maxlen=256))
    _slot: int | None = None

    def put(self, now: float, value: float) -> None:
        slot = int(now / self.step_s)
        if self._slot is None or slot < self._slot:
            self.values.append(value)
        elif slot == self._slot:
            self.values[-1] = max(self.values[-1], value)
        else:
            last = self.values[-1]
            missing = min(slot - self._slot - 1, self.values.maxlen or 0)
            # The node stays silent while nothing changes, so the gap was as the last value.
            self.values.extend([last] * missing)
            self.values.append(value)
        self._slot = slot
