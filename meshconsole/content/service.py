"""The content room as the node uses it."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from meshconsole.content.adding import Added, Source, add_file
from meshconsole.content.asking import stock_id
from meshconsole.content.carrying import Imported, export_car, import_car
from meshconsole.content.cid import Cid
from meshconsole.content.exchange import Exchange
from meshconsole.content.fetching import Fetches
from meshconsole.content.folders import add_folder, read_folder
from meshconsole.content.happenings import FetchProgress, FetchState, PresenceChanged
from meshconsole.content.layout import UNIXFS_V1_2025, Profile
from meshconsole.content.listing import MAX_ENTRIES
from meshconsole.content.reader import FileReader, inline
from meshconsole.content.roots import OWNER, Pin, Presence, Root, are_of_keys
from meshconsole.content.scrubbing import Scrubbed, scrub
from meshconsole.content.store import Store
from meshconsole.content.tasks import Tasks
from meshconsole.core.errors import CorruptData, Refused, RemoteError, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from meshconsole.content.blocks import BlocksState, BlockStore
    from meshconsole.content.tally import Quota

log = logging.getLogger(__name__)

LOOK_S = 15.0
LOOK_AGAIN_S = 1.0
"""Another place for the blocks than files of our own is looked at so often, and sooner when it has failed."""

STOCK_PAGE = 4096

RETRY_S = 300.0
"""Pinned files that could not be fetched are tried again."""


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
        self._emit = emit
        self._clock = clock
        self._tasks = Tasks()
        self._pins_changed = asyncio.Event()
        self._passing: set[str] = set()
        """Roots whose fetch was begun for who waits for it, and by nobody else since."""
        self._store = Store(path, key, quota=quota, emit=emit, clock=clock, tasks=self._tasks, files=blocks)
        self._exchange = Exchange(self._store, self._tasks, emit, time.monotonic, peer_rate_bps)
        self._fetches = Fetches(self._store, self._exchange, self._tasks, emit)

    async def start(self) -> None:
        """Goes on with unfinished fetches. Raises CorruptData, Fatal, Unavailable."""
        await self._store.open()
        self._exchange.start()
        self._fetches.resume()
        self._tasks.spawn("content pins", self._keep_expiring())
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
        return self._store.evicted_blocks, self._store.evicted_bytes

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
            self._store, source, profile, lambda cid, old: self._kept(old, cid, name, pinned, owner)
        )

    async def add_folder(
        self, files: Iterable[tuple[str, Source]], name: str, *, profile: Profile = UNIXFS_V1_2025
    ) -> Added:
        """Stores files, given as name and content, and the directory that holds them. As `add` otherwise."""
        return await add_folder(
            self._store, files, profile, lambda cid, old: self._kept(old, cid, name, True)
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
        with self._store.holding({root.multihash}):
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
        return self._store.holding({cid.multihash for cid in cids})

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
            self._store, source, lambda cid, old: self._kept(old, cid, name, pinned, owner)
        )
        self._fetches.resume()
        return imported

    def presence(self, cid: str) -> Presence:
        """How much of a root is here: one that was added, pinned or fetched. Costs nothing."""
        return self._store.presence(cid)

    def is_pinned(self, cid: str, owner: str | None = None) -> bool:
        """By anybody, or by this owner."""
        root = self._store.roots.get(cid)
        if root is None:
            return False
        return root.pinned if owner is None else root.pin_of(owner) is not None

    def roots(self, cid: str = "") -> tuple[Root, ...]:
        """Everything that was added, pinned or asked for, in the order in which it came; or one of it."""
        if cid:
            return (self._store.roots[cid],) if cid in self._store.roots else ()
        return tuple(self._store.roots.values())

    async def pin(self, cid: str, name: str = "", pin: Pin = Pin()) -> None:  # noqa: B008 - frozen
        """Keeps the file; what is missing of it is fetched, now and ever after. Replaces the owner's earlier
        pin. Raises RemoteError."""
        parsed = _canonical(cid)
        self._passing.discard(cid)
        await self._store.change_root(
            parsed, lambda old: replace(self._root(old, cid, name).with_pin(pin), paused=False)
        )
        if not self._store.presence(cid).complete:
            await self._fetches.start(parsed, lambda old: self._root(old, cid, name))
            self._passing.discard(cid)
        self._pins_changed.set()

    async def unpin(self, cid: str, owner: str = OWNER) -> None:
        """When nobody else pins it, its blocks may be removed from now on, when room is needed. Raises
        Refused if the owner did not pin it."""
        root = self._store.roots.get(cid)
        if root is None or root.pin_of(owner) is None:
            raise Refused("invalid", "This file is not pinned.", hint="List what is: meshconsole blobs")
        await self._store.change_root(
            Cid.parse(cid), lambda old: self._unpinned(old and old.without_pin(owner))
        )

    async def drop(self, cid: str) -> int:
        """Removes the file from here at once, whoever pinned it; blocks that other roots keep stay. Returns
        the bytes freed on the disk. Raises RemoteError for a bad CID."""
        parsed = _canonical(cid)
        await self._store.change_root(parsed, lambda _: None)
        return await self._discard(parsed)

    async def let_go(self, cid: str, owner: str) -> int:
        """Lifts the owner's pin, if there is one; what nobody else wants is removed at once. Returns the
        bytes freed on the disk. Raises RemoteError for a bad CID."""
        parsed = _canonical(cid)
        if not self.is_pinned(cid, owner):
            return 0

        def without(root: Root | None) -> Root | None:
            left = root and root.without_pin(owner)
            return left if left and (left.pinned or left.wanted) else None

        if await self._store.change_root(parsed, without) is not None:
            return 0
        return await self._discard(parsed)

    async def _discard(self, dropped: Cid) -> int:
        await self._fetches.forget(str(dropped))
        freed = await self._store.discard([dropped.multihash])
        self._emit(PresenceChanged(str(dropped)))
        return freed

    def _unpinned(self, root: Root | None) -> Root | None:
        """What a root becomes that has lost a pin."""
        if root is None or root.pinned or root.wanted or self._store.presence(root.cid).bytes:
            return root
        return None

    def _unexpired(self, now: float, root: Root | None) -> Root | None:
        return self._unpinned(root and root.unexpired(now))

    async def _keep_expiring(self) -> None:
        """Pins with an end are lifted when it has come, by the clock of this device."""
        while True:
            now = self._clock()
            for root in list(self._store.roots.values()):
                if root.unexpired(now) is not root:
                    await self._store.change_root(Cid.parse(root.cid), partial(self._unexpired, now))
                    self._emit(PresenceChanged(root.cid))
            ends = [p.expires_at for root in self._store.roots.values() for p in root.pins if p.expires_at]
            self._pins_changed.clear()
            # Looked at now and then even so: the clock may have been set, and there may be room again for
            # a pinned file that did not fit.
            delay = min([end - now for end in ends], default=RETRY_S)
            try:
                async with asyncio.timeout(min(max(delay, 1.0), RETRY_S)):
                    await self._pins_changed.wait()
            except TimeoutError:
                self._fetches.resume()

    async def fetch(
        self, cid: str, *, name: str = "", deadline_s: float = 30.0, passing: bool = False
    ) -> AsyncIterator[FetchProgress]:
        """Brings the file here from peers. The last progress has the state "done".

        The fetch is remembered and goes on after a restart, and when nobody looks any more; `cancel_fetch`
        ends it. Raises Unavailable when no block came for `deadline_s` and none is on its way (the fetch
        goes on nevertheless), Refused (quota), RemoteError (bad CID or tree), Unavailable (disk full), Fatal.

        `passing`: if this begins it, `end_passing` ends it, unless somebody else wants it by then.
        """
        parsed = _canonical(cid)
        presence = self._store.presence(cid)
        if presence.complete:
            yield FetchProgress(cid, presence.bytes, presence.bytes, "done")
            return
        if not passing:
            self._passing.discard(cid)
        elif self.job_state(cid) is None and not self.is_pinned(cid):
            self._passing.add(cid)
        starting = asyncio.ensure_future(self._fetches.start(parsed, lambda old: self._root(old, cid, name)))
        try:
            fetch = await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait([starting])  # half begun, nobody could end it
            raise
        if not passing:
            self._passing.discard(cid)
        loop = asyncio.get_running_loop()
        told: FetchProgress | None = None
        gives_up_at = loop.time() + deadline_s
        while True:
            progress, changed = fetch.progress, fetch.changed
            if told is None or progress.have_bytes > told.have_bytes:
                gives_up_at = loop.time() + deadline_s
            if progress.state == "done":
                yield progress
                return
            if fetch.failure is not None:
                raise fetch.failure
            if progress != told:
                told = progress
                yield progress
                continue
            try:
                async with asyncio.timeout_at(gives_up_at):
                    await changed.wait()
            except TimeoutError:
                if not fetch.is_owed:
                    raise _nothing_comes(progress, deadline_s) from None
                # A block may take longer than the deadline; the peer that owes it has its own.
                gives_up_at = loop.time() + 1.0

    async def start_fetch(self, cid: str, *, name: str = "") -> bool:
        """As `fetch`, for those who do not wait for it. False if everything is here. Raises RemoteError."""
        parsed = _canonical(cid)
        if self._store.presence(cid).complete:
            return False
        self._passing.discard(cid)
        await self._fetches.start(parsed, lambda old: self._root(old, cid, name))
        self._passing.discard(cid)  # whoever began it meanwhile, it is to stay
        return True

    async def pause_fetch(self, cid: str) -> bool:
        """Until `fetch`, `start_fetch` or `pin`, over restarts too. False if there is nothing to pause."""
        self._passing.discard(cid)
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
        if cid in self._passing:
            self._passing.discard(cid)
            await self._fetches.cancel(cid)

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
        return self._exchange.handed_on, self._exchange.handed_on_bytes

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
        return await self._store.make_room(needed_bytes)

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

    def _kept(self, old: Root | None, cid: Cid, name: str, pinned: bool, owner: str = OWNER) -> Root:
        root = self._root(old, str(cid), name)
        return root.with_pin(Pin(owner)) if pinned and root.pin_of(owner) is None else root

    def _root(self, old: Root | None, cid: str, name: str) -> Root:
        if old is None:
            return Root(cid, name, False, None, self._clock())
        return replace(old, name=name or old.name)


def _canonical(cid: str) -> Cid:
    """Roots are known by their text, so there must be one text for each."""
    parsed = Cid.parse(cid)
    if str(parsed) != cid:
        raise RemoteError("bad-cid", f"Write this CID as {parsed}.")
    return parsed


def _not_whole(root: Cid) -> Unavailable:
    return Unavailable(
        f"The file {root} is not whole here.",
        hint=f"Fetch the rest from teammates: meshconsole blobs get {root}",
    )


def _nothing_comes(progress: FetchProgress, deadline_s: float) -> Unavailable:
    have, total = progress.have_bytes, progress.total_bytes
    held = f"{have} of {total} bytes are here" if total else "nothing of it is here"
    who = "no teammate in reach has it" if not progress.peers else "the teammates who have it stopped sending"
    return Unavailable(
        f"No block of {progress.cid} came for {deadline_s:.0f} s: {who}; {held}.",
        hint="It is fetched in the background as soon as somebody can send it.",
    )
