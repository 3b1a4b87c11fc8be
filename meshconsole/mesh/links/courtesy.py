"""Whose turn it is: data channels share one interpreter with everything else that a node does. Pure.

SCTP is Python here, and a channel at full speed leaves the relay 40 % of what it does alone. So while clients
wait, all channels together work for at most a SHARE of the time: after a stretch of work comes a pause.
Nobody is slowed down while nobody waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SHARE = 0.25
STRETCH_S = 0.004
"""Of work, before a pause: short, so that what is urgent does not wait for long either."""
LONGEST_S = 0.05
"""Of pauses: far below the least retransmission timeout."""


class Courtesy:
    """`is_needed` says whether anybody waits. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.is_needed: Callable[[], bool] = _never
        self._worked = 0.0
        self._until = 0.0

    def worked(self, seconds: float, now: float) -> None:
        """A channel was busy for so long."""
        self._worked += seconds
        if self._worked >= STRETCH_S:
            pause = min(LONGEST_S, self._worked * (1 / SHARE - 1))
            self._until = now + pause if self.is_needed() else 0.0
            self._worked = 0.0

    def pause(self, now: float) -> float:
        """How long a channel must wait before it works again."""
        return max(0.0, self._until - now) if self._until and self.is_needed() else 0.0


def _never() -> bool:
    return False


COURTESY = Courtesy()
"""Of all channels of this process."""
