"""Time without internet: what this machine's clock is worth, how far peers' clocks are, and which time to
act by. Pure.

The laws:

1. Nothing is decided by wall time alone. Who belongs, what is newer in a log and what a peer lacks never
   ask a clock; where a time is needed (NIP-40, windows of `created_at`, the date of a new note), it is
   `time()`.
2. A better clock is never overruled by worse ones: one that follows NTP or a satellite is believed, a
   battery's gives way to the median of three peers or more, one that nobody has set to any peer's.
3. Only what a peer says of its own clock counts, told over its own link: never a time in a message, never
   what `time()` made of it. So a wrong clock goes no further than the machine it is in, and those without
   a clock of their own do not count at all.
4. New notes of one author never go back in time, and go a little ahead where they answer something that is
   dated ahead (a hybrid logical clock, of one second): an answer is shown after what it answers, unless
   clocks are MAX_AHEAD_S apart.

Times are seconds since the epoch, `now` seconds on a monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.reachability import OLDEST_CREDIBLE_TIME
from meshconsole.core.status import CLOCK_QUALITIES, ClockQuality

if TYPE_CHECKING:
    from collections.abc import Callable

ENOUGH_PEERS = 3
WORTH_CORRECTING_S = 30.0
FRESH_S = 600.0
MAX_AHEAD_S = 120


class Heard(msgspec.Struct, frozen=True):
    """A peer's clock minus this one, when that was heard, and what the peer holds of its clock."""

    offset_s: float
    at: float
    quality: ClockQuality


@dataclass(slots=True)
class TeamClock:
    """`wall` is the machine's clock, `machine` what is known of it, `now` monotonic."""

    wall: Callable[[], float]
    machine: Callable[[], ClockQuality]
    now: Callable[[], float]
    _heard: dict[str, Heard] = field(default_factory=dict)
    _newest: int = 0
    """The latest date of what was written or taken in here, as far as it is credible."""

    @property
    def quality(self) -> ClockQuality:
        """Of the machine's clock by itself; this is what peers are told."""
        return "none" if self.wall() < OLDEST_CREDIBLE_TIME else self.machine()

    @property
    def effective(self) -> ClockQuality:
        """Of `time()`."""
        quality = self.quality
        return "net" if self.correction_s and _rank(quality) < _rank("net") else quality

    def heard(self, peer: str, offset_s: float, quality: ClockQuality) -> None:
        self._heard[peer] = Heard(offset_s, self.now(), quality)

    def known_of(self, peer: str) -> Heard | None:
        """None while it is not known any more."""
        heard = self._heard.get(peer)
        return heard if heard is not None and self.now() - heard.at < FRESH_S else None

    @property
    def off_by_s(self) -> float | None:
        """How far the peers' clocks are ahead of this one, as their median; None if too few are known."""
        offsets = self._offsets()
        return _median(offsets) if len(offsets) >= ENOUGH_PEERS else None

    @property
    def correction_s(self) -> float:
        """What `time()` adds to the machine's clock."""
        quality = self.quality
        if _rank(quality) >= _rank("ntp"):
            return 0.0
        offsets = self._offsets()
        if len(offsets) < (1 if quality == "none" else ENOUGH_PEERS):
            return 0.0
        off = _median(offsets)
        return off if abs(off) >= WORTH_CORRECTING_S else 0.0

    @property
    def complaint(self) -> str:
        """What is wrong with this machine's clock, for its owner; "" for nothing that is known."""
        correction, off = self.correction_s, self.off_by_s
        if correction:
            text = f"This machine's clock is wrong by {_duration(correction)}; that of its peers is used."
        elif self.wall() < OLDEST_CREDIBLE_TIME:
            text = "This machine's clock was never set, and no peer is there to ask."
        elif off is not None and abs(off) >= WORTH_CORRECTING_S:
            text = f"This machine's clock differs by {_duration(off)} from the middle of its peers'."
        else:
            text = ""
        return text

    def time(self) -> float:
        """The time to act by."""
        return self.wall() + self.correction_s if self._heard else self.wall()

    def stamp(self) -> int:
        """The date of something new, written here now."""
        now = int(self.time())
        self._newest = max(now, min(self._newest, now + MAX_AHEAD_S))
        return self._newest

    def saw(self, created_at: int) -> None:
        """A note of that date was taken in."""
        if self._newest < created_at <= self.time() + MAX_AHEAD_S:
            self._newest = created_at

    def _offsets(self) -> list[float]:
        now = self.now()
        return [
            heard.offset_s
            for heard in self._heard.values()
            if now - heard.at < FRESH_S and heard.quality != "none"
        ]


def _median(offsets: list[float]) -> float:
    from statistics import median  # a third of a megabyte, which a node without peers does without

    return median(offsets)


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(abs(seconds))))


def _rank(quality: ClockQuality) -> int:
    return CLOCK_QUALITIES.index(quality)
