"""Adding a file: read, cut, hash and write at the same time, with a few chunks in memory.

Nothing of it can be evicted meanwhile, and nothing of it stays if it fails.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from meshconsole.content.layout import Branch, Chunker, Profile, Tree, chunked

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.content.formats.block import Block
    from meshconsole.content.formats.cid import Cid
    from meshconsole.content.store.roots import Root
    from meshconsole.content.store.store import Store, Written

CHUNKS_AHEAD = 4
"""Being hashed and written while the next one is read."""

_LEAF_FRAME = 64
"""More than dag-pb and UnixFS put around a chunk in the 2015 profile."""


class Added(msgspec.Struct, frozen=True):
    """`size` in bytes of the file; `blocks` counts leaves and inner blocks."""

    cid: str
    size: int
    blocks: int


Source = AsyncIterable[bytes] | Iterable[bytes]
"""A file in pieces of any size. A plain iterable is drawn in a thread, so it may block."""


@dataclass(slots=True)
class Addition:
    """One file on its way in; `hold` is the set of blocks the store must keep for it."""

    store: Store
    profile: Profile
    hold: set[bytes]
    blocks: int = 0
    stored_bytes: int = 0
    """Of all blocks, repeated ones counted as often as they are linked to."""
    _tree: Tree = field(init=False)
    _on_their_way: deque[tuple[asyncio.Task[Written], int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._tree = Tree(self.profile)

    @property
    def size(self) -> int:
        return self._tree.size

    async def run(self, source: Source) -> Cid:
        """The root; `Store.commit` makes it count. Raises Refused, Unavailable, Fatal, and as `source`."""
        try:
            async with asyncio.TaskGroup() as tasks:
                async for chunk in self._chunks(source):
                    if len(self._on_their_way) == CHUNKS_AHEAD:
                        await self._settle()
                    write = self.store.write(
                        len(chunk) + (0 if self.profile.raw_leaves else _LEAF_FRAME),
                        partial(_leaf, self.profile, chunk),
                        hold=self.hold,
                    )
                    self._on_their_way.append((tasks.create_task(write), len(chunk)))
                while self._on_their_way:
                    await self._settle()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        root, branches = await self.store.threads.on_file(self._tree.finish)
        await self._write(branches)
        if self.store.must_commit:
            await self.store.commit()
        return root

    async def _chunks(self, source: Source) -> AsyncIterator[bytes]:
        if isinstance(source, AsyncIterable):
            chunker = Chunker(self.profile.chunk_bytes)
            async for piece in source:
                for chunk in chunker.push(piece):
                    yield chunk
            for chunk in chunker.finish():
                yield chunk
            return
        chunks = chunked(source, self.profile.chunk_bytes)
        while (chunk := await self.store.threads.on_file(next, chunks, None)) is not None:
            yield chunk

    async def _settle(self) -> None:
        """Links the leaf that has waited longest."""
        task, size = self._on_their_way.popleft()
        written = await task
        self.blocks += 1
        self.stored_bytes += written.size
        self._tree.push(written.cid, size, written.size)
        if self._tree.is_full:
            await self._write(await self.store.threads.on_file(self._tree.fold))

    async def _write(self, branches: list[Branch]) -> None:
        for branch in branches:
            await self.store.write_block(branch.block, branch.children, self.hold)
            self.blocks += 1
            self.stored_bytes += len(branch.block.data)
        if branches:
            await self.store.commit()
            # From now on their parents keep them.
            self.hold.difference_update(child.multihash for branch in branches for child in branch.children)


async def add_file(
    store: Store, source: Source, profile: Profile, make_root: Callable[[Cid, Root | None], Root]
) -> Added:
    """The file becomes a root, after its blocks are safe on the disk: what `make_root` makes of the CID and
    of the root that it may be already."""
    hold: set[bytes] = set()
    try:
        with store.room.holding(hold):
            addition = Addition(store, profile, hold)
            cid = await addition.run(source)
            await store.commit()
            await store.roots.change(cid, lambda old: make_root(cid, old))
    except BaseException:
        await store.room.discard(hold)
        raise
    return Added(str(cid), addition.size, addition.blocks)


def _leaf(profile: Profile, chunk: bytes) -> Block:
    return profile.leaf(chunk).block
