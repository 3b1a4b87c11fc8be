"""The sync machine of one peer at work: its asks answered from the relay, its clock kept."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Protocol

from meshconsole.core.errors import MeshconsoleError, RemoteError
from meshconsole.mesh.asks import (
    AnswerCompare,
    Ask,
    FindMissing,
    Gather,
    ReadControl,
    ReadIds,
    ReadRows,
    SaveCursor,
    Store,
    StoreLive,
    TakeStep,
)
from meshconsole.mesh.peer import PeerSync
from meshconsole.mesh.rows import Row, row_of
from meshconsole.mesh.surroundings import via_name
from meshconsole.relay.filter import Filter
from meshconsole.relay.negentropy import Responder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from meshconsole.mesh.surroundings import Surroundings

log = logging.getLogger(__name__)

RETRY_S = 5.0
MAX_ASKS = 16


class Broken(Protocol):
    """Ends the link of the stream that is served, or of the one that is taken."""

    def __call__(self, reason: str, /, *, served: bool) -> None: ...


class Syncing:
    """`post` moves what is in the machine's outboxes; it is called after everything that may fill them.
    `role` is the peer's."""

    def __init__(
        self,
        npub: str,
        role: Callable[[], str],
        around: Surroundings,
        post: Callable[[], None],
        broken: Broken,
    ) -> None:
        self.trouble = ""
        """Why reading or writing here does not go on at the moment."""
        store = around.relay.store
        self.machine = PeerSync.make(
            store.log_id, store.head_seq, around.settled, around.asked, role, around.random
        )
        self._npub = npub
        self._around = around
        self._post = post
        self._broken = broken
        self._serve_asks: deque[Ask] = deque()
        self._take_asks: deque[Ask] = deque()
        self._compare_asks: deque[Ask] = deque()
        self._live_asks: deque[Ask] = deque()
        self._serve_more = asyncio.Event()
        self._take_more = asyncio.Event()
        self._compare_more = asyncio.Event()
        self._live_more = asyncio.Event()
        self._responder: tuple[tuple[int, int], Responder] | None = None
        self._take_less = asyncio.Event()
        self._timer = asyncio.Event()

    def pump(self) -> None:
        """After the machine was given something: hands on what it wants sent and done."""
        self._post()
        for ask in self.machine.take_asks():
            if isinstance(ask, ReadControl | ReadRows | ReadIds):
                self._serve_asks.append(ask)
                self._serve_more.set()
            elif isinstance(ask, Gather | TakeStep | AnswerCompare):
                self._compare_asks.append(ask)
                self._compare_more.set()
            elif isinstance(ask, StoreLive):
                self._live_asks.append(ask)
                self._live_more.set()
            else:
                self._take_asks.append(ask)
                self._take_more.set()
        self._timer.set()

    async def has_room(self) -> None:
        """Returns when what came in lately has been dealt with, mostly."""
        while max(len(self._take_asks), len(self._live_asks)) > MAX_ASKS:
            self._take_less.clear()
            await self._take_less.wait()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work(self._serve_asks, self._serve_more, self._serve))
            group.create_task(self._work(self._take_asks, self._take_more, self._take))
            group.create_task(self._work(self._live_asks, self._live_more, self._take))
            group.create_task(self._work(self._compare_asks, self._compare_more, self._compare))
            group.create_task(self._keep_time())

    async def _work(
        self, asks: deque[Ask], more: asyncio.Event, answer: Callable[[Ask], Awaitable[None]]
    ) -> None:
        while True:
            while asks:
                try:
                    await answer(asks[0])
                except RemoteError as error:
                    self._broken(error.sentence, served=False)
                except MeshconsoleError as error:
                    log.warning("syncing with %s waits: %s", self._npub[:8], error.sentence)
                    self.trouble = error.sentence
                    await asyncio.sleep(RETRY_S)
                    continue
                self.trouble = ""
                asks.popleft()
                self._take_less.set()
                self.pump()
            more.clear()
            await more.wait()

    async def _serve(self, ask: Ask) -> None:
        relay, serving = self._around.relay, self.machine.serving
        match ask:
            case ReadControl(epoch):
                serving.control(epoch, await self._around.control.get(), self._around.now())
            case ReadIds(epoch, ids):
                wanted = Filter(ids=frozenset(one.hex() for one in ids))
                raws = await relay.query([wanted], len(ids))
                found = {row.id: row for row in map(row_of, raws)}
                serving.found(epoch, [found[one] for one in ids if one in found], self._around.now())
            case ReadRows(epoch, after, limit):
                rows = self._around.rows.read(after, limit)
                if rows is None:
                    feed = await relay.feed(after, limit)
                    rows = [Row(row.seq, bytes.fromhex(row.id), row.kind, row.raw) for row in feed]
                serving.rows(epoch, rows, self._around.now())

    async def _take(self, ask: Ask) -> None:
        relay, taking, via = self._around.relay, self.machine.taking, via_name(self._npub)
        match ask:
            case FindMissing(stream, number, ids):
                # What was deleted, replaced or has expired must not come back, nor be asked for for ever.
                settled = await asyncio.to_thread(relay.store.settled, [i.hex() for i in ids])
                now = self._around.now()
                taking.missing(stream, number, {i for i in ids if i.hex() not in settled}, now)
            case Store(stream, events):
                verdicts = await relay.publish_many(events, via=via, trusted=True)
                taking.stored(stream, verdicts, self._around.now())
            case StoreLive(events):
                taking.judge(await relay.publish_many(events, via=via, trusted=True))
            case SaveCursor(stream, log_id, seq):
                await asyncio.to_thread(self._around.cursors.put, self._npub, log_id, seq)
                taking.saved(stream, self._around.now())

    async def _compare(self, ask: Ask) -> None:
        """Beside the rest: a snapshot takes its time, and what is fresh must not wait for it."""
        serving, taking, snapshots = self.machine.serving, self.machine.taking, self._around.snapshots
        try:
            match ask:
                case Gather(epoch, sealed):
                    snapshot = await snapshots.get(sealed=sealed)
                    serving.gathered(epoch, snapshot, self._around.now())
                case TakeStep(epoch, initiator, data):
                    step = await asyncio.to_thread(initiator.receive, data)
                    serving.stepped(epoch, step, self._around.now())
                case AnswerCompare(stream, number, sealed, data):
                    taking.answered(stream, number, await self._answer((stream, number), sealed, data))
        except RemoteError as error:
            self._broken(error.sentence, served=isinstance(ask, TakeStep))

    async def _answer(self, comparison: tuple[int, int], sealed: bool, data: bytes) -> bytes:
        if not data:
            self._responder = None
            return b""
        if self._responder is None or self._responder[0] != comparison:
            snapshot = await self._around.snapshots.get(sealed=sealed)
            if snapshot is None:
                return b""
            self._responder = comparison, Responder(snapshot.items)
        return await asyncio.to_thread(self._responder[1].receive, data)

    async def _keep_time(self) -> None:
        """Runs the machine's timers."""
        while True:
            self._timer.clear()
            due = self.machine.next_timer()
            if due is None:
                await self._timer.wait()
                continue
            try:
                async with asyncio.timeout(max(0.001, due - self._around.now())):
                    await self._timer.wait()
            except TimeoutError:
                self.machine.handle_timer(self._around.now())
                self.pump()
