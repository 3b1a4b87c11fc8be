"""A WebSocket client that does so little that it is not what is measured (RFC 6455).

Frames are masked before the clock runs, written together, and what comes back is counted, not parsed,
unless a phase must know more. One process with one selector drives every connection.
"""

from __future__ import annotations

import base64
import os
import selectors
import socket
import time
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from websockets.utils import apply_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

BUFFER_BYTES = 1 << 20
HANDSHAKE_S = 20.0
SILENCE_S = 60.0
"""A relay that says nothing for so long, while something is awaited, will not say it any more."""
_MASK = b"\x5a\xc3\x96\x3d"
_buffer = bytearray(BUFFER_BYTES)
_view = memoryview(_buffer)


class BenchError(Exception):
    """A relay did not do what was asked, so that its figures would mean nothing."""


def frame(message: bytes, opcode: int = 1) -> bytes:
    """A whole masked frame, as clients send them."""
    size = len(message)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
    return head + _MASK + bytes(apply_mask(message, _MASK))


class Counter:
    """How often a marker came by in a stream that is cut anywhere."""

    def __init__(self, marker: bytes) -> None:
        self._marker = marker
        self._tail = b""

    def feed(self, data: bytes) -> int:
        joined = self._tail + data
        self._tail = joined[-(len(self._marker) - 1) :]
        return joined.count(self._marker)


class Frames:
    """Whole messages out of a stream that is cut anywhere. Pings are returned apart, to be answered."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> tuple[list[bytes], list[bytes]]:
        data = self._rest + data
        texts: list[bytes] = []
        pings: list[bytes] = []
        start = 0
        while len(data) - start >= 2:
            size, body = data[start + 1] & 0x7F, start + 2
            if size > 125:
                width = 2 if size == 126 else 8
                if len(data) < body + width:
                    break
                size = int.from_bytes(data[body : body + width], "big")
                body += width
            if len(data) < body + size:
                break
            opcode = data[start] & 0x0F
            if opcode == 8:
                raise BenchError(f"the relay closed the connection: {data[body + 2 : body + size].decode()}")
            if opcode in (1, 9):
                (texts if opcode == 1 else pings).append(data[body : body + size])
            start = body + size
        self._rest = data[start:]
        return texts, pings


class Wire:
    """One connection. Compression is not offered."""

    def __init__(self, url: str, timeout_s: float = HANDSHAKE_S) -> None:
        parts = urlsplit(url)
        host, port = parts.hostname or "127.0.0.1", parts.port or 80
        self.socket = socket.create_connection((host, port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            chunk = self.socket.recv(4096)
            if not chunk:
                raise BenchError(f"{url} closed the connection before the upgrade: {answer!r}")
            answer += chunk
        head, _, self._early = answer.partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise BenchError(f"{url} did not upgrade: {head.splitlines()[0].decode()}")
        self.socket.setblocking(False)
        self._unsent = b""

    def fileno(self) -> int:
        return self.socket.fileno()

    @property
    def writing(self) -> bool:
        return bool(self._unsent)

    def send(self, data: bytes) -> None:
        self._unsent += data
        self.flush()

    def flush(self) -> None:
        while self._unsent:
            try:
                sent = self.socket.send(self._unsent)
            except BlockingIOError:
                return
            self._unsent = self._unsent[sent:]

    def receive(self) -> bytes:
        """What is there now. Raises BenchError when the relay has gone."""
        if self._early:
            early, self._early = self._early, b""
            return early
        try:
            size = self.socket.recv_into(_buffer)
        except BlockingIOError:
            return b""
        except ConnectionResetError:
            size = 0
        if not size:
            raise BenchError("the relay closed a connection")
        return bytes(_view[:size])

    def close(self) -> None:
        self.socket.close()


class Talker(Protocol):
    """What one connection is used for in a phase."""

    wire: Wire

    def hear(self, data: bytes, now: float) -> None: ...


class Crowd:
    """Connections that are driven together."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._talkers: list[Talker] = []

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for talker in self._talkers:
            talker.wire.close()
        self._selector.close()

    def add(self, talkers: Iterable[Talker]) -> None:
        for talker in talkers:
            self._talkers.append(talker)
            self._selector.register(talker.wire.socket, selectors.EVENT_READ, talker)

    def drive(self, done: Callable[[], bool], due: Callable[[float], float | None] | None = None) -> None:
        """Until `done`. `due` is called in between with the time; it says when to call again, in seconds."""
        heard = time.perf_counter()
        while not done():
            now = time.perf_counter()
            wait = due(now) if due else None
            timeout = 1.0 if wait is None else wait
            ready = self._selector.select(timeout)
            if ready:
                heard = time.perf_counter()
            elif time.perf_counter() - heard > SILENCE_S:
                raise BenchError(f"the relay said nothing for {SILENCE_S:.0f} s")
            for key, events in ready:
                talker: Talker = key.data
                if events & selectors.EVENT_WRITE:
                    talker.wire.flush()
                if events & selectors.EVENT_READ:
                    talker.hear(talker.wire.receive(), time.perf_counter())
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if talker.wire.writing else 0)
                if key.events != wanted:
                    self._selector.modify(talker.wire.socket, wanted, talker)

    def kick(self, talker: Talker) -> None:
        """After a send outside of `hear`: what did not fit is sent when it can be."""
        if talker.wire.writing:
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._selector.modify(talker.wire.socket, both, talker)


class Idle:
    """A connection with subscriptions that never match; it answers pings and waits."""

    def __init__(self, url: str, requests: Sequence[bytes]) -> None:
        self.wire = Wire(url)
        self.ready = 0
        self.expected = len(requests)
        self._frames = Frames()
        self.wire.send(b"".join(map(frame, requests)))

    def hear(self, data: bytes, now: float) -> None:
        texts, pings = self._frames.feed(data)
        for text in texts:
            if text.startswith(b'["CLOSED"'):
                raise BenchError(f"the relay refused a subscription: {text.decode()}")
            self.ready += text.startswith(b'["EOSE"')
        for ping in pings:
            self.wire.send(frame(ping, 10))
