"""How much memory the embedded event store takes, by performance mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from meshconsole.core.config import PerformanceMode


class Caches(NamedTuple):
    writer_kib: int
    """Enough that the ends of the indexes stay in it: each page that does not is decrypted to be changed."""

    prompt_kib: int
    """Pages of the one reader that answers most questions."""

    hot_kib: int
    """Events that it read lately."""


REST_BYTES = 60_000_000
"""What a node takes beside them: programs, connections, what is under way."""

CACHES: dict[PerformanceMode, Caches] = {
    "saver": Caches(2048, 1024, 2048),  # memory is dearer here than 27 us per event
    "balanced": Caches(8192, 8192, 16384),
    "full": Caches(8192, 16384, 65536),
}


def caches_within(mode: PerformanceMode, memory_bytes: int) -> Caches:
    """Those of the mode, smaller where the owner's memory would not do for them; 0 is no limit. Never less
    than those of `saver`."""
    wanted, least = CACHES[mode], CACHES["saver"]
    if not memory_bytes:
        return wanted
    share = (memory_bytes - REST_BYTES) / 2 / (1024 * sum(wanted))
    return Caches(*(max(low, min(kib, int(kib * share))) for kib, low in zip(wanted, least, strict=True)))
