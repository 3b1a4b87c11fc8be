"""The content room as the node uses it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import msgspec

from meshconsole.content.adding import Added, Source, add_file
from meshconsole.content.carrying import Imported, export_car, import_car
from meshconsole.content.exchange.asking import stock_id
from meshconsole.content.exchange.exchange import Exchange
from meshconsole.content.fetching import Fetches
from meshconsole.content.folders import add_folder, read_folder
from meshconsole.content.formats.cid import Cid
from meshconsole.content.layout import UNIXFS_V1_2025, Profile
from meshconsole.content.listing import MAX_ENTRIES
from meshconsole.content.pins import Pins
from meshconsole.content.reader import FileReader, inline
from meshconsole.content.store.roots import OWNER, Pin, Presence, Root, are_of_keys
from meshconsole.content.store.scrubbing import Scrubbed, scrub
from meshconsole.content.store.store import Store
from meshconsole.content.tasks import Tasks
from meshconsole.content.waiting import Waiting
from meshconsole.core.errors import CorruptData, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from meshconsole.content.happenings import FetchProgress, FetchState
    from meshconsole.content.store.blocks import BlocksState, BlockStore
    from meshconsole.content.store.tally import Quota

log = logging.getLogger(__name__)

LOOK_S = 15.0
LOOK_AGAIN_S = 1.0
"""Another place for the blocks than files of our own is looked at so often, and sooner when it has failed."""

STOCK_PAGE = 4096


class ContentUsage(msgspec.Struct, frozen=True):
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
        peer_rate_bps: float = 0.0,
        blocks: BlockStore | None = None,
    ) -> None:
        """`path` is the folder of the blobs, `key` the 32 bytes that its index is encrypted under.

        What is stored already is not reserved at the start: the owner of the quota asks `usage`.
        `clock` gives seconds since the epoch. `blocks` is another place for the blocks than flat files.
        """
        self._tasks = Tasks()
        self._store = Store(path, key, quota=quota, emit=emit, clock=clock, tasks=self._tasks, files=blocks)
        self._exchange = Exchange(self._store, self._tasks, emit, time.monotonic, peer_rate_bps)
        self._fetches = Fetches(self._store, self._exchange, self._tasks, emit)
        self._waiting = Waiting(self._store, self._fetches, clock)
        self._pins = Pins(self._store, self._fetches, self._waiting, emit, clock)

    async def start(self) -> None:
        """Goes on with unfinished fetches. Raises CorruptData, Fatal, Unavailable."""
        await self._store.open()
        self._exchange.start()
        self._fetches.resume()
        self._tasks.spawn("content pins", self._pins.keep_expiring())
        self._tasks.spawn("content place", self._keep_looking())

    async def stop(self) -> None:
        """Fetches go on at the next start."""
        await self._tasks.stop()
        await self._store.close()

    def usage(self) -> ContentUsage:
        totals = self._store.totals
        return ContentUsage(totals.bytes, totals.blocks, totals.pinned_bytes)

    @property
    def evicted(self) -> tuple[int, int]:
        """Unpinned blocks, and their bytes on the disk, that were removed to make room since the start."""
        return self._store.room.evicted_blocks, self._store.room.evicted_bytes

    def blocks_state(self) -> BlocksState:
        """How the place of the blocks stands, as of the last look; empty for files in the home."""
        return self._store.state

    async def _keep_looking(self) -> None:
        """At a place for the blocks that is not the home; at the home only until it opens."""
        told = ""
        while True:
            if await self._store.look():
                self._fetches.resume()
            state = self._store.state
            if not state.place and not state.trouble:
                return
            if state.trouble != told:
                told = state.trouble
                log.warning("blocks: %s", told or f"{state.place} is in reach again")
            await asyncio.sleep(LOOK_AGAIN_S)
            await self._store.doubted(LOOK_S)

    async def add(
        self,
        source: Source,
        name: str,
        *,
        profile: Profile = UNIXFS_V1_2025,
        pinned: bool = True,
        owner: str = OWNER,
    ) -> Added:
        """Stores a file, given in pieces of any size; a plain iterable is drawn in a thread.

        On return it survives a power cut; if this raises, nothing of it is kept. Raises Refused (quota),
        Unavailable (disk full), Fatal, and what `source` raises.
        """
        return await add_file(
            self._store, source, profile, lambda cid, old: self._pins.made(old, cid, name, pinned, owner)
        )

    async def add_folder(
        self, files: Iterable[tuple[str, Source]], name: str, *, profile: Profile = UNIXFS_V1_2025
    ) -> Added:
        """Stores files, given as name and content, and the directory that holds them. As `add` otherwise."""
        return await add_folder(
            self._store, files, profile, lambda cid, old: self._pins.made(old, cid, name, True)
        )

    async def list_folder(self, cid: str, max_entries: int = MAX_ENTRIES) -> dict[str, str]:
        """Name and CID of each entry of a directory. As `read` otherwise."""
        entries = await read_folder(self._store, Cid.parse(cid), max_entries)
        return {entry.name: str(entry.cid) for entry in entries}

    async def read(self, cid: str, first: int = 0, last: int | None = None) -> AsyncIterator[bytes]:
        """The file in pieces, each checked against its CID before it is given out; or a part of it, from its
        byte `first` to its byte `last`.

        Raises RemoteError for a bad CID or bad blocks, CorruptData if the disk altered one, Unavailable
        if something is missing; never more than is right before that.
        """
        root = Cid.parse(cid)
        reader = FileReader(root, first, last)
        with self._store.room.holding({root.multihash}):
            while (wanted := reader.wanted) is not None:
                block = inline(wanted)
                if block is None:
                    block = await self._store.read(wanted)
                if block is None:
                    raise _not_whole(root)
                if piece := reader.feed(block):
                    yield piece

    async def block(self, cid: Cid) -> bytes | None:
        """One block, checked; None if it is not here or was altered on the disk."""
        held = inline(cid)
        if held is not None:
            return held
        try:
            return await self._store.read(cid)
        except CorruptData:
            return None

    async def has_block(self, cid: Cid) -> bool:
        """Without reading it."""
        return inline(cid) is not None or bool(await self._store.sizes([cid]))

    async def is_of_keys(self, cid: Cid) -> bool:
        """Whether Nostr keys uploaded this block and nobody else keeps it here, in whatever file."""
        return are_of_keys(await self._store.roots_above(cid))

    def holding(self, *cids: Cid) -> AbstractContextManager[None]:
        """Meanwhile, nothing at or below these is removed to make room."""
        return self._store.room.holding({cid.multihash for cid in cids})

    async def export_car(self, *cids: str) -> AsyncIterator[bytes]:
        """Whole files as one CAR file, in pieces, to be carried by hand.

        Raises RemoteError for a bad CID, Unavailable if something is missing, CorruptData.
        """
        async for piece in export_car(self._store, [Cid.parse(cid) for cid in cids]):
            yield piece

    async def import_car(
        self, source: Source, name: str = "", *, pinned: bool = True, owner: str = OWNER
    ) -> Imported:
        """Takes in a CAR file, given in pieces of any size; its roots become files here. What such a file
        lacks is fetched if it is pinned. If this raises, nothing of it is kept.

        Raises RemoteError (damaged file), Refused (quota), Unavailable (disk full), Fatal.
        """
        imported = await import_car(
            self._store, source, lambda cid, old: self._pins.made(old, cid, name, pinned, owner)
        )
        self._fetches.resume()
        return imported

    def presence(self, cid: str) -> Presence:
        """How much of a root is here: one that was added, pinned or fetched. Costs nothing."""
        return self._store.roots.presence(cid)

    def is_pinned(self, cid: str, owner: str | None = None) -> bool:
        """By anybody, or by this owner."""
        return self._pins.has(cid, owner)

    def roots(self, cid: str = "") -> tuple[Root, ...]:
        """Everything that was added, pinned or asked for, in the order in which it came; or one of it."""
        if cid:
            return (self._store.roots[cid],) if cid in self._store.roots else ()
        return tuple(self._store.roots.values())

    async def pin(self, cid: str, name: str = "", pin: Pin = Pin()) -> None:  # noqa: B008 - frozen
        """Keeps the file; what is missing of it is fetched, now and ever after. Replaces the owner's earlier
        pin. Raises RemoteError."""
        await self._pins.put(cid, name, pin)

    async def unpin(self, cid: str, owner: str = OWNER) -> None:
        """When nobody else pins it, its blocks may be removed from now on, when room is needed. Raises
        Refused if the owner did not pin it."""
        await self._pins.lift(cid, owner)

    async def drop(self, cid: str) -> int:
        """Removes the file from here at once, whoever pinned it; blocks that other roots keep stay. Returns
        the bytes freed on the disk. Raises RemoteError for a bad CID."""
        return await self._pins.drop(cid)

    async def let_go(self, cid: str, owner: str) -> int:
        """Lifts the owner's pin, if there is one; what nobody else wants is removed at once. Returns the
        bytes freed on the disk. Raises RemoteError for a bad CID."""
        return await self._pins.let_go(cid, owner)

    def fetch(
        self, cid: str, *, name: str = "", deadline_s: float = 30.0, passing: bool = False
    ) -> AsyncIterator[FetchProgress]:
        """Brings the file here from peers. The last progress has the state "done".

        The fetch is remembered and goes on after a restart, and when nobody looks any more; `cancel_fetch`
        ends it. Raises Unavailable when no block came for `deadline_s` and none is on its way (the fetch
        goes on nevertheless), Refused (quota), RemoteError (bad CID or tree), Unavailable (disk full), Fatal.

        `passing`: if this begins it, `end_passing` ends it, unless somebody else wants it by then.
        """
        return self._waiting.fetch(cid, name, deadline_s, passing=passing)

    async def start_fetch(self, cid: str, *, name: str = "") -> bool:
        """As `fetch`, for those who do not wait for it. False if everything is here. Raises RemoteError."""
        return await self._waiting.start(cid, name)

    async def pause_fetch(self, cid: str) -> bool:
        """Until `fetch`, `start_fetch` or `pin`, over restarts too. False if there is nothing to pause."""
        self._waiting.is_to_stay(cid)
        return await self._fetches.pause(cid)

    def job_state(self, cid: str) -> FetchState | None:
        """How the fetch of this root stands; None if there is none."""
        job = self._fetches.job(cid)
        return job.state if job is not None else None

    def jobs(self) -> list[FetchProgress]:
        """How each fetch stands that is not done, in the order in which they were asked for."""
        return self._fetches.jobs()

    async def cancel_fetch(self, cid: str) -> bool:
        """What came stays until room is needed. False if no such fetch was under way."""
        return await self._fetches.cancel(cid)

    async def end_passing(self, cid: str) -> None:
        """Nobody waits any more for what `fetch` began with `passing`."""
        await self._waiting.end_passing(cid)

    def attach(
        self,
        peer: str,
        send: Callable[[bytes], Awaitable[None]],
        may_read: Callable[[str], bool],
        passes_on: Callable[[], bool] | None = None,
        may_hear: Callable[[bytes], bool] | None = None,
    ) -> None:
        """A peer can be reached. `send` takes a message of at most 4 MiB and returns when the next may come;
        `may_read` says whether the peer may have the block of a CID, or know that it is here. Given
        `passes_on`, the peer is asked for what other such peers want, and they for what it wants while that
        returns True. Given `may_hear`, the peer learns of fetches of those roots alone; they are multihashes.
        """
        self._exchange.attach(peer, send, may_read, passes_on, may_hear)

    async def stock(self, most: int) -> list[bytes] | None:
        """An id of 32 bytes for each block that is here; None if they are more than `most`."""
        if self._store.totals.blocks > most:
            return None
        ids: list[bytes] = []
        page, after = await self._store.page(0, STOCK_PAGE)
        while page:
            ids += map(stock_id, page)
            page, after = await self._store.page(after, STOCK_PAGE)
        return ids

    def stocked(self, peer: str, ids: frozenset[bytes]) -> None:
        """Ids of blocks that the peer was found to have and this node lacked: it is asked for them first."""
        self._exchange.stocked(peer, ids)

    def pass_towards(self, towards: Callable[[str], Collection[str]]) -> None:
        """`towards` names peers that hold a root, or are linked to who does: they are asked before others."""
        self._exchange.passing.towards = lambda cid: towards(str(cid))

    @property
    def handed_on(self) -> tuple[int, int]:
        """Blocks, and their bytes, that went through here from one peer to another since the start."""
        sending = self._exchange.sending
        return sending.handed_on, sending.handed_on_bytes

    def detach(self, peer: str) -> None:
        """The peer cannot be reached any more; others are asked for what it owes."""
        self._exchange.detach(peer)

    async def receive(self, peer: str, message: bytes) -> None:
        """A message of the peer; returns when the next one may come.

        Raises RemoteError if the peer broke the protocol or sent what nobody asked for: close its link.
        """
        await self._exchange.receive(peer, message)

    async def make_room(self, needed_bytes: int) -> int:
        """Removes unpinned blocks, the least recently used first. Returns the bytes freed on the disk."""
        return await self._store.room.make(needed_bytes)

    def scrub(
        self,
        pause_s: float = 0.01,
        *,
        after: int = 0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> AsyncIterator[Scrubbed]:
        """Reads every block, to find damage before the block is needed, and says how far it is."""
        return scrub(self._store, pause_s, after, sleep)

    def limit_peers(self, rate_bps: float) -> None:
        """What each peer is sent of blocks at most, in bytes per second; 0 is no limit."""
        self._exchange.limit_peers(rate_bps)


def _not_whole(root: Cid) -> Unavailable:
    return Unavailable(
        f"The file {root} is not whole here.",
        hint=f"Fetch the rest from teammates: meshconsole blobs get {root}",
    )
