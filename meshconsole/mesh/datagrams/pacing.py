"""How fast datagrams go to one teammate, and when one that is not answered goes again. Pure.

Nobody below counts datagrams, so this does: the rate grows while answers come about as quickly as they ever
did, and falls when they take longer, since then something queues up on the way (the idea of LEDBAT, RFC 6817,
by round trips). Loss says nothing here: on a radio it is no sign of too much. What is not answered in the
time that answers take (RFC 6298 §2) goes again. Times are in seconds, rates in bytes per second.
"""

from __future__ import annotations

from math import inf

import msgspec

FIRST = 24_000.0
LEAST = 2_400.0
MOST = 40_000.0
GROWTH, DECAY = 1.1, 0.75
QUEUE_TIMES, QUEUE_S = 1.5, 0.3
"""Of the quickest answer, and beyond it: one that takes longer has waited in a queue."""
HEADERS = 50
"""Bytes of the layers below, about."""
BURST_S = 0.1
"""So much may be sent at once."""
LEAST_AGAIN_S, MOST_AGAIN_S = 0.08, 2.5
FIXED_AGAIN_S = 0.5
"""While nothing at all is answered: the way is dead for the moment, and this tells soonest when it is not."""
REORDERED_S = 0.03
LATELY_S = 4.0
"""Ways change: the quickest answer, and the most that came through, are of this time and as much before."""
KEPT = 0.75
"""Of what comes through: so much goes on whatever answers take."""
UNHEARD_S = 30.0
"""Without any answer for so long only LEAST is sent: perhaps nobody is there."""


class Pace(msgspec.Struct):
    rate: float = FIRST
    _again_s: float | None = None
    """None before the first answer has come."""
    _free_at: float = 0.0
    _took: float | None = None
    _varies: float = 0.0
    _quickest: tuple[float, float] = (inf, inf)
    """Of lately, and of the time before."""
    _most: tuple[float, float] = (0.0, 0.0)
    """Bytes per second that were answered for, likewise."""
    _delivered: int = 0
    _lately_since: float = 0.0
    _changed_at: float = 0.0
    _newest_answered: float = 0.0
    """When that was sent which was sent last of all that was answered."""
    _unheard_since: float | None = None
    _was_held_up: bool = False
    """The rate was all there was to have since it was changed."""

    def may_send(self, now: float) -> bool:
        if now < self.free_at:
            self._was_held_up = True
            return False
        return True

    @property
    def free_at(self) -> float:
        """When `may_send` is true again."""
        return self._free_at - BURST_S

    def sent(self, size: int, now: float) -> None:
        if now - self._free_at > 2 * LATELY_S:
            # What was found out may be of another way.
            self.rate, self._again_s, self._took = min(FIRST, self.rate), None, None
            self._unheard_since = None
        self._unheard_since = now if self._unheard_since is None else self._unheard_since
        is_heard = now - self._unheard_since < UNHEARD_S
        rate = self.rate if is_heard else LEAST
        self._free_at = max(now, self._free_at) + (size + HEADERS) / rate

    def again_s(self, times: int, otherwise_s: float, now: float) -> float:
        """How long to wait for an answer to what was sent so many times; `otherwise_s` says it while none has
        come to anything. Twice as long after each (RFC 6298 §5.5): answers may take longer than they did."""
        again_s = self._again_s or otherwise_s
        is_dead = self._unheard_since is not None and now - self._unheard_since > 2 * again_s
        return FIXED_AGAIN_S if is_dead else min(MOST_AGAIN_S, again_s * 2.0 ** min(times - 1, 10))

    def lost_at(self, sent_at: float) -> float | None:
        """When to send again what was sent then and is not answered, as something that was sent later is."""
        slack = max(REORDERED_S, 2 * self._varies)
        return sent_at + slack if sent_at + slack < self._newest_answered else None

    def heard(self, took_s: float | None, now: float, size: int = 0, *, is_sure: bool = True) -> None:
        """An answer came, so long after what it answers, of `size` bytes; not `is_sure` if that was sent more
        than once."""
        self._unheard_since = None
        self._came_through(size, now)
        if took_s is None:
            return
        if is_sure or (self._took is not None and took_s >= self._took):
            self._newest_answered = max(self._newest_answered, now - took_s)
        if not is_sure:
            return
        if self._took is None:
            self._took, self._varies = took_s, took_s / 2
        else:
            self._varies += (abs(took_s - self._took) - self._varies) / 4
            self._took += (took_s - self._took) / 8
        self._again_s = min(MOST_AGAIN_S, max(LEAST_AGAIN_S, 1.5 * self._took + 2 * self._varies))
        self._quickest = min(took_s, self._quickest[0]), self._quickest[1]
        self._judge(took_s, min(self._quickest), now)

    def _came_through(self, size: int, now: float) -> None:
        since = now - self._lately_since
        if since >= LATELY_S:
            is_fresh = since < 2 * LATELY_S
            self._quickest = inf, self._quickest[0] if is_fresh else inf
            self._most = 0.0, self._most[0] if is_fresh else 0.0
            self._delivered, self._lately_since = 0, now
        self._delivered += size + HEADERS if size else 0
        self._most = self._delivered / LATELY_S, self._most[1]

    def _judge(self, took_s: float, quickest: float, now: float) -> None:
        if not self._was_held_up:
            return  # whatever it waited for was not this
        if took_s > QUEUE_TIMES * quickest + QUEUE_S:
            if now - self._changed_at >= took_s:
                self._change(max(self.rate * DECAY, min(self.rate, KEPT * max(self._most))), now)
        elif now - self._changed_at >= max(quickest, BURST_S):
            self._change(self.rate * GROWTH, now)

    def _change(self, rate: float, now: float) -> None:
        self.rate, self._changed_at, self._was_held_up = min(MOST, max(LEAST, rate)), now, False
