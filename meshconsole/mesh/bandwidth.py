"""What a link can carry, found from how it behaves: everything, events only, or flash only. Pure.

The rate counts only while something waits to be sent all the time; the round trip counts always. A link
is called poor after POOR_SAMPLES in a row, and good again at once when it is seen to carry much, or after
it has answered quickly for a while: then it is tried. A try that fails makes the next one wait twice as
long, so that a link at the edge does not go to and fro. Times are seconds, rates bytes per second.
"""

from __future__ import annotations

from collections import deque

import msgspec

from meshconsole.core.status import LINK_CLASSES, LinkClass

POOR_SAMPLES = 5
GOOD_SAMPLES = 3
EVENTS_BELOW = 16_000
FLASH_BELOW = 500
"""Less than one event a second."""
EVENTS_RTT_S = 3.0
FLASH_RTT_S = 8.0
TRY_FIRST_S = 30.0
TRY_LAST_S = 900.0
RELAPSE_S = 60.0


class Bandwidth(msgspec.Struct):
    carries: LinkClass = "full"
    _rates: deque[float] = msgspec.field(default_factory=lambda: deque(maxlen=3))
    """Of the newest samples in which it was busy."""
    _at: float | None = None
    _sent: int = 0
    _waited: bool = False
    _poor: int = 0
    _good: int = 0
    _since: float = 0.0
    """When it became what it is."""
    _calm_since: float | None = None
    _try_after: float = TRY_FIRST_S

    def sample(self, now: float, sent: int, *, waiting: bool, rtt_s: float | None) -> LinkClass:
        """Once a second or so. `sent` counts bytes since the link began, `waiting`: more is to be sent."""
        if self._at is not None and now > self._at:
            if waiting and self._waited:
                self._rates.append((sent - self._sent) / (now - self._at))
                self._judge(now, rtt_s, busy=True)
            else:
                self._judge(now, rtt_s, busy=False)
        self._at, self._sent, self._waited = now, sent, waiting
        return self.carries

    def _judge(self, now: float, rtt_s: float | None, *, busy: bool) -> None:
        place = LINK_CLASSES.index(self.carries)
        rate = sum(self._rates) / len(self._rates) if busy else None
        seen = max(_by_rtt(rtt_s), _by_rate(rate))
        self._poor = self._poor + 1 if seen > place else 0
        much = rate is not None and rate >= 2 * EVENTS_BELOW
        self._good = self._good + 1 if much and seen < place else 0
        calm = seen < place and (rtt_s is None or rtt_s < EVENTS_RTT_S / 2)
        self._calm_since = None if not calm else now if self._calm_since is None else self._calm_since
        if self._poor >= POOR_SAMPLES:
            relapsed = place == 0 and now - self._since < RELAPSE_S and self._since > 0
            self._try_after = min(TRY_LAST_S, 2 * self._try_after) if relapsed else self._try_after
            self._become(now, seen)
        elif self._good >= GOOD_SAMPLES:
            self._try_after = TRY_FIRST_S
            self._become(now, seen)
        elif self._calm_since is not None and now - self._calm_since >= self._try_after:
            self._become(now, place - 1)

    def _become(self, now: float, place: int) -> None:
        self.carries = LINK_CLASSES[place]
        self._since, self._poor, self._good, self._calm_since = now, 0, 0, None
        self._rates.clear()


def _by_rate(rate: float | None) -> int:
    if rate is None or rate >= EVENTS_BELOW:
        return 0
    return 1 if rate >= FLASH_BELOW else 2


def _by_rtt(rtt_s: float | None) -> int:
    if rtt_s is None or rtt_s < EVENTS_RTT_S:
        return 0
    return 1 if rtt_s < FLASH_RTT_S else 2
