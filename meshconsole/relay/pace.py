"""How fast a key, and how fast each kind of event, may come from one client over all its connections. Pure.

The rate of a single connection is its session's. Here the buckets are shared: whoever opens more
connections gets no more. Buckets of those who came longest ago are forgotten first, and a full bucket
is what a forgotten one would be, so memory is bounded and forgetting is harmless but for a flood of
logged-in keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from meshconsole.core.limits import TokenBucket
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from meshconsole.core.sections import RelaySection

MAX_BUCKETS = 8192
BURST = 0.25
"""Of a minute's events, this part may come at once."""


class KindRate(NamedTuple):
    first: int
    last: int
    per_minute: int

    @property
    def kinds(self) -> str:
        """In words."""
        return f"kind {self.first}" if self.first == self.last else f"kinds {self.first} to {self.last}"


class Pace:
    """`now` is monotonic, in seconds; `source` is the network of a client that has not logged in."""

    def __init__(self, config: RelaySection) -> None:
        self._buckets: dict[Hashable, TokenBucket] = {}
        self.apply(config)

    def apply(self, config: RelaySection) -> None:
        self._key_rate = config.key_events_per_minute if config.rate_limits else 0
        rates = config.kind_events_per_minute if config.rate_limits else ()
        self._kind_rates = tuple(parse_kind_rate(rate) for rate in rates)
        self._buckets.clear()

    @property
    def is_set(self) -> bool:
        return bool(self._key_rate or self._kind_rates)

    def __len__(self) -> int:
        return len(self._buckets)

    def offer(self, npubs: Sequence[str], now: float) -> Verdict:
        """Before an event is read: may another one come with these proven keys?"""
        if self._key_rate and npubs and not self._take([(npub, -1) for npub in npubs], self._key_rate, now):
            return refuse("rate-limited", f"at most {self._key_rate} events a minute with one key")
        return ACCEPTED

    def kind(self, kind: int, npubs: Sequence[str], source: str, now: float) -> Verdict:
        """Once an event is known to be genuine."""
        for number, rate in enumerate(self._kind_rates):
            if rate.first <= kind <= rate.last:
                names = [(name, number) for name in npubs or (source,)]
                if not self._take(names, rate.per_minute, now):
                    sentence = f"at most {rate.per_minute} events of {rate.kinds} a minute from one client"
                    return refuse("rate-limited", sentence)
        return ACCEPTED

    def _take(self, names: Sequence[Hashable], per_minute: int, now: float) -> bool:
        """From the buckets of all names, or from none."""
        buckets = [self._bucket(name, per_minute) for name in names]
        if any(bucket.delay(now) > 0 for bucket in buckets):
            return False
        for bucket in buckets:
            bucket.take(1, now)
        return True

    def _bucket(self, name: Hashable, per_minute: int) -> TokenBucket:
        bucket = self._buckets.pop(name, None)
        if bucket is None:
            bucket = TokenBucket(per_minute / 60, max(1.0, per_minute * BURST))
            if len(self._buckets) >= MAX_BUCKETS:
                del self._buckets[next(iter(self._buckets))]
        self._buckets[name] = bucket
        return bucket


def parse_kind_rate(text: str) -> KindRate:
    """ "7=120" or "30000-39999=60", as the configuration has checked it."""
    kinds, _, rate = text.partition("=")
    first, _, last = kinds.partition("-")
    return KindRate(int(first), int(last or first), int(rate))
