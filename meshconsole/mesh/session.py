"""One peer: its links, and the sync machine that runs over them. The shell around `peer.py`.

A session lives while the peer has at least one link. Traffic goes over the best one (websocket first,
and not a suspect one); when it goes, the streams move to another at once and nothing is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from meshconsole.core.errors import MeshconsoleError, RemoteError
from meshconsole.core.event import decode_event
from meshconsole.core.kinds import CONTROL_KINDS
from meshconsole.mesh.links.frames import Channel, Frame, Precedence
from meshconsole.mesh.links.pipe import PipeClosed
from meshconsole.mesh.messages import (
    Ack,
    Batch,
    Describe,
    Fill,
    Need,
    Sync,
    Want,
    decode_signal,
    decode_sync,
    encode,
)
from meshconsole.mesh.peer import Ask, PeerSync, kinds_for
from meshconsole.mesh.serving import ReadControl, ReadRows, Row
from meshconsole.mesh.taking import FindMissing, SaveCursor, Store, StoreLive
from meshconsole.relay.filter import Filter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from meshconsole.mesh.known import KnownIds
    from meshconsole.mesh.links.link import Link
    from meshconsole.mesh.rows import RecentRows
    from meshconsole.relay.relay import Relay

log = logging.getLogger(__name__)

CONTROL_LIMIT = 10_000
RETRY_S = 5.0
MAX_ASKS = 256
CHECK_S = 1.0


class Cursors(Protocol):
    """How far into each peer's log this node has come. Both may block; `put` is durable on return."""

    def get(self, peer: str, log_id: str, /) -> int: ...

    def put(self, peer: str, log_id: str, seq: int, /) -> None: ...


class Blocks(Protocol):
    """The content room, as far as it speaks with peers. `may_read(cid)` says what the peer may have."""

    def attach(
        self, peer_id: str, send: Callable[[bytes], Awaitable[None]], may_read: Callable[[str], bool], /
    ) -> Awaitable[None] | None: ...

    def detach(self, peer_id: str, /) -> Awaitable[None] | None: ...

    def receive(self, peer_id: str, message: bytes, /) -> Awaitable[None] | None: ...


@dataclass(slots=True)
class Surroundings:
    """What all sessions of a node share."""

    relay: Relay
    content: Blocks | None
    cursors: Cursors
    rows: RecentRows
    settled: KnownIds
    now: Callable[[], float]


def via_name(npub: str) -> str:
    """How the relay knows where an event came from."""
    return f"link {npub}"


def is_from_a_link(via: str) -> bool:
    return via.startswith("link ")


class PeerSession:
    """`role` is the peer's; `on_signal` gets what comes on the signals channel."""

    def __init__(
        self,
        npub: str,
        role: str,
        around: Surroundings,
        on_signal: Callable[[PeerSession, Describe], None],
    ) -> None:
        self.npub = npub
        self.role = role
        self.links: list[Link] = []
        self.changed = asyncio.Event()
        """Set whenever a link has come or gone; for whoever waits for that."""
        self.trouble = ""
        """Why reading or writing here does not go on at the moment."""
        self._around = around
        self._via = via_name(npub)
        self._on_signal = on_signal
        store = around.relay.store
        self.sync = PeerSync.make(
            store.log_id, store.head_seq, around.settled, lambda kind: kinds_for(self.role)(kind)
        )
        self._serve_link: Link | None = None
        self._take_link: Link | None = None
        self._serve_asks: deque[Ask] = deque()
        self._take_asks: deque[Ask] = deque()
        self._serve_more = asyncio.Event()
        self._take_more = asyncio.Event()
        self._take_less = asyncio.Event()
        self._timer = asyncio.Event()
        self._choosing = asyncio.Lock()
        self._is_attached = False

    # Links come and go.

    @property
    def best(self) -> Link | None:
        """The link that traffic should take now."""
        usable = [link for link in self.links if link.closed is None]
        return min(usable, key=_rank, default=None)

    def has_path(self, path: str) -> bool:
        return any(link.pipe.path == path and link.closed is None for link in self.links)

    async def add(self, link: Link) -> None:
        """A link is open; its frames go to `handle` from now on."""
        self.links.append(link)
        store = self._around.relay.store
        link.head = lambda: store.head_seq
        link.on_head = self._peer_head
        link.on_lost = self._peer_lost
        await self._attach_content()
        self.changed.set()
        await self.choose()

    async def remove(self, link: Link) -> None:
        """A link is gone: what it carried goes on over another, if there is one."""
        self.links.remove(link)
        for other in self.links:
            other.say_lost(link.id)
        if self._serve_link is link:
            self._serve_link = None
            self.sync.serving.stop()
        if self._take_link is link:
            self._take_link = None
            self.sync.taking.stop()
        if self._is_attached and self._around.content is not None:
            # Whatever the content room had under way on that link is asked for anew.
            self._is_attached = False
            await _done(self._around.content.detach(self.npub))
        if self.links:
            await self._attach_content()
            await self.choose()
        self.changed.set()

    async def choose(self) -> None:
        """Binds the stream that is taken over to the best link, if it is not on it already."""
        async with self._choosing:
            best = self.best
            current = self._take_link
            if best is None or best is current or (current is not None and not _should_leave(current, best)):
                return
            taking, log_id = self.sync.taking, best.hello.log_id
            cursor = await asyncio.to_thread(self._around.cursors.get, self.npub, log_id)
            if best not in self.links or best.closed is not None:
                return
            head = best.hello.head if log_id != taking.log_id else max(best.hello.head, taking.head)
            self._take_link = best
            taking.start(log_id, head, cursor)
            self.pump()

    def close(self, reason: str) -> None:
        for link in self.links:
            link.close(reason)

    # What comes from the peer.

    async def handle(self, link: Link, frame: Frame) -> None:
        """Raises RemoteError if the peer breaks a rule."""
        match frame.channel:
            case Channel.EVENTS:
                self._receive(link, decode_sync(frame.payload))
                while len(self._take_asks) > MAX_ASKS and link.closed is None:
                    self._take_less.clear()
                    await self._take_less.wait()
            case Channel.BLOCKS:
                if self._around.content is not None and self._is_attached:
                    await _done(self._around.content.receive(self.npub, frame.payload))
            case Channel.SIGNALS:
                self._on_signal(self, decode_signal(frame.payload))
            case Channel.CONTROL:
                raise RemoteError("bad-frame", "A control frame reached the sync machine.")

    def _receive(self, link: Link, message: Sync) -> None:
        bound = {Need: self._serve_link, Ack: self._serve_link, Batch: self._take_link, Fill: self._take_link}
        if isinstance(message, Want):
            self._serve_link = link
        elif bound.get(type(message), link) is not link:
            # Left over of a stream that has moved to another link.
            return
        self.sync.receive(message, self._around.now())
        self.pump()

    def _peer_head(self, head: int) -> None:
        self.sync.taking.announced(head)

    def _peer_lost(self, link_id: bytes) -> None:
        for link in self.links:
            if link.id == link_id:
                link.close("The peer has lost this link.")

    # What happens here.

    def stored(self, row: Row) -> None:
        """An event has come into this node's log."""
        is_late = not self.sync.serving.is_following
        self.sync.stored(row.seq, self._around.now())
        if is_late and row.push and self._serve_link is not None:
            self.sync.send_live([row])
        self.pump()

    def pass_on(self, row: Row) -> None:
        """An ephemeral event that did not come from this peer."""
        self.sync.send_live([row])
        self.pump()

    @property
    def lag(self) -> int | None:
        return self.sync.taking.lag if self.sync.taking.is_active else None

    async def send_blocks(self, message: bytes) -> None:
        """Raises PipeClosed when the last link has gone."""
        best = self.best
        if best is None:
            raise PipeClosed("The peer has no link.")
        await best.send(Channel.BLOCKS, Precedence.BULK, message)

    def signal(self, message: Describe) -> bool:
        best = self.best
        return best is not None and best.post(Channel.SIGNALS, Precedence.IMMEDIATE, encode(message))

    # The machine's outboxes and asks.

    def pump(self) -> None:
        sync = self.sync
        self._post(sync.taking.outbox, self._take_link)
        self._post(sync.serving.outbox, self._serve_link)
        best = self.best
        for live in sync.live_outbox:
            # Droppable: ephemeral events may be lost, others come by the log.
            if best is not None:
                best.post(Channel.EVENTS, Precedence.PRIORITY, encode(live))
        sync.live_outbox.clear()
        for ask in sync.take_asks():
            if isinstance(ask, ReadControl | ReadRows):
                self._serve_asks.append(ask)
                self._serve_more.set()
            else:
                self._take_asks.append(ask)
                self._take_more.set()
        self._timer.set()

    def _post(self, outbox: list[Sync], link: Link | None) -> None:
        for message in outbox:
            is_bulk = isinstance(message, Batch | Fill)
            precedence = Precedence.ROUTINE if is_bulk else Precedence.IMMEDIATE
            if link is not None and not link.post(Channel.EVENTS, precedence, encode(message)):
                link.close("The send queue overflowed.")
        outbox.clear()

    async def run(self) -> None:
        """The session's loops; cancelled when the last link is gone."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work(self._serve_asks, self._serve_more, self._serve))
            group.create_task(self._work(self._take_asks, self._take_more, self._take))
            group.create_task(self._keep_time())
            group.create_task(self._keep_choosing())

    async def _work(
        self, asks: deque[Ask], more: asyncio.Event, answer: Callable[[Ask], Awaitable[None]]
    ) -> None:
        while True:
            while asks:
                try:
                    await answer(asks[0])
                except MeshconsoleError as error:
                    log.warning("Syncing with %s waits: %s", self.npub[:8], error.sentence)
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
        relay, serving = self._around.relay, self.sync.serving
        match ask:
            case ReadControl(epoch):
                raws = await relay.query([Filter(kinds=CONTROL_KINDS)], CONTROL_LIMIT)
                rows = [_control_row(raw) for raw in raws]
                rows.reverse()
                serving.control(epoch, rows, self._around.now())
            case ReadRows(epoch, after, limit):
                recent = self._around.rows.read(after, limit)
                if recent is None:
                    feed = await relay.feed(after, limit)
                    recent = [Row(row.seq, bytes.fromhex(row.id), row.kind, row.raw) for row in feed]
                serving.rows(epoch, recent, self._around.now())

    async def _take(self, ask: Ask) -> None:
        relay, taking = self._around.relay, self.sync.taking
        match ask:
            case FindMissing(stream, number, ids):
                known = await asyncio.to_thread(relay.store.known, [i.hex() for i in ids])
                taking.missing(stream, number, {i for i in ids if i.hex() not in known})
            case Store(stream, events):
                verdicts = await relay.publish_many(list(events), via=self._via, trusted=True)
                taking.stored(stream, verdicts, self._around.now())
            case StoreLive(events):
                await relay.publish_many(list(events), via=self._via, trusted=True)
            case SaveCursor(stream, log_id, seq):
                await asyncio.to_thread(self._around.cursors.put, self.npub, log_id, seq)
                taking.saved(stream)

    async def _keep_time(self) -> None:
        """Runs the machine's timers."""
        while True:
            self._timer.clear()
            due = self.sync.next_timer()
            if due is None:
                await self._timer.wait()
                continue
            try:
                async with asyncio.timeout(max(0.001, due - self._around.now())):
                    await self._timer.wait()
            except TimeoutError:
                self.sync.handle_timer(self._around.now())
                self.pump()

    async def _keep_choosing(self) -> None:
        """A link may fall silent without ending: look once a second."""
        while True:
            await asyncio.sleep(CHECK_S)
            await self.choose()

    async def _attach_content(self) -> None:
        content = self._around.content
        if content is not None and not self._is_attached:
            self._is_attached = True
            await _done(content.attach(self.npub, self.send_blocks, lambda _cid: True))


async def _done(result: Awaitable[None] | None) -> None:
    if result is not None:
        await result


def _rank(link: Link) -> tuple[bool, bool]:
    return link.is_suspect, link.pipe.path != "websocket"


def _should_leave(current: Link, best: Link) -> bool:
    """Whether a stream should leave a link for a better one: it is dead or silent, or is no websocket."""
    if current.closed is not None:
        return True
    if best.is_suspect:
        return False
    return current.is_suspect or (current.pipe.path != "websocket" and best.pipe.path == "websocket")


def _control_row(raw: bytes) -> Row:
    event = decode_event(raw)
    return Row(0, bytes.fromhex(event.id), event.kind, raw)
