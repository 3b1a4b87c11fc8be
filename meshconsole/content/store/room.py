"""Room for blocks: reserved before they are written, and made by removing what nothing keeps.

What the quota refuses is refused only after unpinned blocks, the least recently used first, have made room.
Nothing is removed while it is in use: removal holds `sweep`, and skips what is `holding`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from meshconsole.content.happenings import BlocksEvicted
from meshconsole.content.store.blockstore import footprint
from meshconsole.core.errors import Refused

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from meshconsole.content.store.index import Index
    from meshconsole.content.store.kept import KeptRoots
    from meshconsole.content.store.marking import Marking
    from meshconsole.content.store.place import Place
    from meshconsole.content.store.tally import Tally
    from meshconsole.content.store.threads import Threads

EVICT_BYTES = 16 << 20
"""Removed at a time: finding garbage costs the same for one block as for many."""

REMOVE_BLOCKS = 64
"""Forgotten and unlinked between two other uses of the index."""


class Room:
    def __init__(
        self,
        threads: Threads,
        index: Callable[[], Index],
        marking: Marking,
        place: Place,
        tally: Tally,
        roots: KeptRoots,
        sweep: asyncio.Lock,
        *,
        commit: Callable[[], Awaitable[None]],
        emit: Callable[[object], None],
    ) -> None:
        self._threads = threads
        self._index = index
        self._marking = marking
        self._place = place
        self._tally = tally
        self._roots = roots
        self._sweep = sweep
        self._commit = commit
        self._emit = emit
        self._holds: list[set[bytes]] = []
        self.evicted_blocks = self.evicted_bytes = 0
        """Removed to make room, since the start."""

    @contextmanager
    def holding(self, hold: set[bytes]) -> Iterator[None]:
        """Blocks in the set, and what is below them, are not removed. The set may change meanwhile."""
        self._holds.append(hold)
        try:
            yield
        finally:
            self._holds = [other for other in self._holds if other is not hold]

    def is_there_for(self, count: int) -> bool:
        """Whether a block of so many bytes fits without anything being removed."""
        try:
            self._tally.take(footprint(count))
        except Refused:
            return False
        self._tally.give_back(footprint(count))
        return True

    async def reserve(self, count: int) -> None:
        """Whole pages. Raises Refused."""
        try:
            self._tally.take(count)
        except Refused:
            async with self._sweep:
                await self._take_with_room(count)

    async def _take_with_room(self, count: int) -> None:
        while True:
            try:
                return self._tally.take(count)
            except Refused:
                if not await self._evict(max(count, EVICT_BYTES)):
                    raise

    async def make(self, needed_bytes: int) -> int:
        """Removes unpinned blocks, the least recently used first. Returns the bytes freed on the disk."""
        async with self._sweep:
            return await self._evict(needed_bytes)

    async def _evict(self, needed_bytes: int) -> int:
        await self._commit()
        blocks, freed = await self._remove(
            await self._threads.on_mark(self._marking.garbage, needed_bytes, self._held())
        )
        if blocks:
            self.evicted_blocks += blocks
            self.evicted_bytes += freed
            self._emit(BlocksEvicted(blocks, freed))
        return freed

    async def discard(self, tops: Iterable[bytes]) -> int:
        """Removes those of the blocks, and of what is below them, that nothing keeps. Returns the bytes
        freed on the disk."""
        async with self._sweep:
            await self._commit()
            _, freed = await self._remove(await self._threads.on_mark(self._marking.below, list(tops)))
            return freed

    def _held(self) -> list[bytes]:
        return [multihash for hold in self._holds for multihash in hold]

    async def _remove(self, candidates: list[tuple[bytes, int]]) -> tuple[int, int]:
        """Those that nothing keeps, a few at a time, so that others come in between. Returns how many were
        removed, and the bytes freed on the disk."""
        blocks = freed = 0
        above: dict[str, None] = {}
        for start in range(0, len(candidates), REMOVE_BLOCKS):
            sizes = dict(candidates[start : start + REMOVE_BLOCKS])
            # The index forgets first: after a crash in between, the files are found again at the next start.
            unkept, roots = await self._threads.on_index(
                self._index().forget_unkept, list(sizes), self._held()
            )
            removed = await self._threads.on_file(self._unlink, [(each, sizes[each]) for each in unkept])
            self._tally.give_back(sum(map(footprint, removed)))
            self._tally.blocks -= len(removed)
            blocks += len(removed)
            freed += sum(map(footprint, removed))
            above.update(dict.fromkeys(roots))
        await self._roots.look_again([cid for cid in above if cid in self._roots])
        return blocks, freed

    def _unlink(self, garbage: list[tuple[bytes, int]]) -> list[int]:
        return [size for multihash, size in garbage if self._place.files.remove(multihash)]
