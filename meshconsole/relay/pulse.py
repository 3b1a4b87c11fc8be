"""Is anybody there? What is to be done about a client that says nothing or takes nothing. Pure.

A client is looked at from time to time; what it did since the last look is read off counters, so that
nothing is done for each message. Three things end a connection:
- half-open: nothing at all was heard for `ping_interval_s`, and no answer to the ping that followed;
- stuck: it owes more than a connection may, and has not taken it down once in `write_timeout_s`;
- idle: no subscription is open, and no message came for `idle_timeout_s`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from meshconsole.core.verdict import Verdict, refuse

if TYPE_CHECKING:
    from meshconsole.core.sections import LimitsSection


class Signs(NamedTuple):
    """What can be seen of a connection now."""

    bytes_in: int
    messages: int
    """Ever received."""
    drained: int
    """How often it has caught up with what it was sent."""
    owes: bool
    """Its write buffer is above the mark."""
    is_held: bool
    """It is not read at present, so its silence says nothing."""
    is_busy: bool
    """A subscription is open, or something of it is under way."""


PING: Literal["ping"] = "ping"


class Pulse:
    """One client. `now` is monotonic, in seconds; `started` is when the connection was made."""

    __slots__ = ("_drained", "_drained_at", "_heard", "_heard_at", "_pinged_at", "_said", "_said_at")

    def __init__(self, started: float) -> None:
        self._heard = self._said = self._drained = 0
        self._heard_at = self._said_at = self._drained_at = started
        self._pinged_at: float | None = None

    def look(self, signs: Signs, limits: LimitsSection, now: float) -> Verdict | Literal["ping"] | None:
        """A refusal ends the connection; "ping" asks for one."""
        return (
            self._look_at_writing(signs, limits, now)
            or self._look_at_speech(signs, limits, now)
            or self._look_at_life(signs, limits, now)
        )

    def owing_for(self, now: float) -> float:
        """Seconds since it was last seen to have caught up."""
        return now - self._drained_at

    def _look_at_writing(self, signs: Signs, limits: LimitsSection, now: float) -> Verdict | None:
        if not signs.owes or signs.drained != self._drained:
            self._drained, self._drained_at = signs.drained, now
        elif limits.write_timeout_s and now - self._drained_at >= limits.write_timeout_s:
            return refuse("error", f"too slow: nothing was read for {limits.write_timeout_s} s")
        return None

    def _look_at_speech(self, signs: Signs, limits: LimitsSection, now: float) -> Verdict | None:
        if signs.is_busy or signs.is_held or signs.messages != self._said:
            self._said, self._said_at = signs.messages, now
        elif limits.idle_timeout_s and now - self._said_at >= limits.idle_timeout_s:
            return refuse("error", f"idle: no subscription and no message for {limits.idle_timeout_s} s")
        return None

    def _look_at_life(
        self, signs: Signs, limits: LimitsSection, now: float
    ) -> Verdict | Literal["ping"] | None:
        if signs.is_held or signs.bytes_in != self._heard:
            self._heard, self._heard_at, self._pinged_at = signs.bytes_in, now, None
            return None
        if not limits.ping_interval_s:
            return None
        if self._pinged_at is None:
            if now - self._heard_at < limits.ping_interval_s:
                return None
            self._pinged_at = now
            return PING
        if now - self._pinged_at >= limits.ping_timeout_s:
            return refuse("error", f"no answer to a ping for {limits.ping_timeout_s} s")
        return None
