"""Heartbeat: is the other side alive, how far away is it, and does it hear us? Pure.

Each side sends a ping every PING_S seconds, answers every ping with a pong (round-trip time), and says
in each ping the newest ping it heard from the other. So both know whether their words arrive, also
when only one direction works. Any bytes count as a sign of life. Times are in seconds, monotonic.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

PING_S = 3.0
SUSPECT_S = 10.0
GONE_S = 30.0
_REMEMBERED = 16
_ENOUGH = 4
"""Pings after which something can be said of loss."""


@dataclass(slots=True)
class Heartbeat:
    """One side of one link. `started` is when the link was opened."""

    started: float
    last_heard: float = 0.0
    rtt_s: float | None = None
    newest_heard: int = 0
    """Number of the newest ping heard from the other."""
    _number: int = 0
    _next_ping: float = 0.0
    _sent: OrderedDict[int, float] = field(default_factory=OrderedDict)
    _last_confirmed: float | None = None
    """When the newest of our pings, of those the other says it heard, was sent."""
    _answered: int = 0
    """Number of the newest ping that was answered."""
    _in_time: deque[bool] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def __post_init__(self) -> None:
        self.last_heard = self._next_ping = self.started

    def heard(self, now: float) -> None:
        """Anything at all came from the other side."""
        self.last_heard = max(self.last_heard, now)

    def ping_due(self, now: float) -> int | None:
        """The number of the ping to send now, None if none is due."""
        return None if now < self._next_ping else self.ping(now)

    def ping(self, now: float) -> int:
        """The number of a ping that is sent now, due or not."""
        if self._number and now - self._sent[self._number] >= PING_S:
            self._in_time.append(self._answered >= self._number)
        self._next_ping = now + PING_S
        self._number += 1
        self._sent[self._number] = now
        if len(self._sent) > _REMEMBERED:
            self._sent.popitem(last=False)
        return self._number

    def ping_soon(self, now: float) -> None:
        """Asks for a ping at once: the network has changed."""
        self._next_ping = min(self._next_ping, now)

    def ping_received(self, number: int, heard: int, now: float) -> None:
        """The other's ping, and the newest of ours that it says it heard."""
        self.heard(now)
        self.newest_heard = max(self.newest_heard, number)
        self._confirm(heard)

    def pong_received(self, number: int, now: float) -> float | None:
        """How long that ping and its answer were under way; None for an answer to nothing."""
        self.heard(now)
        self._answered = max(self._answered, number)
        sent = self._sent.get(number)
        if sent is None:
            return None
        sample = max(0.0, now - sent)
        # Smoothed as TCP does (RFC 6298 §2): one slow answer must not look like a slow link.
        self.rtt_s = sample if self.rtt_s is None else 0.875 * self.rtt_s + 0.125 * sample
        self._confirm(number)
        return sample

    @property
    def loss_percent(self) -> float | None:
        """Of the last sixteen pings, those that were not answered before the next was due. The pipes repeat
        what is lost, so this is how loss shows to whoever uses them; None before a few were sent."""
        if len(self._in_time) < _ENOUGH:
            return None
        return round(100 * self._in_time.count(False) / len(self._in_time), 1)

    def hears_us(self, now: float) -> bool | None:
        """None until the other has spoken of our pings for the first time or had time to."""
        if self._last_confirmed is not None:
            return now - self._last_confirmed < SUSPECT_S + PING_S
        return None if now - self.started < SUSPECT_S else False

    def is_suspect(self, now: float) -> bool:
        return now - self.last_heard >= SUSPECT_S

    def is_gone(self, now: float) -> bool:
        return now - self.last_heard >= GONE_S

    def next_timer(self) -> float:
        """When to call `ping_due` and `is_gone` again."""
        return min(self._next_ping, self.last_heard + GONE_S)

    def _confirm(self, number: int) -> None:
        sent = self._sent.get(number)
        if sent is not None and (self._last_confirmed is None or sent > self._last_confirmed):
            self._last_confirmed = sent
