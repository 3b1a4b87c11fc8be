"""Whether another device can be reached, by which path, and why not: what `ping`, `trace`, `why` and
`netcheck` show. Frozen, and never a secret. Pure.
"""

from __future__ import annotations

from typing import Literal

from meshconsole.core.status import Frozen, PathName

OLDEST_CREDIBLE_TIME = 1_760_000_000
"""Seconds since the epoch, before this version was written: a clock that shows less was never set."""

Outcome = Literal["good", "note", "bad"]
Cause = Literal[
    "",
    "radio-silence",
    "revoked",
    "other-team",
    "one-way",
    "port-blocked",
    "dead-turn",
    "multicast-filtered",
    "clock",
]
"""Only what is proven has a name. "" with a device that is not reached: nothing was proven."""


class Finding(Frozen, frozen=True):
    """One check's outcome. "bad" is what keeps a node from working; "note" what limits it."""

    check: str
    outcome: Outcome
    text: str
    remedy: str = ""


class Pong(Frozen, frozen=True):
    """One echo that came back. `via` are the names of the devices between, nearest first."""

    npub: str
    name: str
    rtt_ms: float
    via: tuple[str, ...] = ()
    path: PathName = ""
    address: str = ""
    """Of the link that it went out on."""
    clock_offset_s: float | None = None
    """How far the other clock is ahead of this one, half the round trip taken for the way back."""


class Hop(Frozen, frozen=True):
    """One device on the way. `rtt_ms` is None if it passed an echo on but did not answer one itself."""

    npub: str
    name: str
    rtt_ms: float | None = None


class Diagnosis(Frozen, frozen=True):
    """Why a device is not here, or what is wrong with the way to it. `evidence` are sentences."""

    who: str
    npub: str
    is_linked: bool
    cause: Cause
    sentence: str
    remedy: str = ""
    evidence: tuple[str, ...] = ()
