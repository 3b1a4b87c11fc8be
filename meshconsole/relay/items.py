"""A sorted vector of (time, id), as compact as it gets: 40 bytes an item, and sums of ranges. Pure.

Sums of ids (as little-endian numbers, mod 2**256) are what negentropy's fingerprints are made of. A
running total is kept for every BLOCK items, so the sum of any range costs two subtotals and less than
two blocks. Within a block all ids are added at once, as lanes of one long integer.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from itertools import islice
from operator import lt
from typing import TYPE_CHECKING, NamedTuple

from meshconsole.core.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Sequence

ID_BYTES = 32
MAX_TIME = (1 << 64) - 1
"""Stands for infinity; no item has it."""

BLOCK = 64
CHUNK = 4096
"""So many items are taken over at a time: they stay in the processor's cache."""


class Bound(NamedTuple):
    """The place before every item that is at or behind `time` and, of those with just this time, has
    an id that is not below `prefix`. NUL bytes are implied behind the prefix."""

    time: int
    prefix: bytes


class ItemVector:
    """`items` are (created_at, id of 32 bytes), ascending and without duplicates, else LocalError."""

    def __init__(self, items: Sequence[tuple[int, bytes]]) -> None:
        times, ids = array("Q"), bytearray()
        for start in range(0, len(items), CHUNK):
            chunk = items[max(0, start - 1) : start + CHUNK]
            if not all(map(lt, chunk, islice(chunk, 1, None))):
                raise LocalError("Items to be reconciled must be sorted, each one once.")
            fresh = chunk[1:] if start else chunk
            times.extend([time for time, _ in fresh])
            ids += b"".join([item_id for _, item_id in fresh])
            if {len(item_id) for _, item_id in fresh} != {ID_BYTES}:
                raise LocalError("An id has 32 bytes.")
        if times and times[-1] == MAX_TIME:
            raise LocalError("No item has the last of all times.")
        self._times = times
        self._ids = memoryview(ids)
        self._totals = [0]
        total = 0
        for start in range(0, len(times) - BLOCK + 1, BLOCK):
            total = (total + self._sum(start, start + BLOCK)) & _MASK
            self._totals.append(total)

    def __len__(self) -> int:
        return len(self._times)

    def ids(self, start: int, end: int) -> bytes:
        """The ids of a range, one after the other."""
        return self._ids[start * ID_BYTES : end * ID_BYTES].tobytes()

    def sum_of(self, start: int, end: int) -> int:
        """Of the ids as little-endian numbers, mod 2**256."""
        first, last = -(-start // BLOCK), end // BLOCK
        if first > last:  # within one block
            return self._sum(start, end)
        inner = self._totals[last] - self._totals[first]
        return inner + self._sum(start, first * BLOCK) + self._sum(last * BLOCK, end) & _MASK

    def lower_bound(self, bound: Bound, start: int = 0) -> int:
        """Index of the first item, from `start` on, that is not before `bound`."""
        low = bisect_left(self._times, bound.time, start)
        if not bound.prefix:
            return low
        high = bisect_right(self._times, bound.time, low)
        wanted = bound.prefix.ljust(ID_BYTES, b"\x00")
        while low < high:
            middle = (low + high) // 2
            if self.ids(middle, middle + 1) < wanted:
                low = middle + 1
            else:
                high = middle
        return low

    def bound_before(self, index: int) -> Bound:
        """The shortest bound that tells the item at `index` from the one before it."""
        time = self._times[index]
        if index == 0 or self._times[index - 1] != time:
            return Bound(time, b"")
        ours, others = self.ids(index, index + 1), self.ids(index - 1, index)
        same = next(place for place in range(ID_BYTES) if ours[place] != others[place])
        return Bound(time, ours[: same + 1])

    def _sum(self, start: int, end: int) -> int:
        """Of at most one block; 0 for none."""
        lanes = int.from_bytes(self._ids[start * ID_BYTES : end * ID_BYTES], "little")
        if end - start < 2:
            return lanes
        lanes = (lanes & _EVEN) + (lanes >> 256 & _EVEN)
        for width, mask in _FOLDS:
            lanes = (lanes & mask) + (lanes >> width)
        return lanes & _MASK


_MASK = (1 << 256) - 1
_EVEN = sum(_MASK << 512 * lane for lane in range(BLOCK // 2))
_FOLDS = [(512 * lanes, (1 << 512 * lanes) - 1) for lanes in (16, 8, 4, 2, 1)]
"""Half of the lanes is added to the other half until one is left. Each is 512 bits wide: no carry
reaches its neighbour."""
