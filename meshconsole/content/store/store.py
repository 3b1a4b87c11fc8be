"""Block files, their index and the quota as one, for the event loop.

Laws:
1. Bytes are reserved before they are written; what is not written after all is given back (`room.py`).
2. A block counts as here once its file and its name are synced and the index knows it (`commit`).
3. Nothing is removed while it is in use, nor while somebody holds `_sweep`.

All methods belong to one loop. Files are handled by a few threads, the index by one.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import msgspec

from meshconsole.content.formats.cid import RAW, Cid
from meshconsole.content.happenings import BlockCorrupt, IndexRebuilt
from meshconsole.content.store.blockstore import footprint
from meshconsole.content.store.homeblocks import HomeBlocks
from meshconsole.content.store.index import Entry, Index
from meshconsole.content.store.kept import KeptRoots
from meshconsole.content.store.marking import Marking
from meshconsole.content.store.opening import INDEX_NAME, compare, open_index
from meshconsole.content.store.pinned import PinnedBytes
from meshconsole.content.store.place import Place
from meshconsole.content.store.room import Room
from meshconsole.content.store.tally import Quota, Tally
from meshconsole.content.store.threads import Threads, to_its_end
from meshconsole.core.errors import CorruptData, LocalError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from meshconsole.content.formats.block import Block
    from meshconsole.content.store.blocks import BlocksState, BlockStore
    from meshconsole.content.store.opening import Compared
    from meshconsole.content.store.roots import Root
    from meshconsole.content.tasks import Tasks

COMMIT_BLOCKS = 64

_RAW_V1 = bytes((1, RAW))


class Totals(msgspec.Struct, frozen=True):
    """`bytes` and `pinned_bytes` are on the disk, in whole pages."""

    bytes: int
    blocks: int
    pinned_bytes: int


class Written(msgspec.Struct, frozen=True):
    cid: Cid
    size: int
    is_new: bool


class Store:
    def __init__(
        self,
        path: Path,
        key: bytes,
        *,
        quota: Quota,
        emit: Callable[[object], None],
        clock: Callable[[], float],
        tasks: Tasks,
        files: BlockStore | None = None,
    ) -> None:
        """`files` is where the blocks are kept, if not in flat files below `path`."""
        self._path = path
        self._key = key
        self._emit = emit
        self._clock = clock
        self._place = Place(files if files is not None else HomeBlocks(path, key))
        self._index: Index | None = None
        self._marking = Marking(path / INDEX_NAME, key)
        self.threads = Threads()
        self._uncommitted: list[Entry] = []
        self._used: dict[bytes, float] = {}
        self._sweep = asyncio.Lock()
        self._committing = asyncio.Lock()
        self._tally = Tally(quota)
        self._pinned = PinnedBytes(lambda: self.threads.on_mark(self._marking.pinned_bytes), tasks)
        self._last_used = 0.0
        self.roots = KeptRoots(
            self.threads,
            lambda: self._the_index,
            self._sweep,
            pins_changed=self._pinned.changed,
            emit=emit,
        )
        self.room = Room(
            self.threads,
            lambda: self._the_index,
            self._marking,
            self._place,
            self._tally,
            self.roots,
            self._sweep,
            commit=self.commit,
            emit=emit,
        )
        self.on_lost: Callable[[list[str]], None] = _ignore
        """Called with the roots above a block that was found altered, so that it can be fetched again."""
        self.on_committed: Callable[[list[bytes]], None] = _ignore
        """Called with the multihashes of blocks that are here from now on."""

    # Opening and closing

    async def open(self) -> None:
        """Raises CorruptData, Fatal, Unavailable."""
        try:
            await self._open()
        except BaseException:
            await self.close()
            raise

    async def _open(self) -> None:
        files = self._place.any_files
        opened = await self.threads.on_index(open_index, self._path, self._key, files, self._clock())
        index = self._index = opened.index
        if opened.compared is not None:
            self._place.compared()
            self._tell(opened.compared)
        elif opened.away is not None:
            self._place.away(opened.away)
        await self.roots.load()
        self._tally.bytes, self._tally.blocks = await self.threads.on_index(index.stored)
        self._last_used = await self.threads.on_index(index.last_used)
        await self._pinned.count()
        self._tally.set_aside_bytes = await self.threads.on_file(files.quarantined_bytes)

    def _tell(self, compared: Compared) -> None:
        if compared.rebuilt:
            self._emit(IndexRebuilt(compared.found, compared.rebuilt))
        for error in compared.corrupt:
            self._emit(BlockCorrupt(error.block, error.sentence))

    @property
    def state(self) -> BlocksState:
        """How the place of the blocks stood when it was last looked at."""
        return self._place.state

    async def doubted(self, within_s: float) -> None:
        """Until the place of the blocks failed somebody, or so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._place.doubted.wait()

    async def look(self) -> bool:
        """Looks at the place of the blocks; whether it has come back into reach."""
        self._place.doubted.clear()
        self._place.saw(await self.threads.on_file(self._place.any_files.look))
        if self._place.state.trouble or self._place.is_compared:
            return False
        try:
            await self._compare_again()
        except Unavailable as error:
            self._place.away(error)
            return False
        return True

    async def _compare_again(self) -> None:
        """Nothing is removed meanwhile, and nothing new is written."""
        await self._place.quiet()
        async with self._sweep:
            await self.commit()
            files = self._place.any_files
            await self.threads.on_file(files.open)
            compared = await self.threads.on_index(compare, self._the_index, files, self._clock())
            stored, self._tally.blocks = await self.threads.on_index(self._the_index.stored)
            self._tally.settle(stored)
            self._place.compared()
            self._tell(compared)
            await self.roots.look_again(list(self.roots))

    async def close(self) -> None:
        try:
            if self._index is not None:
                await self.commit()
        finally:
            if self._index is not None:
                await self.threads.on_index(self._index.close)
                self._index = None
            self.threads.close()
            self._place.any_files.close()

    # Blocks

    async def write(
        self,
        bound: int,
        make: Callable[[], Block],
        children: Iterable[Cid] = (),
        hold: set[bytes] | None = None,
    ) -> Written:
        """Makes a block of at most `bound` bytes in a thread and writes it; `commit` makes it count.

        Its multihash is put into `hold`, also when this is cancelled after it was written. Raises
        Refused (quota), Unavailable (disk full), Fatal, and what `make` raises.
        """
        links = tuple(child.multihash for child in children)
        with self._place.writing():
            while True:
                block, is_new = await self._make_and_write(bound, make, links, hold)
                multihash, size = block.cid.multihash, len(block.data)
                if is_new:
                    return Written(block.cid, size, True)
                # It was there already; then it may just be about to be removed.
                async with self._sweep:
                    if await self.threads.on_file(self._place.files.size, multihash) is not None:
                        self._register(Entry(multihash, size, links), hold)
                        return Written(block.cid, size, False)

    async def _make_and_write(
        self, bound: int, make: Callable[[], Block], links: tuple[bytes, ...], hold: set[bytes] | None
    ) -> tuple[Block, bool]:
        """The block and whether it is new."""
        reserved = footprint(bound)
        await self.room.reserve(reserved)
        work = self.threads.start_on_file(self._make_and_put, make)
        try:
            await to_its_end(work)
        finally:
            if work.cancelled() or work.exception() is not None:
                self._tally.give_back(reserved)
                self._place.doubted.set()
            else:
                block, is_new = work.result()
                size = len(block.data)
                self._tally.give_back(reserved - footprint(size) if is_new else reserved)
                if is_new:
                    self._register(Entry(block.cid.multihash, size, links), hold)
                    self._tally.blocks += 1
        return block, is_new

    async def write_block(
        self, block: Block, children: Iterable[Cid] = (), hold: set[bytes] | None = None
    ) -> Written:
        """As `write`, of a block that is made already."""
        return await self.write(len(block.data), lambda: block, children, hold)

    def _register(self, entry: Entry, hold: set[bytes] | None) -> None:
        self._uncommitted.append(entry)
        if hold is not None:
            hold.add(entry.multihash)

    @property
    def must_commit(self) -> bool:
        """Whether enough blocks are waiting for a commit to be worth it."""
        return len(self._uncommitted) >= COMMIT_BLOCKS

    async def commit(self) -> None:
        """On return, every registered block survives a power cut and is known to be here."""
        async with self._committing:
            entries, self._uncommitted = self._uncommitted, []
            used, self._used = self._used, {}
            if entries:
                try:
                    await self.threads.on_file(self._place.any_files.sync)
                    await self.threads.on_index(self._the_index.record, entries, self._use())
                except BaseException:
                    self._uncommitted[:0] = entries
                    raise
                self.on_committed([entry.multihash for entry in entries])
            if used:
                await self.threads.on_index(self._the_index.touch, used.items())

    async def read(self, cid: Cid) -> bytes | None:
        """The block, checked; None if it is not here.

        Raises CorruptData if it was altered on the disk; it counts as missing from then on.
        """
        multihash = cid.multihash
        try:
            data = await self.threads.on_file(self._place.files.get, multihash)
        except CorruptData as error:
            await self._lose(cid, error.sentence)
            raise
        except Unavailable:
            self._place.doubted.set()
            raise
        if data is not None:
            self._used[multihash] = self._use()
            if len(self._used) >= 4 * COMMIT_BLOCKS:
                await self.commit()
        elif await self.sizes([cid]):
            await self._lose(cid, f"The block {cid} has vanished from where it was kept.")
        return data

    async def sizes(self, cids: Iterable[Cid]) -> dict[bytes, int]:
        """Of the blocks that are here, by multihash."""
        return await self.threads.on_index(self._the_index.sizes, [cid.multihash for cid in cids])

    async def roots_above(self, cid: Cid) -> list[Root]:
        """Those that this block is in, or is."""
        cids = await self.threads.on_index(self._the_index.roots_above, cid.multihash)
        return [self.roots[each] for each in cids if each in self.roots]

    async def page(self, after: int, limit: int) -> tuple[list[bytes], int]:
        """Multihashes of some blocks that are here, and where to go on; none at the end."""
        return await self.threads.on_index(self._the_index.page, after, limit)

    async def examine(self, multihash: bytes) -> int | None:
        """Bytes of the block, 0 if it was removed; None, and a report, if it was altered or has vanished."""
        try:
            data = await self.threads.on_file(self._place.files.get, multihash)
        except CorruptData as error:
            await self._lose(Cid.decode(_RAW_V1 + multihash), error.sentence)
            return None
        cid = Cid.decode(_RAW_V1 + multihash)
        if data is None and not await self.sizes([cid]):
            return 0  # removed meanwhile
        if data is None:
            await self._lose(cid, f"The block {cid} has vanished from where it was kept.")
        return len(data) if data is not None else None

    async def _lose(self, cid: Cid, sentence: str) -> None:
        async with self._sweep:
            sizes = await self.sizes([cid])
            roots = await self.threads.on_index(self._the_index.lose, [cid.multihash])
            self._tally.blocks -= len(sizes)
            self._tally.give_back(sum(map(footprint, sizes.values())))
            self._tally.set_aside_bytes = await self.threads.on_file(self._place.any_files.quarantined_bytes)
            await self.roots.look_again(roots)
        self._emit(BlockCorrupt(str(cid), sentence))
        self.on_lost(roots)

    async def measure(self, cid: str) -> None:
        """Finds out anew how much of a root is here, where a fetch of it was broken off."""
        await self.commit()
        await self.roots.measure(cid)

    @property
    def totals(self) -> Totals:
        """`bytes` counts what is reserved for blocks on their way, and blocks set aside, too."""
        return Totals(self._tally.bytes + self._tally.set_aside_bytes, self._tally.blocks, self._pinned.bytes)

    def _use(self) -> float:
        """A time for "last used" that only grows, whatever the clock does: a node may start in 1970."""
        self._last_used = max(self._clock(), self._last_used + 1e-3)
        return self._last_used

    # Blocking parts

    @property
    def _the_index(self) -> Index:
        if self._index is None:
            raise LocalError("The content store is not open.")
        return self._index

    def _make_and_put(self, make: Callable[[], Block]) -> tuple[Block, bool]:
        block = make()
        return block, self._place.files.put(block)


def _ignore(_: object) -> None:
    return None
