"""One peer while it is linked: its links, and which of them carries what.

A session lives while the peer has at least one link. Traffic goes over the best one (websocket first,
and not a silent one); when that goes, the streams move to another at once and nothing is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from meshconsole.core.errors import MeshconsoleError, RemoteError
from meshconsole.core.precedence import Precedence
from meshconsole.core.status import CLOCK_QUALITIES
from meshconsole.mesh.bandwidth import Bandwidth
from meshconsole.mesh.links.frames import Channel, Frame
from meshconsole.mesh.links.pipe import PipeClosed
from meshconsole.mesh.messages import (
    Ack,
    Batch,
    Compare,
    Compared,
    Fill,
    Live,
    Need,
    Signal,
    Stock,
    Stocked,
    Sync,
    Want,
    decode_signal,
    decode_sync,
    encode,
)
from meshconsole.mesh.stocktaking import Stocktaking
from meshconsole.mesh.syncing import Syncing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from meshconsole.core.status import ClockQuality, LinkClass
    from meshconsole.mesh.links.link import Link
    from meshconsole.mesh.rows import Row
    from meshconsole.mesh.surroundings import Surroundings

log = logging.getLogger(__name__)

CHECK_S = 1.0
MAX_BLOCKS_BYTES = 2 * 1024 * 1024
"""Waiting for the content room; beyond it the link is not read. One message may have 4 MiB."""


class PeerSession:
    """`role` is the peer's; `on_signal` and `on_echo` get what comes on those channels."""

    def __init__(
        self,
        npub: str,
        role: str,
        around: Surroundings,
        on_signal: Callable[[PeerSession, Signal], None],
        on_echo: Callable[[PeerSession, Link, bytes], None],
        *,
        asks_stock: bool = False,
    ) -> None:
        """`asks_stock`: of this pair, this side begins to compare what blocks are here and there."""
        self.npub = npub
        self.role = role
        self.links: list[Link] = []
        self.changed = asyncio.Event()
        """Set whenever a link has come or gone; for whoever waits for that."""
        self._around = around
        self._on_signal = on_signal
        self._on_echo = on_echo
        self._syncing = Syncing(npub, lambda: self.role, around, self._post, self._broken)
        self.sync = self._syncing.machine
        self._serve_link: Link | None = None
        self._take_link: Link | None = None
        self._blocks: deque[tuple[Link, bytes]] = deque()
        self._blocks_bytes = 0
        self._blocks_more = asyncio.Event()
        self._blocks_less = asyncio.Event()
        self._choosing = asyncio.Lock()
        self._bandwidth = Bandwidth()
        self._measured: Link | None = None
        """The link that it was measured of."""
        self._is_attached = False
        self._is_retired = False
        self._stock = Stocktaking(
            asks=asks_stock,
            stock=self._blocks_here,
            post=self._post_stock,
            learned=self._blocks_there,
            broken=self.close,
            now=around.now,
            random=around.random,
        )

    async def run(self) -> None:
        """The session's loops; cancelled when the last link is gone."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._syncing.run())
            group.create_task(self._pass_blocks())
            group.create_task(self._keep_choosing())
            group.create_task(self._stock.keep_asking())
            group.create_task(self._stock.keep_answering())

    # Links come and go.

    @property
    def best(self) -> Link | None:
        """The link that traffic should take now."""
        usable = [link for link in self.links if link.closed is None]
        return min(usable, key=_rank, default=None)

    @property
    def carries(self) -> LinkClass:
        """What the best link is good enough for."""
        return self._bandwidth.carries

    @property
    def trouble(self) -> str:
        """Why events of the peer are not taken over at the moment; "" if they are."""
        return self.sync.taking.trouble or self._syncing.trouble

    @property
    def lag(self) -> tuple[int, int] | None:
        """Events that the peer holds and this node lacks, and the bytes of those that it has offered; None
        while unknown."""
        taking = self.sync.taking
        return (taking.lag, taking.lag_bytes) if taking.is_active else None

    def has_path(self, path: str) -> bool:
        return any(link.pipe.path == path and link.closed is None for link in self.links)

    async def add(self, link: Link) -> None:
        """A link is open; its frames go to `handle` from now on."""
        link.head = lambda: self.sync.serving.announced
        link.on_head = self.sync.taking.announced
        link.on_lost = self._peer_lost
        link.tell_clock = self._tell_clock
        link.on_clock = self._hear_clock
        if not self.links:
            self._attach()
        self.links.append(link)
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
        self.sync.forget_lived()
        # Whatever the content room had under way on that link it asks for anew.
        self._detach()
        if self.links:
            self._attach()
            await self.choose()
        self.changed.set()

    async def choose(self) -> None:
        """Binds the stream that is taken over to the best link, if it is not on it already."""
        async with self._choosing:
            best, current, taking = self.best, self._take_link, self.sync.taking
            if best is None or best is current or (current is not None and not _should_leave(current, best)):
                return
            log_id = best.hello.log_id
            try:
                cursor = await asyncio.to_thread(self._around.cursors.get, self.npub, log_id)
            except MeshconsoleError as error:
                # Asked again in CHECK_S; the link serves the peer in the meantime.
                self._syncing.trouble = error.sentence
                return
            if best not in self.links or best.closed is not None:
                return
            head = best.hello.head if log_id != taking.log_id else max(best.hello.head, taking.head)
            self._syncing.trouble = ""
            self._take_link = best
            taking.start(log_id, head, cursor)
            self._syncing.pump()

    def close(self, reason: str) -> None:
        for link in self.links:
            link.close(reason)

    def retire(self, reason: str) -> None:
        """From now on another session has to do with this peer, and the rooms with that one."""
        self._detach()
        self._is_retired = True
        self.close(reason)

    # What comes from the peer.

    async def handle(self, link: Link, frame: Frame) -> None:
        """Raises RemoteError if the peer breaks a rule. While this waits, the link is not read."""
        match frame.channel:
            case Channel.EVENTS:
                self._receive(link, decode_sync(frame.payload))
                await self._syncing.has_room()
            case Channel.BLOCKS:
                while self._blocks_bytes > MAX_BLOCKS_BYTES:
                    self._blocks_less.clear()
                    await self._blocks_less.wait()
                self._blocks.append((link, frame.payload))
                self._blocks_bytes += len(frame.payload)
                self._blocks_more.set()
            case Channel.SIGNALS:
                self._on_signal(self, decode_signal(frame.payload))
            case Channel.ECHOES:
                self._on_echo(self, link, frame.payload)
            case Channel.CONTROL:
                raise RemoteError("bad-frame", "A control frame reached the sync machine.")

    def _receive(self, link: Link, message: Sync) -> None:
        if isinstance(message, Stock | Stocked):
            self._stock.receive(message)
            return
        bound = self._serve_link if isinstance(message, Need | Ack | Compared) else self._take_link
        if isinstance(message, Want):
            self._serve_link = link
        elif bound is not link and not isinstance(message, Live):
            # Left over of a stream that has moved to another link.
            return
        self.sync.receive(message, self._around.now())
        self._syncing.pump()

    def _tell_clock(self) -> tuple[int, str]:
        clock = self._around.clock
        return int(clock.wall() * 1000), clock.quality

    def _hear_clock(self, wall_ms: int, quality: str, took_s: float) -> None:
        clock = self._around.clock
        known: ClockQuality = next((each for each in CLOCK_QUALITIES if each == quality), "none")
        clock.heard(self.npub, wall_ms / 1000 - (clock.wall() - took_s / 2), known)

    def _peer_lost(self, link_id: bytes) -> None:
        for link in self.links:
            if link.id == link_id:
                link.close("The peer has lost this link.")

    def _broken(self, reason: str, *, served: bool) -> None:
        """The peer broke a rule of a stream, which was found out later."""
        link = self._serve_link if served else self._take_link
        if link is not None:
            link.close(reason)

    def doubt(self) -> None:
        """The peer may lack what its cursor has passed over: compares soon."""
        self.sync.serving.doubt(self._around.now())
        self._syncing.pump()

    # What goes to the peer.

    def stored(self, row: Row) -> None:
        """An event has come into this node's log."""
        now = self._around.now()
        self.sync.stored(row.seq, now, row.id)
        carries = self._bandwidth.carries
        if row.precedence <= (Precedence.IMMEDIATE if carries == "flash only" else Precedence.PRIORITY) or (
            row.push and carries != "flash only" and self.sync.serving.is_backlogged(now)
        ):
            self.sync.send_live([row])
        self._syncing.pump()

    def pass_on(self, row: Row) -> None:
        """An ephemeral event that did not come from this peer."""
        self.sync.send_live([row])
        self._syncing.pump()

    def signal(self, message: Signal) -> bool:
        """False if there is no link to send it on."""
        best = self.best
        return best is not None and best.post(Channel.SIGNALS, Precedence.IMMEDIATE, encode(message))

    async def send_blocks(self, message: bytes) -> None:
        """Raises PipeClosed when the last link has gone."""
        best = self.best
        if best is None or not self._is_attached:
            raise PipeClosed("The peer has no link that carries blocks.")
        await best.send(Channel.BLOCKS, Precedence.BULK, message)

    async def _blocks_here(self) -> Collection[bytes] | None:
        content = self._around.content
        return await content.stock(self.npub) if content is not None and self._is_attached else None

    def _blocks_there(self, ids: frozenset[bytes]) -> None:
        if self._around.content is not None and self._is_attached:
            self._around.content.stocked(self.npub, ids)

    def _post_stock(self, message: Stock | Stocked) -> bool:
        best = self.best
        return best is not None and best.post(Channel.EVENTS, Precedence.BULK, encode(message))

    def _post(self) -> None:
        sync = self.sync
        self._post_stream(sync.taking.outbox, self._take_link)
        self._post_stream(sync.take_served(), self._serve_link)
        best = self.best
        for precedence, live in sync.live_outbox:
            # Droppable: ephemeral events may be lost, others come by the log.
            if best is not None:
                best.post(Channel.EVENTS, precedence, encode(live))
        sync.live_outbox.clear()

    def _post_stream(self, outbox: list[Sync], link: Link | None) -> None:
        for message in outbox:
            is_bulk = isinstance(message, Batch | Fill | Compare | Compared)
            precedence = Precedence.ROUTINE if is_bulk else Precedence.IMMEDIATE
            if link is not None and not link.post(Channel.EVENTS, precedence, encode(message)):
                # The machine's windows keep it from happening; a gap in a stream must end it.
                link.close("The send queue overflowed.")
        outbox.clear()

    # Loops.

    async def _pass_blocks(self) -> None:
        """Blocks are hashed and written here, while the link goes on carrying events."""
        content = self._around.content
        while True:
            while self._blocks:
                link, message = self._blocks[0]
                if content is not None and link in self.links and self._is_attached:
                    try:
                        await content.receive(self.npub, message)
                    except MeshconsoleError as error:
                        link.close(error.sentence)
                self._blocks.popleft()
                self._blocks_bytes -= len(message)
                self._blocks_less.set()
            self._blocks_more.clear()
            await self._blocks_more.wait()

    async def _keep_choosing(self) -> None:
        """A link may fall silent without ending: look once a second."""
        while True:
            await asyncio.sleep(CHECK_S)
            await self.choose()
            self._measure()

    def _measure(self) -> None:
        """What is the best link good for? Blocks stop where it carries events only, the log where it
        carries flash only."""
        link, before = self.best, self.carries
        if link is None:
            return
        if link is not self._measured:
            self._measured, self._bandwidth = link, Bandwidth()
        now = self._around.now()
        carries = self._bandwidth.sample(now, link.bytes_out, waiting=link.is_busy, rtt_s=link.rtt_s)
        if carries == before:
            return
        log.info("the link with %s carries %s", self.npub[:8], carries)
        link.narrow(carries != "full")
        self.sync.serving.hold(carries == "flash only", now)
        self._detach()
        self._attach()
        self._syncing.pump()

    def _attach(self) -> None:
        wanted = self.carries == "full" and not self._is_retired
        if self._around.content is not None and wanted and not self._is_attached:
            self._is_attached = True
            self._around.content.attach(self.npub, self.send_blocks, lambda _cid: True)

    def _detach(self) -> None:
        if self._around.content is not None and self._is_attached:
            self._is_attached = False
            self._around.content.detach(self.npub)


def _rank(link: Link) -> tuple[bool, bool]:
    return link.is_suspect, link.pipe.path != "websocket"


def _should_leave(current: Link, best: Link) -> bool:
    """Whether a stream should leave a link for a better one: it is dead or silent, or is no websocket."""
    if current.closed is not None:
        return True
    if best.is_suspect:
        return False
    return current.is_suspect or (current.pipe.path != "websocket" and best.pipe.path == "websocket")
