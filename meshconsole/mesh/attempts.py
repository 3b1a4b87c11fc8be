"""The record of attempts: which rung named an address, when it was tried, and what came of it. Pure.

What stands here answers "why can't I see X". It is bounded: the newest MAX_ATTEMPTS of all addresses.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import msgspec

Source = Literal["mdns", "beacon", "cached", "invite", "peer", "gossip", "config", "dht"]
"""The rungs. "peer": said by the device itself on a link; "gossip": said by another one of the team."""

Outcome = Literal["", "trying", "linked", "failed", "stranger", "self"]

MAX_ATTEMPTS = 512


class Attempt(msgspec.Struct):
    """One dial. Times are in seconds on the ladder's clock. `npub` is "" while nobody knows."""

    source: Source
    address: str
    npub: str
    at: float
    outcome: Outcome = "trying"
    error: str = ""
    took_s: float = 0.0


class Attempts(msgspec.Struct):
    _all: deque[Attempt] = msgspec.field(default_factory=lambda: deque(maxlen=MAX_ATTEMPTS))
    _open: dict[str, Attempt] = msgspec.field(default_factory=dict)

    def begin(self, source: Source, address: str, npub: str, now: float) -> None:
        attempt = Attempt(source, address, npub, now)
        self._open[address] = attempt
        self._all.append(attempt)

    def end(self, address: str, outcome: Outcome, now: float, *, npub: str = "", error: str = "") -> None:
        attempt = self._open.pop(address, None)
        if attempt is not None:
            attempt.outcome, attempt.error = outcome, error
            attempt.npub = npub or attempt.npub
            attempt.took_s = now - attempt.at

    def of(self, npub: str = "") -> tuple[Attempt, ...]:
        """The newest first; of one peer, or of all."""
        return tuple(attempt for attempt in reversed(self._all) if not npub or attempt.npub == npub)
