"""The bandwidth that the owner allows: for all links and clients together, and for each of them."""

from __future__ import annotations

import asyncio
import time

from meshconsole.core.limits import TokenBucket

BYTES_PER_MEGABIT = 1_000_000 / 8
BURST_S = 0.25
"""How much of a second's bandwidth may be used at once after a silence."""


class _Buckets:
    """One for each direction."""

    def __init__(self, mbps: float) -> None:
        self.out = TokenBucket(0.0, 0.0)
        self.into = TokenBucket(0.0, 0.0)
        self.set_limit(mbps)

    def set_limit(self, mbps: float) -> None:
        rate = mbps * BYTES_PER_MEGABIT
        self.out.set_rate(rate, rate * BURST_S)
        self.into.set_rate(rate, rate * BURST_S)


class Bandwidth:
    """All together. Waits rather than drops. Limits are in megabits (10^6) per second, 0 is none."""

    def __init__(self, mbps: float, link_mbps: float = 0.0) -> None:
        self._buckets = _Buckets(mbps)
        self.link_mbps = link_mbps
        """Of each link and each client, in each direction."""
        self.bytes_out = 0
        self.bytes_in = 0

    def set_limits(self, mbps: float, link_mbps: float) -> None:
        """For what is open, too."""
        self._buckets.set_limit(mbps)
        self.link_mbps = link_mbps

    async def wait_out(self, count: int) -> None:
        """Before sending `count` bytes."""
        self.bytes_out += count
        await _wait(self._buckets.out, count)

    def try_out(self, count: int) -> bool:
        """Takes the bytes if they may pass now; saves those who need not wait a task switch."""
        if not self._buckets.out.try_take(count, time.monotonic()):
            return False
        self.bytes_out += count
        return True

    def try_in(self, count: int) -> bool:
        """As `try_out`, for what was received."""
        if not self._buckets.into.try_take(count, time.monotonic()):
            return False
        self.bytes_in += count
        return True

    async def wait_in(self, count: int) -> None:
        """After receiving `count` bytes and before reading more: TCP slows the sender down."""
        self.bytes_in += count
        await _wait(self._buckets.into, count)

    def of_one(self) -> OneBandwidth:
        """The meter of one more link or client: its own limit, and that of all together."""
        return OneBandwidth(self)


class OneBandwidth:
    """As `Bandwidth`, for one link or client."""

    def __init__(self, together: Bandwidth) -> None:
        self._together = together
        self._limit = 0.0
        self._buckets: _Buckets | None = None

    async def wait_out(self, count: int) -> None:
        own = self._own()
        if own is not None:
            await _wait(own.out, count)
        await self._together.wait_out(count)

    def try_out(self, count: int) -> bool:
        own = self._own()
        if own is None:
            return self._together.try_out(count)
        now = time.monotonic()
        if own.out.delay(now) > 0 or not self._together.try_out(count):
            return False
        own.out.take(count, now)
        return True

    def try_in(self, count: int) -> bool:
        own = self._own()
        if own is None:
            return self._together.try_in(count)
        now = time.monotonic()
        if own.into.delay(now) > 0 or not self._together.try_in(count):
            return False
        own.into.take(count, now)
        return True

    async def wait_in(self, count: int) -> None:
        own = self._own()
        if own is not None:
            await _wait(own.into, count)
        await self._together.wait_in(count)

    def _own(self) -> _Buckets | None:
        """None while there is no limit."""
        limit = self._together.link_mbps
        if limit != self._limit:
            self._limit = limit
            if self._buckets is None:
                self._buckets = _Buckets(limit)
            self._buckets.set_limit(limit)
        return self._buckets if limit else None


async def _wait(bucket: TokenBucket, count: int) -> None:
    now = time.monotonic()
    delay = bucket.delay(now)
    bucket.take(count, now)
    if delay:
        await asyncio.sleep(delay)
