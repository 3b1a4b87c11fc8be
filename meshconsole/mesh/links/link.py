"""A link: one secure, framed, watched connection to one other device, over any pipe.

TLS 1.3 with a post-quantum group and pinned ML-DSA keys runs inside the pipe (`crypto/tls.py`), frames
inside TLS (`frames.py`). The pipe may be anybody's: it can only delay or end the link.

A link's life: `open` (handshake, then one Hello each way, HANDSHAKE_S in all), `run` (until it is closed
by either side, by silence, or by a broken rule), and the reason, which both sides know.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshconsole.core.errors import MeshconsoleError, RemoteError, Unavailable
from meshconsole.core.status import LinkStatus
from meshconsole.core.text import safe
from meshconsole.mesh.links.bulk import BulkWindow
from meshconsole.mesh.links.frames import (
    NARROW_RECORD,
    RECORD_PLAINTEXT,
    Channel,
    Frame,
    FrameDecoder,
    FrameQueue,
    Precedence,
)
from meshconsole.mesh.links.heartbeat import GONE_S, Heartbeat
from meshconsole.mesh.links.pipe import Meter, Pipe, PipeClosed
from meshconsole.mesh.links.secure import SecurePipe
from meshconsole.mesh.messages import (
    PROTOCOL_VERSION,
    Bye,
    Control,
    Hello,
    Lost,
    Ping,
    Pong,
    decode_control,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from meshconsole.crypto.tls import TlsSession

HANDSHAKE_S = 10.0
FAREWELL_S = 0.5
LINK_ID_LABEL = b"EXPORTER-meshconsole-link-id"


@dataclass(frozen=True, slots=True)
class Closed:
    """How a link ended: who ended it and the sentence that both sides log."""

    by_peer: bool
    reason: str

    def __str__(self) -> str:
        return f"{self.reason} (said the peer)" if self.by_peer else self.reason


class Link:
    """`now` is monotonic, `wall` seconds since the epoch. `dialled`: this side opened the pipe."""

    def __init__(
        self,
        pipe: Pipe,
        session: TlsSession,
        *,
        dialled: bool,
        meter: Meter,
        now: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.pipe = pipe
        self.dialled = dialled
        self.id = b""
        """Eight bytes that both sides know the link by."""
        self.hello: Hello
        """What the peer said of itself; set by `open`."""
        self.said: Hello
        """What this side said; set by `open`."""
        self.closed: Closed | None = None
        self.head: Callable[[], int] = lambda: 0
        """The head of this node's log, told with every ping."""
        self.on_head: Callable[[int], None] = lambda _head: None
        """Called with the head of the peer's log."""
        self.on_lost: Callable[[bytes], None] = lambda _link_id: None
        """Called with the id of another link that the peer has lost."""
        self.tell_clock: Callable[[], tuple[int, str]] = lambda: (0, "")
        """This machine's clock in milliseconds and what it is worth, told with every pong."""
        self.on_clock: Callable[[int, str, float], None] = lambda _ms, _quality, _took_s: None
        """Called with the peer's, and how long question and answer were under way."""
        self._secure = SecurePipe(pipe, session, meter)
        self._session = session
        self._now = now
        self._since = wall()
        self._queue = FrameQueue()
        self._record = RECORD_PLAINTEXT
        self._bulk = BulkWindow()
        self._decoder = FrameDecoder()
        self._early: deque[Frame] = deque()
        self._heart = Heartbeat(now())
        self._to_write = asyncio.Event()
        self._has_room = asyncio.Event()
        self._ping_early = asyncio.Event()
        self._ending = asyncio.Event()

    @property
    def peer_key(self) -> bytes:
        """The ML-DSA public key that the peer has proven to hold."""
        return self._session.peer_mldsa_public

    @property
    def address(self) -> str:
        return self.pipe.address

    @property
    def hears_us(self) -> bool | None:
        return self._heart.hears_us(self._now())

    @property
    def is_suspect(self) -> bool:
        return self._heart.is_suspect(self._now())

    @property
    def bytes_out(self) -> int:
        return self._secure.bytes_out

    @property
    def is_busy(self) -> bool:
        """More waits to be sent than has been handed on."""
        return bool(self._queue)

    def waits(self, precedence: Precedence) -> bool:
        """Whether anything of this precedence or a higher one has not been handed on yet."""
        return self._queue.waits(precedence)

    def narrow(self, is_narrow: bool) -> None:
        """Whether the way is slow: records are small then, and hardly anything waits below this link."""
        self._record = NARROW_RECORD if is_narrow else RECORD_PLAINTEXT
        self.pipe.narrow(is_narrow)

    @property
    def silent_s(self) -> float:
        """Seconds since anything was heard."""
        return self._now() - self._heart.last_heard

    @property
    def rtt_s(self) -> float | None:
        return self._heart.rtt_s

    def status(self) -> LinkStatus:
        rtt = self._heart.rtt_s
        return LinkStatus(
            path=self.pipe.path,
            address=self.pipe.address,
            since=self._since,
            rtt_ms=None if rtt is None else round(rtt * 1000, 1),
            group=self._session.group,
            bytes_in=self._secure.bytes_in,
            bytes_out=self._secure.bytes_out,
            channel=self.pipe.channel,
            loss_percent=self._heart.loss_percent,
            relayed=self.pipe.relayed,
        )

    async def open(self, make_hello: Callable[[bytes], Hello]) -> Hello:
        """Shakes hands and exchanges Hellos; `make_hello` gets the peer's proven key.

        Raises RemoteError (also when the peer's key is not welcome), Unavailable, or Refused by
        `make_hello`. The pipe is closed then.
        """
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                await self._secure.shake_hands()
                self.id = self._session.export(LINK_ID_LABEL, 8)
                self.said = make_hello(self.peer_key)
                self._put(Channel.CONTROL, Precedence.FLASH, encode(self.said))
                await self._secure.send(self._queue.take())
                self.hello = await self._receive_hello()
        except TimeoutError:
            error = Unavailable(f"The link to {self.address} was not ready within {HANDSHAKE_S:.0f} s.")
            await self._abandon(error.sentence)
            raise error from None
        except MeshconsoleError as error:
            await self._abandon(error.sentence)
            raise
        except asyncio.CancelledError:
            await self._abandon("The node stops.")
            raise
        self._heart = Heartbeat(self._now())
        return self.hello

    async def run(self, handle: Callable[[Frame], Awaitable[None]]) -> Closed:
        """Carries frames until the link is closed, and returns how it was.

        `handle` gets every frame that is not the link's own, in order; while it waits nothing more is
        read. RemoteError from it closes the link.
        """
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._read(handle)),
                group.create_task(self._write()),
                group.create_task(self._watch()),
            ]
            try:
                await self._ending.wait()
            finally:
                for task in tasks:
                    task.cancel()
                await self._end()
        return self.closed or Closed(False, "The link ended.")

    def close(self, reason: str) -> None:
        """Asks `run` to end the link and to tell the peer why. The first reason stands."""
        self._finish(Closed(False, reason))

    def post(self, channel: Channel, precedence: Precedence, payload: bytes) -> bool:
        """Queues a frame without waiting. False if there is no room for it, or no link any more."""
        if self.closed is not None or not self._queue.has_room(precedence):
            return False
        self._put(channel, precedence, payload)
        return True

    async def send(self, channel: Channel, precedence: Precedence, payload: bytes) -> None:
        """Queues a frame when its lane has room. Raises PipeClosed when the link is no more."""
        while self.closed is None and not self._queue.has_room(precedence):
            self._has_room.clear()
            await self._has_room.wait()
        if self.closed is not None:
            raise PipeClosed(self.closed.reason)
        self._put(channel, precedence, payload)

    def say_lost(self, link_id: bytes) -> None:
        """Tells the peer that this side has lost another link to it."""
        self.post(Channel.CONTROL, Precedence.IMMEDIATE, encode(Lost(link_id)))

    def probe(self) -> None:
        """Pings at once: the network has changed."""
        self._heart.ping_soon(self._now())
        self._ping_early.set()

    async def _receive_hello(self) -> Hello:
        while not self._early:
            self._early.extend(self._decoder.receive(await self._secure.receive()))
        first = self._early.popleft()
        message = decode_control(first.payload) if first.channel == Channel.CONTROL else None
        if isinstance(message, Bye):
            raise Unavailable(safe(message.reason, 200))
        if not isinstance(message, Hello):
            raise RemoteError("no-hello", "The peer did not introduce itself.")
        if message.version != PROTOCOL_VERSION:
            raise RemoteError(
                "version",
                f"The peer speaks version {message.version} of the mesh protocol, this node version "
                f"{PROTOCOL_VERSION}.",
                hint="Bring both to the same version of meshconsole.",
            )
        return message

    async def _read(self, handle: Callable[[Frame], Awaitable[None]]) -> None:
        try:
            while True:
                while self._early:
                    await self._dispatch(self._early.popleft(), handle)
                data = await self._secure.receive()
                self._heart.heard(self._now())
                self._early.extend(self._decoder.receive(data))
        except PipeClosed as error:
            self._finish(Closed(True, error.sentence))
        except RemoteError as error:
            self._finish(Closed(error.code == "refused-by-peer", error.sentence))
        except MeshconsoleError as error:
            self._finish(Closed(False, error.sentence))

    async def _dispatch(self, frame: Frame, handle: Callable[[Frame], Awaitable[None]]) -> None:
        if frame.channel == Channel.CONTROL:
            self._control(decode_control(frame.payload))
            return
        await handle(frame)
        # However long the handler took, the peer was not silent: this side did not listen.
        self._heart.heard(self._now())

    def _control(self, message: Control) -> None:
        match message:
            case Ping(number, heard, head):
                self._heart.ping_received(number, heard, self._now())
                self.on_head(head)
                self.post(Channel.CONTROL, Precedence.FLASH, encode(Pong(number, *self.tell_clock())))
            case Pong(number, wall_ms, clock):
                took_s = self._heart.pong_received(number, self._now())
                if took_s is not None:
                    self._bulk.answered(number, took_s)
                    self._probe_bulk()
                    self._to_write.set()
                if took_s is not None and wall_ms:
                    self.on_clock(wall_ms, clock, took_s)
            case Bye(reason):
                self._finish(Closed(True, safe(reason, 200)))
            case Lost(link_id):
                self.on_lost(link_id)
            case Hello():
                raise RemoteError("second-hello", "The peer introduced itself twice.")

    async def _write(self) -> None:
        try:
            while True:
                self._to_write.clear()
                plaintext = self._queue.take(self._record, with_bulk=self._bulk.has_room)
                if plaintext:
                    self._has_room.set()
                    await self._secure.send(plaintext)
                    self._bulk.sent(self._queue.bulk_taken)
                    self._probe_bulk()
                else:
                    await self._to_write.wait()
        except PipeClosed as error:
            self._finish(Closed(True, error.sentence))
        except MeshconsoleError as error:
            self._finish(Closed(False, error.sentence))

    def _probe_bulk(self) -> None:
        if self._bulk.wants_ping:
            self._ping(self._heart.ping(self._now()))

    def _ping(self, number: int) -> None:
        ping = Ping(number, self._heart.newest_heard, self.head())
        if self.post(Channel.CONTROL, Precedence.FLASH, encode(ping)):
            self._bulk.pinged(number)

    async def _watch(self) -> None:
        while True:
            now = self._now()
            if self._heart.is_gone(now):
                self._finish(Closed(False, f"Nothing was heard for {GONE_S:.0f} s."))
                return
            number = self._heart.ping_due(now)
            if number is not None:
                self._ping(number)
            self._ping_early.clear()
            try:
                async with asyncio.timeout(max(0.01, self._heart.next_timer() - self._now())):
                    await self._ping_early.wait()
            except TimeoutError:
                continue

    def _put(self, channel: Channel, precedence: Precedence, payload: bytes) -> None:
        self._queue.put(channel, precedence, payload)
        self._to_write.set()

    def _finish(self, closed: Closed) -> None:
        if self.closed is None:
            self.closed = closed
            self._ending.set()
            self._has_room.set()

    async def _end(self) -> None:
        """Tells the peer why, if it can be told quickly, and lets the pipe go."""
        closed = self.closed or Closed(False, "The node stops.")
        self.closed = closed
        self._has_room.set()
        if not closed.by_peer:
            await self._say_bye(closed.reason)
        await self.pipe.close(closed.reason)

    async def _abandon(self, reason: str) -> None:
        """The link did not come to be."""
        self._finish(Closed(False, reason))
        if self._session.established:
            await self._say_bye(reason)
        await self.pipe.close(reason)

    async def _say_bye(self, reason: str) -> None:
        bye = FrameQueue()
        bye.put(Channel.CONTROL, Precedence.FLASH, encode(Bye(reason[:200])))
        await self._secure.farewell(bye.take(), FAREWELL_S)
