"""Pipes over WebRTC data channels: the way through NAT. The only module that imports aiortc.

aiortc 1.16 and aioice 0.13 are imported when the first data channel is wanted, and made fit for a
network without internet. Every change to their inner parts is in `_load`, checked to exist before it is
made, and held by a contract test:

- PyAV is not installed: a stub stands for it, so that the media code can be imported and never used.
- `iceServers` is always given: the default asks a public server and waits 5 s for it.
- Candidates are gathered for GATHER_S at most, not 5 s: a server may have died since it was asked.
- Consent to send is checked every second and given up after three failures; the defaults need 33 s.
- SCTP's first and least retransmission timeouts come down from 3 s and 1 s, which a LAN never needs.
- The congestion window is capped: without it 10,000 messages overflow the socket's buffer by half.
- A peer that sends one endless message is cut off; aiortc would collect it in memory.
- Loopback addresses are candidates when the machine has no others, or when the peer is on it.

The channel is ordered and reliable because TLS runs inside it. Messages are binary; the first byte says
whether the rest is data or a count of the bytes consumed. That count is needed because aiortc neither
holds back a sender whose peer does not read, nor tells a receiver when to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
import struct
import sys
from collections import deque
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from meshconsole.core.errors import Fatal, LocalError, RemoteError, Unavailable
from meshconsole.core.text import safe
from meshconsole.mesh.links.description import check_description
from meshconsole.mesh.links.frames import PIPE_MESSAGE
from meshconsole.mesh.links.pipe import PipeClosed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiortc import RTCDataChannel, RTCPeerConnection

    from meshconsole.core.status import PathName
    from meshconsole.mesh.links.description import IceServer

log = logging.getLogger(__name__)

LABEL = "nostr-events"
CONNECT_S = 12.0
CLOSE_S = 0.8
CREDIT_BYTES = 1024 * 1024
"""Sent but not consumed, at most; beyond it the sender waits."""
BUFFER_BYTES = 256 * 1024
CWND_BYTES = 128 * 1024
PARTIAL_BYTES = 320 * 1024
"""Of messages that are not whole yet: the largest message aiortc allows, and what may be in flight."""
GATHER_S = 2.5
CONSENT_INTERVAL_S = 1
CONSENT_FAILURES = 3
NARROW_BUFFER_BYTES = 2048
RTO_INITIAL_S = 1.0
RTO_MIN_S = 0.2
_DATA, _CONSUMED = b"\x00", b"\x01"
_COUNT = struct.Struct("!Q")
_use_loopback: contextvars.ContextVar[bool] = contextvars.ContextVar("use_loopback", default=False)


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
    aiortc = await asyncio.to_thread(_load)
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
    token = _use_loopback.set(loopback)
    try:
        await connection.setLocalDescription(await create())
    except OSError as error:
        raise Unavailable(f"No address for a data channel: {error}.") from None
    finally:
        _use_loopback.reset(token)


async def _set_remote(connection: RTCPeerConnection, text: str, kind: str) -> None:
    aiortc = _load()
    checked = check_description(text)
    try:
        await connection.setRemoteDescription(aiortc.RTCSessionDescription(checked, kind))
    except Exception as error:
        # The parser answers bad text with whatever its lines run into: ValueError, KeyError, TypeError...
        what = safe(f"{type(error).__name__}: {error}", 120)
        raise RemoteError("bad-sdp", f"The peer sent a description that cannot be used ({what}).") from None


def _never_raises(handler: Callable[..., None]) -> Callable[..., None]:
    def guarded(*arguments: object) -> None:
        try:
            handler(*arguments)
        except Exception:
            log.exception("a data channel's handler failed")

    return guarded


@lru_cache(maxsize=1)
def _load() -> ModuleType:
    """Imports aiortc and changes what must be changed. Raises Fatal if a part is not as expected."""
    _stub_av()
    import aioice.ice
    import aiortc
    import aiortc.rtcpeerconnection
    import aiortc.rtcsctptransport

    _set(aioice.ice, "CONSENT_INTERVAL", CONSENT_INTERVAL_S)
    _set(aioice.ice, "CONSENT_FAILURES", CONSENT_FAILURES)
    _set(aiortc.rtcsctptransport, "SCTP_RTO_INITIAL", RTO_INITIAL_S)
    _set(aiortc.rtcsctptransport, "SCTP_RTO_MIN", RTO_MIN_S)
    _set(aiortc.rtcpeerconnection, "RTCSctpTransport", _guarded_sctp(aiortc.rtcsctptransport))
    _set(aioice.ice, "get_host_addresses", _with_loopback(aioice.ice))
    _gather_quickly(aioice.ice)
    return aiortc


def _gather_quickly(ice: ModuleType) -> None:
    connection = _part(ice, "Connection")
    gather: Callable[..., Awaitable[list[Any]]] = _part(connection, "get_component_candidates")
    if "timeout" not in inspect.signature(gather).parameters:
        raise Fatal("This version of aioice gathers candidates in another way.", hint=_VERSIONS)

    async def get_component_candidates(self: object, component: int, addresses: list[str]) -> list[Any]:
        return await gather(self, component=component, addresses=addresses, timeout=GATHER_S)

    connection.get_component_candidates = get_component_candidates


def _with_loopback(ice: ModuleType) -> Callable[[bool, bool], list[str]]:
    original: Callable[..., list[str]] = _part(ice, "get_host_addresses")

    def get_host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        found = original(use_ipv4=use_ipv4, use_ipv6=use_ipv6)
        if use_ipv4 and (not found or _use_loopback.get()):
            found.append("127.0.0.1")
        return found

    return get_host_addresses


def _guarded_sctp(module: ModuleType) -> type:
    base: Any = _part(module, "RTCSctpTransport")
    for name in ("_receive_sack_chunk", "_receive_data_chunk", "_abort"):
        _part(base, name)

    class GuardedSctp(base):  # type: ignore[misc]
        """With a ceiling for the congestion window, and one for messages that never end."""

        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(*arguments, **named)
            self._full_window: int = _part(self, "_advertised_rwnd")
            _part(self, "_cwnd")

        async def _receive_sack_chunk(self, chunk: object) -> None:
            await super()._receive_sack_chunk(chunk)
            self._cwnd: int = min(self._cwnd, CWND_BYTES)

        async def _receive_data_chunk(self, chunk: object) -> None:
            await super()._receive_data_chunk(chunk)
            if self._full_window - self._advertised_rwnd > PARTIAL_BYTES:
                log.warning("a data channel was ended: its peer sends messages without end")
                await self._abort()

    return GuardedSctp


_VERSIONS = "Install the versions of meshconsole's lock file: aiortc 1.16, aioice 0.13."


def _part(owner: object, name: str) -> Any:  # noqa: ANN401 - parts of a library, of any type
    """An inner part that must exist."""
    if not hasattr(owner, name):
        where = getattr(owner, "__name__", type(owner).__name__)
        raise Fatal(
            f"This version of aiortc or aioice has no {where}.{name}.",
            hint=_VERSIONS,
        )
    return getattr(owner, name)


def _set(owner: ModuleType, name: str, value: object) -> None:
    _part(owner, name)
    setattr(owner, name, value)


class _Absent:
    """Stands for every class of PyAV."""

    def __init__(self, *_arguments: object, **_named: object) -> None:
        raise LocalError("Media is not part of meshconsole: PyAV is replaced by a stub.")


class _AvStub(ModuleType):
    __path__: list[str] = []  # noqa: RUF012 - what makes a module a package

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent


_AV_MODULES = (
    "av",
    "av.audio",
    "av.frame",
    "av.packet",
    "av.video",
    "av.video.codeccontext",
    "av.video.frame",
)


def _stub_av() -> None:
    """Saves 17 MB of memory and 104 MB of disk, and does not bring x264 into the image."""
    if "av" in sys.modules:
        return
    for name in _AV_MODULES:
        module = _AvStub(name)
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
