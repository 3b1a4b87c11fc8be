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
4. What peers have said holds when they are gone: the correction is kept, as long as nobody sets this clock.
   A machine whose clock nobody sets goes on from the time that this node was sure of last, restarts included
   (`goes_on_from`): what has expired for it does not come back. That time may be wrong, told by one wrong
   peer: ENOUGH_PEERS, or one whose clock follows NTP or a satellite, overrule it.
5. New notes of one author never go back in time, and go a little ahead where they answer something that is
   dated ahead (a hybrid logical clock, of one second): an answer is shown after what it answers, unless
   clocks are MAX_AHEAD_S apart.

Times are seconds since the epoch, `now` seconds on a monotonic clock.
"""

from __future__ import annotations

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


class Kept(msgspec.Struct, frozen=True):
    """The last correction by peers, and how far the wall clock was ahead of the monotonic one then."""

    correction_s: float
    ahead_s: float


class TeamClock(msgspec.Struct):
    """`wall` is the machine's clock, `machine` what is known of it, `now` monotonic."""

    wall: Callable[[], float]
    machine: Callable[[], ClockQuality]
    now: Callable[[], float]
    _heard: dict[str, Heard] = msgspec.field(default_factory=dict)
    _kept: Kept | None = None
    _sure: tuple[float, float] | None = None
    """A time that has passed, and when it was that or later."""
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
        is_by_peers = self._by_peers(quality) and _rank(quality) < _rank("net")
        return "net" if is_by_peers else quality

    @property
    def sure(self) -> float | None:
        """The time, if it is good enough to go on from after a restart."""
        return self.time() if _rank(self.effective) >= _rank("net") else None

    def goes_on_from(self, earliest: float) -> None:
        """It is at least that late now: where nobody sets this machine's clock, time begins there."""
        if earliest > 0:
            self._sure = earliest, self.now()

    def heard(self, peer: str, offset_s: float, quality: ClockQuality) -> None:
        self._heard[peer] = Heard(offset_s, self.now(), quality)
        off = self._by_those_there(self.quality)
        if off is not None:
            self._kept = Kept(off, self.wall() - self.now())
            if self._sure is not None and self._know_better():
                self._sure = self.wall() + off, self.now()

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
        off = self._by_peers(quality)
        if quality == "none" and self._sure is not None:
            earliest, at = self._sure
            off = max(off, earliest + self.now() - at - self.wall())
        return off

    @property
    def complaint(self) -> str:
        """What is wrong with this machine's clock, for its owner; "" for nothing that is known."""
        correction, off = self.correction_s, self.off_by_s
        if self._by_peers(self.quality):
            text = f"This machine's clock is wrong by {_duration(correction)}; that of its peers is used."
        elif correction:
            text = "This machine's clock was never set; time goes on from when this node was sure of it last."
        elif self.wall() < OLDEST_CREDIBLE_TIME:
            text = "This machine's clock was never set, and no peer is there to ask."
        elif off is not None and abs(off) >= WORTH_CORRECTING_S:
            text = f"This machine's clock differs by {_duration(off)} from the middle of its peers'."
        else:
            text = ""
        return text

    def time(self) -> float:
        """The time to act by."""
        is_own = not self._heard and self._sure is None
        return self.wall() if is_own else self.wall() + self.correction_s

    def stamp(self) -> int:
        """The date of something new, written here now."""
        now = int(self.time())
        self._newest = max(now, min(self._newest, now + MAX_AHEAD_S))
        return self._newest

    def saw(self, created_at: int) -> None:
        """A note of that date was taken in."""
        if self._newest < created_at <= self.time() + MAX_AHEAD_S:
            self._newest = created_at

    def _by_peers(self, quality: ClockQuality) -> float:
        if _rank(quality) >= _rank("ntp"):
            return 0.0
        off = self._by_those_there(quality)
        if off is None:
            off = self._by_those_before(quality)
        return off if abs(off) >= WORTH_CORRECTING_S else 0.0

    def _by_those_there(self, quality: ClockQuality) -> float | None:
        """None if they are too few."""
        offsets = self._offsets()
        return _median(offsets) if len(offsets) >= (1 if quality == "none" else ENOUGH_PEERS) else None

    def _by_those_before(self, quality: ClockQuality) -> float:
        if self._kept is None:
            return 0.0
        off, was_ahead = self._kept.correction_s, self._kept.ahead_s
        set_by_s = self.wall() - self.now() - was_ahead
        if set_by_s > -WORTH_CORRECTING_S:
            # A monotonic clock does not count the time that a machine sleeps; else somebody has set it right.
            return 0.0 if abs(off - set_by_s) < WORTH_CORRECTING_S else off
        return off - set_by_s if quality == "none" else 0.0

    def _know_better(self) -> bool:
        """Whether peers are to be believed rather than what was sure before a restart."""
        there = self._there()
        return len(there) >= ENOUGH_PEERS or any(_rank(heard.quality) >= _rank("ntp") for heard in there)

    def _offsets(self) -> list[float]:
        return [heard.offset_s for heard in self._there()]

    def _there(self) -> list[Heard]:
        now = self.now()
        return [h for h in self._heard.values() if now - h.at < FRESH_S and h.quality != "none"]


def _median(offsets: list[float]) -> float:
    from statistics import median  # a third of a megabyte, which a node without peers does without

    return median(offsets)


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(abs(seconds))))


def _rank(quality: ClockQuality) -> int:
    return CLOCK_QUALITIES.index(quality)
