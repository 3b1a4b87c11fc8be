"""How often Python looks for objects that only refer to each other."""

from __future__ import annotations

import gc

RARELY = (50_000, 20, 50)


def collect_rarely() -> None:
    """A start makes many objects and no cycles, and so does a relay under load: with Python's own thresholds,
    looking for some was a tenth of the start and a twentieth of the relay's time."""
    gc.set_threshold(*RARELY)
