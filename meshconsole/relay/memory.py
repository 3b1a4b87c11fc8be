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


CACHES: dict[PerformanceMode, Caches] = {
    "saver": Caches(2048, 1024, 2048),  # memory is dearer here than 27 us per event
    "balanced": Caches(8192, 8192, 16384),
    "full": Caches(8192, 16384, 65536),
}
