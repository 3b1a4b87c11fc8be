"""Limits as machines without a clock: token buckets and gauges. Pure; `now` is in seconds."""

from __future__ import annotations

import msgspec


class TokenBucket(msgspec.Struct):
    """A bucket that fills at `rate` units per second up to `burst`. A rate of 0 means unlimited.

    `take` may overdraw (a frame is never split); the debt is waited out by the next caller, so the
    long-run rate holds exactly.
    """

    rate: float
    burst: float
    level: float = -1.0
    updated: float = -1.0

    def delay(self, now: float) -> float:
        """Seconds until the next unit may be taken; 0.0 when it may be taken now."""
        if self.rate <= 0:
            return 0.0
        self._fill(now)
        return 0.0 if self.level > 0 else -self.level / self.rate + 1e-6

    def take(self, units: float, now: float) -> None:
        if self.rate <= 0:
            return
        self._fill(now)
        self.level -= units

    def try_take(self, units: float, now: float) -> bool:
        """Takes the units if the bucket is above zero; for limits that refuse instead of waiting."""
        if self.delay(now) > 0:
            return False
        self.take(units, now)
        return True

    def set_rate(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self.level = min(self.level, burst)

    def _fill(self, now: float) -> None:
        if self.updated < 0:
            self.level, self.updated = self.burst, now
            return
        if now > self.updated:
            self.level = min(self.burst, self.level + (now - self.updated) * self.rate)
            self.updated = now
