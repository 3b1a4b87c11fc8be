"""Refused connections, told in the audit log without letting a stranger fill it. Pure."""

from __future__ import annotations

EVERY_S = 600.0
MAX_REASONS = 64


class RefusalDigest:
    """Of each reason at most one record in ten minutes; it says how often the reason came since the last."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, int]] = {}

    def note(self, reason: str, now: float) -> int:
        """How many refusals are to be recorded now, 0 for none yet. `now` is monotonic seconds."""
        if reason not in self._seen and len(self._seen) >= MAX_REASONS:
            reason = "other"
        last, kept = self._seen.get(reason, (-EVERY_S, 0))
        if now - last < EVERY_S:
            self._seen[reason] = (last, kept + 1)
            return 0
        self._seen[reason] = (now, 0)
        return kept + 1
