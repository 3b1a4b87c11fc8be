"""Links that come and go, told in the audit log without letting them fill it. Pure.

Of what happens to a peer's links the first of each kind in a period is a record of its own: up by which
path, or down for which reason. Those after it are counted and told at the period's end, with the times
of the first and the last.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

PERIOD_S = 86_400.0
MAX_KINDS = 16
"""Of one peer; reasons are words that it may have chosen."""

OTHER = "other"


class _Repeats(msgspec.Struct):
    times: int = 0
    first: float = 0.0
    last: float = 0.0


class LinkDigest:
    def __init__(self) -> None:
        self._since: float | None = None
        self._seen: dict[str, dict[tuple[str, str], _Repeats]] = {}

    def note(self, device: str, act: str, why: str, now: float) -> bool:
        """Whether it is to be recorded by itself. `now` is seconds since the epoch."""
        if self._since is None:
            self._since = now
        kinds = self._seen.setdefault(device, {})
        if (act, why) not in kinds and len(kinds) >= MAX_KINDS:
            why = OTHER
        known = kinds.get((act, why))
        if known is None and why != OTHER:
            kinds[act, why] = _Repeats()
            return True
        known = kinds.setdefault((act, why), _Repeats())
        known.first = known.first if known.times else now
        known.last = now
        known.times += 1
        return False

    def is_due(self, now: float) -> bool:
        """Also when the clock was set back behind the period's begin."""
        return self._since is not None and not 0 <= now - self._since < PERIOD_S

    def take(self) -> list[dict[str, str]]:
        """What was counted, as details of records; a new period begins."""
        told = [
            {"device": device, "what": act, "why": why, "times": str(known.times)}
            | {"first": _moment(known.first), "last": _moment(known.last)}
            for device, kinds in self._seen.items()
            for (act, why), known in kinds.items()
            if known.times
        ]
        self._since, self._seen = None, {}
        return told


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
