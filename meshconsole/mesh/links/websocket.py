"""Pipes over WebSocket: the default on a LAN and for bulk.

The dialling side opens `ws://HOST:PORT/mesh` (or `/join`); the answering side gets the connection from
the relay's server, which listens for all. No TLS outside: the link's own runs inside.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket as socket_module
import struct
import sys
from socket import IPPROTO_TCP
from typing import TYPE_CHECKING, Literal

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from meshconsole.core.errors import Unavailable
from meshconsole.core.text import safe
from meshconsole.mesh.endpoints import join_address, os_words, split_address
from meshconsole.mesh.links.frames import PIPE_MESSAGE
from meshconsole.mesh.links.pipe import PipeClosed, Standing

try:
    import fcntl
except ImportError:  # not everywhere
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection
    from websockets.asyncio.connection import Connection

    from meshconsole.core.status import PathName

CONNECT_S = 5.0
CLOSE_S = 0.5
_TCP_INFO: int | None = getattr(socket_module, "TCP_INFO", None)
"""Not everywhere."""
_LAST_ACK_RECEIVED = struct.Struct("=56xI")
"""tcpi_last_ack_recv of struct tcp_info (linux/tcp.h), in milliseconds."""
_PROGRESS = struct.Struct("=68xII24xI16xQ")
"""Of the same: tcpi_rtt and tcpi_rttvar, in microseconds, tcpi_total_retrans and tcpi_bytes_acked."""
_SIOCOUTQ = 0x5411
"""linux/sockios.h: bytes that were handed on and are not acknowledged."""
Route = Literal["/mesh", "/join"]
WIDE_UNSENT = 16 * 1024
NARROW_UNSENT = 2048
_NOTSENT_LOWAT: int | None = getattr(socket_module, "TCP_NOTSENT_LOWAT", None)
"""Not everywhere."""
TCP_CONGESTION = 13  # linux/tcp.h, as are the next three, which Linux has from 6.15 and 6.16 on
TCP_RTO_MAX_MS, TCP_RTO_MIN_US, TCP_DELACK_MAX_US = 44, 45, 46
RTO_MAX_MS = 1000
"""The least that Linux takes. Where loss comes in bursts, a few repetitions are lost in a row; by itself TCP
waits twice as long after each, half a minute in the end, when the way has long been open again."""
RTO_MIN_US = 50_000
"""Beyond the round trip; by itself TCP waits 200 ms more, which a single note that was lost has to wait."""
DELACK_MAX_US = 20_000
_OPTIONS: tuple[tuple[int, int | bytes], ...] = (
    (TCP_RTO_MAX_MS, RTO_MAX_MS),
    (TCP_RTO_MIN_US, RTO_MIN_US),
    (TCP_DELACK_MAX_US, DELACK_MAX_US),
    # Loss is no congestion on a radio. Only where the machine's administrator lets everybody choose it
    # (net.ipv4.tcp_allowed_congestion_control).
    (TCP_CONGESTION, b"bbr"),
)


class WebSocketPipe:
    """A pipe over a WebSocket connection of either side. `address` is HOST:PORT of the other end."""

    path: PathName = "websocket"
    relayed = False
    channel = ""

    def __init__(self, connection: Connection, address: str) -> None:
        self.address = address
        self.own_host = _own_host(connection.local_address)
        self._connection = connection
        self._repeat_soon()
        self.narrow(False)

    @property
    def kernel_silent_s(self) -> float | None:
        """Seconds since the kernel got anything here, repetitions too; None if it does not tell."""
        told = self._tcp_info(_LAST_ACK_RECEIVED)
        return told[0] / 1000 if told is not None else None

    def standing(self) -> Standing | None:
        transport = self._connection.transport
        connected = transport.get_extra_info("socket")
        if connected is None or fcntl is None:
            return None
        try:
            waiting = int.from_bytes(fcntl.ioctl(connected.fileno(), _SIOCOUTQ, bytes(4)), sys.byteorder)
        except (OSError, ValueError):  # closed
            return None
        told = self._tcp_info(_PROGRESS)
        if told is None:
            return None
        rtt_us, varies_us, repeated, acked = told
        handed_on = acked + waiting + transport.get_write_buffer_size()
        return Standing(handed_on, acked, rtt_us / 1e6, varies_us / 1e6, repeated)

    def _tcp_info(self, what: struct.Struct) -> tuple[int, ...] | None:
        connected = self._connection.transport.get_extra_info("socket")
        if connected is None or _TCP_INFO is None:
            return None
        try:
            info = connected.getsockopt(IPPROTO_TCP, _TCP_INFO, what.size)
        except OSError:
            return None
        return what.unpack(info) if len(info) == what.size else None

    async def send(self, message: bytes) -> None:
        try:
            await self._connection.send(message)
        except ConnectionClosed as error:
            raise PipeClosed(_why(error)) from None

    async def receive(self) -> bytes:
        try:
            return await self._connection.recv(decode=False)
        except ConnectionClosed as error:
            raise PipeClosed(_why(error)) from None

    def narrow(self, is_narrow: bool, /) -> None:
        transport = self._connection.transport
        transport.set_write_buffer_limits(high=0 if is_narrow else PIPE_MESSAGE)
        socket = transport.get_extra_info("socket")
        if socket is not None and _NOTSENT_LOWAT is not None:
            # What the kernel holds beyond what is on its way can be overtaken by nothing.
            unsent = NARROW_UNSENT if is_narrow else WIDE_UNSENT
            with contextlib.suppress(OSError):
                socket.setsockopt(IPPROTO_TCP, _NOTSENT_LOWAT, unsent)

    def _repeat_soon(self) -> None:
        socket = self._connection.transport.get_extra_info("socket")
        if socket is not None and sys.platform == "linux":
            for option, value in _OPTIONS:
                # Older kernels do not know them: there the way is as slow as TCP is.
                with contextlib.suppress(OSError):
                    socket.setsockopt(IPPROTO_TCP, option, value)

    async def close(self, reason: str) -> None:
        # WebSocket allows 123 bytes of reason; the link has told it in full, inside TLS.
        short = safe(reason).encode()[:100].decode(errors="ignore")
        closing = self._connection.close(reason=short)
        with contextlib.suppress(WebSocketException, OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await closing
                return
        self._connection.transport.abort()


async def dial(address: str, route: Route = "/mesh", *, within_s: float = CONNECT_S) -> WebSocketPipe:
    """Raises Unavailable, in words, if nobody answers there or it is no mesh node."""
    # Only here: what it brings along takes 1 MB that a node which is not linked can do without.
    from websockets.asyncio.client import connect

    host, port = split_address(address)
    # Through which interface a link-local address is reached concerns this machine alone (RFC 6874).
    uri = f"ws://{join_address(host.partition('%')[0], port)}{route}"
    try:
        connection: ClientConnection = await connect(
            uri,
            host=host,
            port=port,
            compression=None,
            max_size=2 * PIPE_MESSAGE,
            max_queue=16,
            write_limit=4 * PIPE_MESSAGE,
            open_timeout=within_s,
            close_timeout=CLOSE_S,
            # The link has its own keep-alive, which also tells whether it is heard.
            ping_interval=None,
            proxy=None,
            user_agent_header=None,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        raise Unavailable(f"{address} answers, but offers no {route} (HTTP {status}).") from None
    except (WebSocketException, EOFError) as error:
        raise Unavailable(f"{address} answers, but is no mesh node: {safe(str(error), 80)}.") from None
    except TimeoutError:
        raise Unavailable(f"{address} did not answer within {within_s:.0f} s.") from None
    except OSError as error:
        raise Unavailable(f"{address} cannot be reached: {os_words(error)}.") from None
    return WebSocketPipe(connection, address)


def accepted(connection: Connection) -> WebSocketPipe:
    """The pipe of a connection that the relay's server took for a route."""
    peer = connection.remote_address
    address = join_address(str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else "?"
    return WebSocketPipe(connection, address)


def _own_host(local: object) -> str:
    """The host of what a socket says of itself; an IPv4 address that came as IPv6 is written as IPv4."""
    host = str(local[0]) if isinstance(local, tuple) and local else ""
    return host.removeprefix("::ffff:").partition("%")[0]


def _why(error: ConnectionClosed) -> str:
    received = error.rcvd
    if received is not None and received.reason:
        return f"The connection was closed: {safe(received.reason, 120)}"
    return "The connection was closed." if received is not None else "The connection was lost."
