"""Fetches: each brings everything below one root here, however long it takes and however often the node
is restarted. A fetch is remembered as the `wanted` flag of its root until it is done, fails or is
cancelled. One that has failed because nothing more can be written goes on by itself when there is room.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from meshconsole.content.formats.cid import Cid
from meshconsole.content.happenings import FetchProgress, FetchState
from meshconsole.content.store.roots import Presence, Root
from meshconsole.content.walk import Walk, links_of
from meshconsole.core.errors import CorruptData, MeshconsoleError, Refused, RemoteError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from meshconsole.content.exchange.exchange import Exchange
    from meshconsole.content.formats.block import Block
    from meshconsole.content.formats.dagpb import Link
    from meshconsole.content.store.store import Store
    from meshconsole.content.tasks import Tasks

OPEN_WANTS = 64
"""Blocks one fetch waits for at a time."""

CHECKED_AT_ONCE = 256
COMMIT_S = 1.0
ROOM_S = 10.0
"""Between two looks whether there is room for what has failed without: twice as long after each attempt that
brought nothing, since what refuses may be something else than it says."""
ROOM_LAST_S = 320.0
LEAST_ROOM_BYTES = 1 << 20
REPORT_S = 0.25


class Fetch:
    """One root on its way here."""

    def __init__(self, cid: Cid, store: Store, exchange: Exchange, emit: Callable[[object], None]) -> None:
        self.cid = cid
        self.text = str(cid)
        self._store = store
        self._exchange = exchange
        self._emit = emit
        self._walk = Walk(cid)
        self._group = cid.multihash
        self._came: list[bytes] = []
        self._news = asyncio.Event()
        self._reported_at = 0.0
        self.failure: MeshconsoleError | None = None
        self.progress = FetchProgress(self.text, 0, None, "waiting")
        self.changed = asyncio.Event()
        """Set, and replaced by another, when `progress` has changed."""

    async def run(self) -> None:
        """Raises MeshconsoleError if it cannot go on."""
        try:
            while not self.is_done:
                await self._look_around()
                self._exchange.want(self._walk.to_want(OPEN_WANTS - self._walk.wanted), self._group)
                self._report()
                if not self.is_done:
                    await self._wait()
            await self._store.commit()
        finally:
            self._exchange.close_group(self._group)

    def restart(self) -> None:
        """Something that was here is not any more."""
        self._exchange.close_group(self._group)
        self._walk = Walk(self.cid)
        self._news.set()

    @property
    def is_done(self) -> bool:
        return self._walk.is_done

    @property
    def is_owed(self) -> bool:
        """Whether some peer is expected to be sending a block of it."""
        return self._exchange.is_owed(self._group)

    def wants(self, multihash: bytes) -> bool:
        return self._walk.wanted_cid(multihash) is not None

    def arrived(self, block: Block, links: tuple[Link, ...]) -> None:
        """A block that was wanted is on the disk."""
        try:
            self._walk.arrived(block.cid.multihash, len(block.data), links)
        except RemoteError as error:
            self.failure = error
        self._news.set()

    def fail(self, error: MeshconsoleError) -> None:
        self.failure = error
        self._news.set()

    def stored(self, multihashes: Collection[bytes]) -> None:
        """Blocks have come here by other ways."""
        came = [multihash for multihash in multihashes if self.wants(multihash)]
        if came:
            self._came += came
            self._news.set()

    def finish(self) -> None:
        """It has come to its end, whole or with `failure`."""
        if self.failure is None:
            self._set_progress("done")
        else:
            self._set_progress("failed", self.failure.sentence)

    def stop(self, reason: MeshconsoleError) -> None:
        """Nobody works on it any more: who waits for it learns why."""
        self.failure = self.failure or reason
        self._tell()

    @property
    def presence(self) -> Presence:
        have = self._walk.have_bytes
        return Presence(have, have if self.is_done else self._walk.total_bytes, self.is_done)

    async def _look_around(self) -> None:
        """Finds out what is here already, as far as is needed for the next wants."""
        walk = self._walk
        came, self._came = self._came, []
        for multihash in came:
            cid = walk.wanted_cid(multihash)
            if cid is not None:
                await self._open(walk, cid)
        while walk is self._walk:
            cids = walk.to_check(CHECKED_AT_ONCE)
            if cids:
                walk.checked(cids, await self._store.sizes(cids))
            inner = walk.to_open()
            if inner is not None:
                await self._open(walk, inner)
            elif not cids:
                return

    async def _open(self, walk: Walk, cid: Cid) -> None:
        try:
            data = await self._store.read(cid)
        except CorruptData:
            data = None
        if data is None:
            walk.absent(cid.multihash)
        else:
            links = await self._store.threads.on_file(links_of, cid, data)
            walk.arrived(cid.multihash, len(data), links)

    async def _wait(self) -> None:
        """For news. Blocks that came are committed at the latest when none came for a while."""
        try:
            async with asyncio.timeout(COMMIT_S):
                await self._news.wait()
        except TimeoutError:
            await self._store.commit()
            await self._news.wait()
        self._news.clear()
        if self.failure is not None:
            raise self.failure

    def _report(self) -> None:
        state: FetchState = "fetching" if self._exchange.providers(self._group) else "waiting"
        now = asyncio.get_running_loop().time()
        if state != self.progress.state or now - self._reported_at >= REPORT_S:
            self._reported_at = now
            self._set_progress(state)

    def _set_progress(self, state: FetchState, error: str = "") -> None:
        presence = self.presence
        peers = self._exchange.providers(self._group)
        progress = FetchProgress(self.text, presence.bytes, presence.total_bytes, state, peers, error)
        self._store.roots.set_presence(self.text, presence)
        if progress != self.progress:
            self.progress = progress
            self._emit(progress)
            self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class Fetches:
    def __init__(
        self, store: Store, exchange: Exchange, tasks: Tasks, emit: Callable[[object], None]
    ) -> None:
        self._store = store
        self._exchange = exchange
        self._tasks = tasks
        self._emit = emit
        self._running: dict[str, Fetch] = {}
        self._work: dict[str, asyncio.Task[None]] = {}
        self._failed: dict[str, FetchProgress] = {}
        """Fetches that could not go on, until they are started again or forgotten."""
        self._stuck: dict[str, tuple[int, int]] = {}
        """Of those, while room is waited for: the bytes that were here, and how often in a row no more."""
        self._looking: set[str] = set()
        """Those for which somebody looks for room."""
        store.on_lost = self._lost
        store.on_committed = self._committed
        exchange.on_block = self._take

    def resume(self) -> None:
        """Goes on with what is not done and not under way, after a restart for instance."""
        for cid, root in list(self._store.roots.items()):
            if cid in self._running or root.paused:
                continue
            if root.wanted or (root.pinned and not self._store.roots.presence(cid).complete):
                self._begin(Cid.parse(cid))

    async def start(self, cid: Cid, make: Callable[[Root | None], Root]) -> Fetch:
        """The fetch of the root, which is remembered until it ends. `make` as in `KeptRoots.change`."""
        text = str(cid)
        while (running := self._running.get(text)) is not None:
            if running.failure is None:
                return running
            await asyncio.wait([self._work[text]])  # it is just ending
        self._failed.pop(text, None)
        await self._store.roots.change(cid, lambda old: replace(make(old), wanted=True, paused=False))
        return self._running.get(text) or self._begin(cid)

    async def pause(self, cid: str) -> bool:
        """Until it is started again, after restarts too. False if there is nothing to be paused."""
        root = self._store.roots.get(cid)
        if root is None or not (root.wanted or root.pinned) or self._store.roots.presence(cid).complete:
            return False
        paused = await self._store.roots.change(
            Cid.parse(cid), lambda old: replace(old, paused=True) if old is not None else None
        )
        if paused is None:
            return False  # dropped meanwhile
        await self._stop(
            cid, Unavailable("The fetch was paused.", hint="Go on: meshconsole blobs resume CID")
        )
        await self._store.measure(cid)
        self._emit(self._standing(paused, "paused"))
        return True

    async def cancel(self, cid: str) -> bool:
        """What came stays until room is needed. False if nothing was under way."""
        root = self._store.roots.get(cid)
        known = self._failed.pop(cid, None) is not None
        stopped = await self._stop(
            cid, Unavailable("The fetch was cancelled.", hint="Start it again when you want it.")
        )
        if not (stopped or known or (root is not None and root.paused)):
            return False
        await self._end(cid)
        return True

    async def forget(self, cid: str) -> None:
        """Of a root that was dropped. Whoever wants it again meanwhile is served anew."""
        self._failed.pop(cid, None)
        if await self._stop(cid, Unavailable("The file was dropped.", hint="Fetch it again to have it.")):
            await self._store.measure(cid)
        if cid in self._store.roots:
            self.resume()

    def jobs(self) -> list[FetchProgress]:
        """How each fetch stands that is not done."""
        return [job for cid in self._store.roots if (job := self.job(cid)) is not None]

    def job(self, cid: str) -> FetchProgress | None:
        running, root = self._running.get(cid), self._store.roots.get(cid)
        if running is not None:
            return None if running.is_done else running.progress
        if root is not None and root.paused:
            return self._standing(root, "paused")
        return self._failed.get(cid)

    def _standing(self, root: Root, state: FetchState) -> FetchProgress:
        presence = self._store.roots.presence(root.cid)
        return FetchProgress(root.cid, presence.bytes, presence.total_bytes, state)

    async def _stop(self, cid: str, reason: MeshconsoleError) -> bool:
        work = self._work.get(cid)
        if work is None:
            return False
        self._running[cid].stop(reason)
        work.cancel()
        await asyncio.wait([work])
        return True

    def _begin(self, cid: Cid) -> Fetch:
        self._failed.pop(str(cid), None)
        fetch = Fetch(cid, self._store, self._exchange, self._emit)
        work = self._tasks.spawn(f"fetch {fetch.text[-8:]}", self._run(fetch))
        self._running[fetch.text], self._work[fetch.text] = fetch, work
        # Not in the task itself: one that is cancelled before it begins runs none of its lines.
        work.add_done_callback(lambda _: self._ended(fetch))
        return fetch

    def _ended(self, fetch: Fetch) -> None:
        del self._running[fetch.text], self._work[fetch.text]
        fetch.stop(Unavailable("The node stops.", hint="The fetch goes on when it starts again."))

    async def _run(self, fetch: Fetch) -> None:
        try:
            # Damage found meanwhile starts it again.
            while not fetch.is_done:
                await fetch.run()
                # A fetch of few blocks may be over before it has reported any of them.
                self._store.roots.set_presence(fetch.text, fetch.presence)
                await self._end(fetch.text)
            fetch.finish()
            self._stuck.pop(fetch.text, None)
        except MeshconsoleError as error:
            fetch.failure = error
            fetch.finish()
            self._failed[fetch.text] = fetch.progress
            if isinstance(error, Unavailable) or (isinstance(error, Refused) and error.code == "restricted"):
                if fetch.text not in self._looking:
                    self._looking.add(fetch.text)
                    self._tasks.spawn(f"room for {fetch.text[-8:]}", self._wait_for_room(fetch))
            else:
                await self._end(fetch.text)

    async def _wait_for_room(self, fetch: Fetch) -> None:
        text, have = fetch.text, fetch.progress.have_bytes
        before, times = self._stuck.get(text, (have, 0))
        self._stuck[text] = have, times + 1 if have <= before else 1
        pause = min(ROOM_LAST_S, ROOM_S * 2.0 ** min(self._stuck[text][1] - 1, 10))
        missing = max(LEAST_ROOM_BYTES, (fetch.progress.total_bytes or 0) - have)
        try:
            while True:
                await asyncio.sleep(pause)
                root = self._store.roots.get(text)
                if text not in self._failed or root is None or root.paused:
                    self._stuck.pop(text, None)
                    return
                if self._store.room.is_there_for(missing):
                    self._begin(fetch.cid)
                    return
        finally:
            self._looking.discard(text)

    async def _end(self, cid: str) -> None:
        """The root is not wanted any more."""

        def ended(root: Root | None) -> Root | None:
            if root is None or not (root.pinned or self._store.roots.presence(cid).bytes):
                return None
            return replace(root, wanted=False, paused=False)

        if await self._store.roots.change(Cid.parse(cid), ended) is None:
            self._failed.pop(cid, None)

    async def _take(self, block: Block) -> bool:
        """A block that was wanted. It is written once, for all fetches that wait; False if none does."""
        multihash = block.cid.multihash
        waiting = [fetch for fetch in self._running.values() if fetch.wants(multihash)]
        if not waiting:
            return False
        try:
            links = await self._store.threads.on_file(links_of, block.cid, block.data)
            await self._store.write_block(block, [link.cid for link in links])
            if self._store.must_commit:
                await self._store.commit()
        except MeshconsoleError as error:
            for fetch in waiting:
                fetch.fail(error)
            return True
        for fetch in waiting:
            fetch.arrived(block, links)
        return True

    def _lost(self, roots: list[str]) -> None:
        """Of what was damaged, pinned files are fetched again; fetches under way look around again."""
        for cid in roots:
            root = self._store.roots.get(cid)
            if cid in self._running:
                self._running[cid].restart()
            elif root is not None and root.pinned and not root.paused:
                self._begin(Cid.parse(cid))

    def _committed(self, multihashes: list[bytes]) -> None:
        self._exchange.stored(multihashes)
        for fetch in self._running.values():
            fetch.stored(multihashes)
