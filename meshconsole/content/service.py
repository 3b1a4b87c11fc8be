"""The content room as the node uses it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from meshconsole.content.adding import Added, Source, add_file
from meshconsole.content.cid import Cid
from meshconsole.content.index import Presence, Root
from meshconsole.content.layout import UNIXFS_V1_2025, Profile
from meshconsole.content.reader import FileReader, inline
from meshconsole.content.store import Quota, Store
from meshconsole.core.errors import Refused, RemoteError, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class ContentUsage:
    """Bytes on the disk, in whole pages. `pinned_bytes` is the part that is never evicted."""

    bytes: int
    blocks: int
    pinned_bytes: int


class Content:
    """CIDs are text here. All methods belong to the loop that called `start`."""

    def __init__(
        self,
        path: Path,
        key: bytes,
        *,
        quota: Quota,
        emit: Callable[[object], None],
        clock: Callable[[], float],
    ) -> None:
        """`path` is the folder of the blobs, `key` the 32 bytes that its index is encrypted under.

        What is stored already is not reserved at the start: the owner of the quota asks `usage`.
        `clock` gives seconds since the epoch.
        """
        self._emit = emit
        self._clock = clock
        self._store = Store(path, key, quota=quota, emit=emit, clock=clock)

    async def start(self) -> None:
        """Raises CorruptData, Fatal, Unavailable."""
        await self._store.open()

    async def stop(self) -> None:
        await self._store.close()

    def usage(self) -> ContentUsage:
        totals = self._store.totals
        return ContentUsage(totals.bytes, totals.blocks, totals.pinned_bytes)

    async def add(
        self, source: Source, name: str, *, profile: Profile = UNIXFS_V1_2025, pinned: bool = True
    ) -> Added:
        """Stores a file, given in pieces of any size; a plain iterable is drawn in a thread.

        On return it survives a power cut; if this raises, nothing of it is kept. Raises Refused (quota),
        Unavailable (disk full), Fatal, and what `source` raises.
        """

        def make_root(cid: Cid) -> Root:
            old = self._store.roots.get(str(cid))
            kept = pinned or (old is not None and old.pinned)
            return Root(str(cid), name, kept, False, None, old.added_at if old else self._clock())

        return await add_file(self._store, source, profile, make_root)

    async def read(self, cid: str) -> AsyncIterator[bytes]:
        """The file in pieces, each checked against its CID before it is given out.

        Raises RemoteError for a bad CID or bad blocks, CorruptData if the disk altered one, Unavailable
        if something is missing; never more than is right before that.
        """
        root = Cid.parse(cid)
        reader = FileReader(root)
        with self._store.holding({root.multihash}):
            while (wanted := reader.wanted) is not None:
                block = inline(wanted)
                if block is None:
                    block = await self._store.read(wanted)
                if block is None:
                    raise _not_whole(root)
                if piece := reader.feed(block):
                    yield piece

    def presence(self, cid: str) -> Presence:
        """How much of a root is here: one that was added, pinned or fetched. Costs nothing."""
        return self._store.presence(cid)

    def is_pinned(self, cid: str) -> bool:
        root = self._store.roots.get(cid)
        return root is not None and root.pinned

    async def pin(self, cid: str, name: str = "") -> None:
        """Keeps the file, and whatever of it comes later. Raises RemoteError for a bad CID."""
        parsed = _canonical(cid)
        old = self._store.roots.get(cid)
        root = (
            replace(old, pinned=True, name=name or old.name)
            if old
            else Root(cid, name, True, False, None, self._clock())
        )
        await self._store.put_root(root, parsed)

    async def unpin(self, cid: str) -> None:
        """Its blocks may be removed from now on, when room is needed. Raises Refused if it was not pinned."""
        root = self._store.roots.get(cid)
        if root is None or not root.pinned:
            raise Refused("invalid", "This file is not pinned.", hint="List what is: meshconsole blobs")
        if root.wanted or self._store.presence(cid).bytes:
            await self._store.put_root(replace(root, pinned=False), Cid.parse(cid))
        else:
            await self._store.drop_root(cid)

    async def make_room(self, needed_bytes: int) -> int:
        """Removes unpinned blocks, the least recently used first. Returns the bytes freed on the disk."""
        return await self._store.make_room(needed_bytes)


def _canonical(cid: str) -> Cid:
    """Roots are known by their text, so there must be one text for each."""
    parsed = Cid.parse(cid)
    if str(parsed) != cid:
        raise RemoteError("bad-cid", f"Write this CID as {parsed}.")
    return parsed


def _not_whole(root: Cid) -> Unavailable:
    return Unavailable(
        f"The file {root} is not whole here.", hint=f"Fetch the rest from teammates: meshconsole get {root}"
    )
