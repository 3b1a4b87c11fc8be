"""Pipes over WebRTC data channels: the way through NAT.

aiortc comes from `aiortc_made_fit.py`, when the first data channel is wanted. The channel is ordered and
reliable because TLS runs inside it. Messages are binary; the first byte says whether the rest is data or a
count of the bytes consumed. That count is needed because aiortc neither holds back a sender whose peer does
not read, nor tells a receiver when to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

from meshconsole.core.errors import MeshconsoleError, RemoteError, Unavailable
from meshconsole.core.text import safe
from meshconsole.mesh.links.aiortc_made_fit import is_relayed, load_aiortc, use_loopback
from meshconsole.mesh.links.description import check_description
from meshconsole.mesh.links.frames import PIPE_MESSAGE
from meshconsole.mesh.links.pipe import PipeClosed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from meshconsole.core.status import PathName
    from meshconsole.mesh.links.aiortc_made_fit import RTCDataChannel, RTCPeerConnection
    from meshconsole.mesh.links.description import IceServer

log = logging.getLogger(__name__)

LABEL = "nostr-events"
CONNECT_S = 12.0
CLOSE_S = 0.8
CREDIT_BYTES = 1024 * 1024
"""Sent but not consumed, at most; beyond it the sender waits."""
BUFFER_BYTES = 256 * 1024
NARROW_BUFFER_BYTES = 2048
_DATA, _CONSUMED = b"\x00", b"\x01"
_COUNT = struct.Struct("!Q")


class DataChannelPipe:
    """A pipe over one open data channel; owns the peer connection under it."""

    path: PathName = "webrtc"
    own_host = ""

    def __init__(self, connection: RTCPeerConnection, channel: RTCDataChannel, address: str) -> None:
        self.address = address
        self.channel = channel.label
        self._connection = connection
        self._channel = channel
        self._inbox: deque[bytes] = deque()
        self._ended = ""
        self._sent = self._credited = 0
        self._held = self._consumed = self._reported = 0
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self.narrow(False)
        # pyee calls these in the middle of aiortc's receive loop, where an exception ends the transport.
        channel.on("message", _never_raises(self._message))
        channel.on("bufferedamountlow", _never_raises(self._writable.set))
        channel.on("close", _never_raises(lambda: self._end("The data channel was closed.")))
        connection.on("connectionstatechange", _never_raises(self._state_changed))

    @property
    def relayed(self) -> bool:
        return is_relayed(self._connection)

    async def send(self, message: bytes) -> None:
        if self._ended:
            raise PipeClosed(self._ended)
        self._put(_DATA + message)
        self._sent += len(message)
        while not self._ended and (
            self._sent - self._credited >= CREDIT_BYTES or self._channel.bufferedAmount >= self._buffer
        ):
            self._writable.clear()
            await self._writable.wait()

    def standing(self) -> None:
        """SCTP runs in this process: nobody below could tell sooner than the peer."""

    def narrow(self, is_narrow: bool, /) -> None:
        self._buffer = NARROW_BUFFER_BYTES if is_narrow else BUFFER_BYTES
        self._channel.bufferedAmountLowThreshold = self._buffer // 4

    async def receive(self) -> bytes:
        while not self._inbox:
            if self._ended:
                raise PipeClosed(self._ended)
            self._readable.clear()
            await self._readable.wait()
        message = self._inbox.popleft()
        self._held -= len(message)
        self._consumed += len(message)
        if self._consumed - self._reported >= CREDIT_BYTES // 4 and not self._ended:
            self._reported = self._consumed
            self._put(_CONSUMED + _COUNT.pack(self._consumed))
        return message

    async def close(self, reason: str) -> None:
        self._end(reason or "The data channel was closed.")
        await close_connection(self._connection)

    def _put(self, data: bytes) -> None:
        try:
            self._channel.send(data)
        except Exception as error:
            # aiortc raises its own InvalidStateError, and ConnectionError from below.
            self._end("The data channel is not open any more.")
            raise PipeClosed(self._ended) from error

    def _message(self, message: bytes | str) -> None:
        if isinstance(message, str) or not 1 <= len(message) <= PIPE_MESSAGE + 1:
            self._end("The peer sent a message that is none of ours.")
        elif message[:1] == _DATA:
            self._inbox.append(message[1:])
            self._held += len(message) - 1
            self._readable.set()
            if self._held > CREDIT_BYTES + 2 * PIPE_MESSAGE:
                self._end("The peer sent more than it had credit for.")
        elif message[:1] == _CONSUMED and len(message) == 1 + _COUNT.size:
            (consumed,) = _COUNT.unpack_from(message, 1)
            self._credited = max(self._credited, min(consumed, self._sent))
            self._writable.set()
        else:
            self._end("The peer sent a message that is none of ours.")

    def _state_changed(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self._end("The data channel's connection was lost.")

    def _end(self, reason: str) -> None:
        if not self._ended:
            self._ended = reason
        self._readable.set()
        self._writable.set()


class DataChannelOffer:
    """The offering side: `make`, give `text` to the peer, then `connect` with its answer."""

    def __init__(self, connection: RTCPeerConnection, pipe: DataChannelPipe, opened: asyncio.Event) -> None:
        self._connection = connection
        self._pipe = pipe
        self._opened = opened
        self.text: str = connection.localDescription.sdp

    @classmethod
    async def make(
        cls, address: str, servers: tuple[IceServer, ...] = (), *, loopback: bool = False
    ) -> DataChannelOffer:
        """`address` is the peer's, for people. Raises Unavailable."""
        connection = await _new_connection(servers)
        try:
            channel = connection.createDataChannel(LABEL, ordered=True)
            opened = asyncio.Event()
            channel.on("open", _never_raises(opened.set))
            pipe = DataChannelPipe(connection, channel, address)
            await _gather(connection, connection.createOffer, loopback=loopback)
            return cls(connection, pipe, opened)
        except BaseException:
            await close_connection(connection)
            raise

    async def connect(self, answer: str) -> DataChannelPipe:
        """Raises RemoteError for a bad answer; cancel it to give up, then `close`."""
        await _set_remote(self._connection, answer, "answer")
        await self._opened.wait()
        return self._pipe

    async def close(self) -> None:
        await close_connection(self._connection)


class DataChannelAnswer:
    """The answering side: `make` with the peer's offer, give `text` to the peer, then `connect`."""

    def __init__(self, connection: RTCPeerConnection, pipe: asyncio.Future[DataChannelPipe]) -> None:
        self._connection = connection
        self._pipe = pipe
        self.text: str = connection.localDescription.sdp

    @classmethod
    async def make(
        cls, offer: str, address: str, servers: tuple[IceServer, ...] = (), *, loopback: bool = False
    ) -> DataChannelAnswer:
        """Raises RemoteError for a bad offer, Unavailable."""
        connection = await _new_connection(servers)
        try:
            found: asyncio.Future[DataChannelPipe] = asyncio.get_running_loop().create_future()

            def channel_found(channel: RTCDataChannel) -> None:
                if channel.label == LABEL and not found.done():
                    found.set_result(DataChannelPipe(connection, channel, address))

            connection.on("datachannel", _never_raises(channel_found))
            await _set_remote(connection, offer, "offer")
            with _of_the_peer():
                await _gather(connection, connection.createAnswer, loopback=loopback)
            return cls(connection, found)
        except BaseException:
            await close_connection(connection)
            raise

    async def connect(self) -> DataChannelPipe:
        """Cancel it to give up, then `close`."""
        return await self._pipe

    async def close(self) -> None:
        await close_connection(self._connection)


async def close_connection(connection: RTCPeerConnection) -> None:
    """Ends a peer connection within CLOSE_S, whatever state it is in."""
    with contextlib.suppress(Exception):
        # Closing half-open connections raises what their parts happen to raise; nobody can act on it.
        async with asyncio.timeout(CLOSE_S):
            await connection.close()


async def _new_connection(servers: tuple[IceServer, ...]) -> RTCPeerConnection:
    # The first import takes a quarter of a second.
    aiortc = await asyncio.to_thread(load_aiortc)
    try:
        ice = [
            aiortc.RTCIceServer(server.url, server.username or None, server.password or None)
            for server in servers
        ]
        connection: RTCPeerConnection = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=ice))
    except ValueError as error:
        raise Unavailable(f"A STUN or TURN server is set wrongly: {error}.", hint="Check [nat].") from None
    return connection


async def _gather(
    connection: RTCPeerConnection, create: Callable[[], Awaitable[Any]], *, loopback: bool
) -> None:
    token = use_loopback.set(loopback)
    try:
        await connection.setLocalDescription(await create())
    except OSError as error:
        raise Unavailable(f"No address for a data channel: {error}.") from None
    finally:
        use_loopback.reset(token)


async def _set_remote(connection: RTCPeerConnection, text: str, kind: str) -> None:
    aiortc = load_aiortc()
    checked = check_description(text)
    with _of_the_peer():
        await connection.setRemoteDescription(aiortc.RTCSessionDescription(checked, kind))


@contextlib.contextmanager
def _of_the_peer() -> Iterator[None]:
    """Whatever goes wrong with a peer's description is the peer's fault."""
    try:
        yield
    except MeshconsoleError:
        raise
    except Exception as error:
        # aiortc answers bad text with whatever its lines run into: ValueError, KeyError, TypeError... And
        # some of it only when an answer is made.
        what = safe(f"{type(error).__name__}: {error}", 120)
        raise RemoteError("bad-sdp", f"The peer sent a description that cannot be used ({what}).") from None


def _never_raises(handler: Callable[..., None]) -> Callable[..., None]:
    def guarded(*arguments: object) -> None:
        try:
            handler(*arguments)
        except Exception:
            log.exception("a data channel's handler failed")

    return guarded
