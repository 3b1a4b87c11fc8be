"""How much memory the relay takes, by performance mode: the embedded event store's, and events under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from meshconsole.core.sections import PerformanceMode


class Caches(NamedTuple):
    writer_kib: int
    """Enough that the ends of the indexes stay in it: each page that does not is decrypted to be changed."""

    prompt_kib: int
    """Pages of the one reader that answers most questions."""

    hot_kib: int
    """Events that it read lately."""

    reader_kib: int
    """Pages of each other reader. With 1 MB, queries over 100,000 events cost a fifth more than with 4, the
    newest of a kind four times as much."""


REST_BYTES = 60_000_000
"""What a node takes beside them: programs, connections, what is under way."""

CACHES: dict[PerformanceMode, Caches] = {
    "saver": Caches(2048, 1024, 2048, 1024),  # memory is dearer here than 27 us per event
    "balanced": Caches(8192, 8192, 16384, 4096),
    "full": Caches(8192, 16384, 65536, 4096),
}

OFFERED: dict[PerformanceMode, int] = {"saver": 32, "balanced": 256, "full": 256}
"""Events of one client that may wait for their OK; beyond it the client is not read. With eight busy clients,
32 take 7 MB less than 256, and a twentieth of the rate."""


def caches_within(mode: PerformanceMode, memory_bytes: int) -> Caches:
    """Those of the mode, smaller where the owner's memory would not do for them; 0 is no limit. Never less
    than those of `saver`."""
    wanted, least = CACHES[mode], CACHES["saver"]
    if not memory_bytes:
        return wanted
    share = (memory_bytes - REST_BYTES) / 2 / (1024 * sum(wanted))
    return Caches(*(max(low, min(kib, int(kib * share))) for kib, low in zip(wanted, least, strict=True)))
