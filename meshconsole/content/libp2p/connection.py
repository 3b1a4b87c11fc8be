"""A connection to a peer: streams over a secured channel, kept alive and ended with a reason."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Literal
from weakref import WeakValueDictionary

from meshconsole.content.formats.varint import encode_varint
from meshconsole.content.libp2p.identify import Identified
from meshconsole.content.libp2p.multistream import answer, propose, read_length
from meshconsole.content.libp2p.yamux import MAX_FRAME_DATA, Session
from meshconsole.content.tasks import Tasks
from meshconsole.core.errors import MeshconsoleError, RemoteError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from meshconsole.content.libp2p import yamux
    from meshconsole.content.libp2p.multiaddr import Multiaddr
    from meshconsole.content.libp2p.securing import Channel

log = logging.getLogger(__name__)

Standing = Literal["team", "stranger"]

KEEPALIVE_S = 30.0
STALL_S = 30.0
"""A peer that takes nothing of what is sent to it, or sends nothing of a message it has begun, for so
long is let go."""
OPEN_S = 10.0
"""For a stream to agree on its protocol."""
CLOSE_S = 1.0


class StreamClosed(Unavailable):
    """The other side has ended the stream."""


class Stream:
    """A stream of bytes over a connection."""

    def __init__(self, connection: Connection, state: yamux.Stream) -> None:
        self.connection = connection
        self._state = state
        self._changed = asyncio.Event()

    async def read_exactly(self, count: int) -> bytes:
        """Raises StreamClosed, Unavailable."""
        state = self._state
        while len(state.received) < count:
            self._check()
            if state.ended_there:
                raise StreamClosed("The peer has ended the stream.")
            self.connection.session.grant(state, count)
            self.connection.flush()
            self._changed.clear()
            await self._changed.wait()
        taken = self.connection.session.take(state, count)
        self.connection.session.grant(state)
        self.connection.flush()
        return taken

    async def read_message(self, most: int) -> bytes:
        """A message behind its length, which may take its time to begin. Raises RemoteError("bad-varint" |
        "oversize" | "stalled"), StreamClosed, Unavailable."""
        length = await read_length(self, most)
        try:
            async with asyncio.timeout(STALL_S + length / 65_536):
                return await self.read_exactly(length)
        except TimeoutError:
            raise RemoteError("stalled", "The peer began a message and did not end it.") from None

    async def write(self, data: bytes) -> None:
        """Returns when all is on its way. Raises Unavailable."""
        connection, view = self.connection, memoryview(data)
        while view:
            self._check()
            if not self._state.may_send:
                self._changed.clear()
                await self._waiting(self._changed.wait())
                continue
            await connection.channel.may_send(min(len(view), self._state.may_send, MAX_FRAME_DATA))
            view = view[connection.session.send(self._state, view) :]
            connection.flush()
            await self._waiting(connection.channel.drain())

    async def write_message(self, data: bytes) -> None:
        await self.write(encode_varint(len(data)) + data)

    def end(self) -> None:
        """Nothing more is sent."""
        self.connection.session.end(self._state)
        self.connection.flush()

    def reset(self) -> None:
        self.connection.session.reset(self._state)
        self.connection.flush()

    def wake(self) -> None:
        self._changed.set()

    @property
    def is_open(self) -> bool:
        return not (self._state.is_reset or self._state.ended_here or self.connection.is_closed)

    async def _waiting(self, for_it: Awaitable[object]) -> None:
        try:
            async with asyncio.timeout(STALL_S):
                await for_it
        except TimeoutError:
            raise Unavailable(f"The peer took nothing for {STALL_S:.0f} s.") from None

    def _check(self) -> None:
        if self.connection.is_closed:
            raise Unavailable("The connection has ended.")
        if self._state.is_reset:
            raise StreamClosed("The peer has reset the stream.")


class Connection:
    """`handlers` are the protocols that this peer may speak with us."""

    def __init__(
        self,
        channel: Channel,
        remote: Multiaddr,
        standing: Standing,
        handlers: Mapping[str, Callable[[Stream], Awaitable[None]]],
        *,
        dialled: bool,
        now: Callable[[], float],
    ) -> None:
        self.channel = channel
        self.peer = channel.peer
        self.remote = remote
        self.standing = standing
        self.dialled = dialled
        self.session = Session(dialled=dialled)
        self.identified = Identified()
        self.is_closed = False
        self.reason = ""
        """Why it ended."""
        self.bytes_in = self.bytes_out = 0
        self.used_at = now()
        self._handlers = handlers
        self._now = now
        self._streams: WeakValueDictionary[int, Stream] = WeakValueDictionary()
        """Those that somebody reads or writes."""
        self._tasks = Tasks()

    async def run(self) -> None:
        """Until the connection ends; `reason` says why."""
        keeping = self._tasks.spawn("libp2p keep-alive", self._keep_alive())
        try:
            while True:
                data = await self.channel.receive()
                self.bytes_in += len(data)
                self.session.receive(data)
                self._pass_on()
                self.flush()
                await self.channel.drain()
        except RemoteError as error:
            self.session.go_away(1)
            self.flush()
            self.close(error.sentence)
        except Unavailable as error:
            self.close(error.sentence)
        finally:
            keeping.cancel()
            self.close("This node has ended it.")
            await self._tasks.stop()

    async def open(self, protocols: Sequence[str]) -> tuple[Stream, str]:
        """A stream, and which of the protocols it speaks. Raises RemoteError, Unavailable."""
        if self.is_closed:
            raise Unavailable("The connection has ended.")
        state = self.session.open()
        stream = self._streams[state.number] = Stream(self, state)
        try:
            async with asyncio.timeout(OPEN_S):
                return stream, await propose(stream, protocols)
        except TimeoutError:
            stream.reset()
            raise Unavailable("The peer does not answer on a stream.") from None
        except MeshconsoleError:
            stream.reset()
            raise

    def spawn(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Something that ends with the connection at the latest."""
        if not self.is_closed:
            self._tasks.spawn(name, self._guard(work))

    def flush(self) -> None:
        """What the session has to say goes into the channel."""
        if (out := self.session.outbox()) and not self.is_closed:
            self.bytes_out += len(out)
            self.channel.push(out)

    def close(self, reason: str) -> None:
        if self.is_closed:
            return
        self.session.go_away(0)
        self.flush()
        self.is_closed = True
        self.reason = reason
        self.channel.close()
        # A peer that does not read must not keep the socket.
        asyncio.get_running_loop().call_later(CLOSE_S, self.channel.abort)
        for stream in list(self._streams.values()):
            stream.wake()

    @property
    def idle_s(self) -> float:
        """How long no stream was open; 0 while one is."""
        if self.session.streams:
            self.used_at = self._now()
        return self._now() - self.used_at

    def _pass_on(self) -> None:
        for state in self.session.opened():
            stream = self._streams[state.number] = Stream(self, state)
            self._tasks.spawn("libp2p stream", self._guard(partial(self._serve, stream)))
        for state in self.session.touched():
            if (known := self._streams.get(state.number)) is not None:
                known.wake()

    async def _serve(self, stream: Stream) -> None:
        try:
            async with asyncio.timeout(OPEN_S):
                protocol = await answer(stream, self._handlers)
        except TimeoutError:
            stream.reset()
            return
        try:
            await self._handlers[protocol](stream)
        except StreamClosed:
            pass
        except MeshconsoleError:
            stream.reset()
            raise
        stream.end()

    async def _guard(self, work: Callable[[], Awaitable[None]]) -> None:
        """A peer that breaks a protocol loses its connection; one that goes away has broken nothing."""
        try:
            await work()
        except RemoteError as error:
            if error.code == "no-protocol":
                log.debug("libp2p: %s: %s", self.peer, error.sentence)
            else:
                self.close(error.sentence)
        except Unavailable as error:
            log.debug("libp2p: %s: %s", self.peer, error.sentence)

    async def _keep_alive(self) -> None:
        number = 0
        while True:
            pongs, received = self.session.pongs, self.bytes_in
            self.session.ping(number := number + 1)
            self.flush()
            await asyncio.sleep(KEEPALIVE_S)
            if self.session.pongs == pongs and self.bytes_in == received:
                self.close(f"The peer was silent for {KEEPALIVE_S:.0f} s.")
                return
