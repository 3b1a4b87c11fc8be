"""From a TCP connection to a secured one: who is there is known, and what is said is sealed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from meshconsole.content.libp2p.multistream import answer, propose
from meshconsole.content.libp2p.noise import (
    MAX_HANDSHAKE_BYTES,
    MAX_PLAIN_BYTES,
    handshake,
)
from meshconsole.core.errors import RemoteError, Unavailable

if TYPE_CHECKING:
    from meshconsole.content.libp2p.keys import OwnKey, PeerId
    from meshconsole.content.libp2p.noise import Secured

NOISE = "/noise"
YAMUX = "/yamux/1.0.0"
READ_BYTES = 256 << 10


class Meter(Protocol):
    """The owner's bandwidth. Both wait until the bytes may pass."""

    async def wait_out(self, count: int, /) -> None: ...

    async def wait_in(self, count: int, /) -> None: ...


class Raw:
    """A TCP connection. What asyncio raises becomes Unavailable."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read_exactly(self, count: int) -> bytes:
        try:
            return await self._reader.readexactly(count)
        except asyncio.IncompleteReadError:
            raise Unavailable("The peer has closed the connection.") from None
        except OSError as error:
            raise Unavailable(f"The connection was lost: {error.strerror or error}.") from None

    def push(self, data: bytes) -> None:
        if not self._writer.transport.is_closing():
            self._writer.write(data)

    async def drain(self) -> None:
        try:
            await self._writer.drain()
        except OSError as error:
            raise Unavailable(f"The connection was lost: {error.strerror or error}.") from None

    async def write(self, data: bytes) -> None:
        self.push(data)
        await self.drain()

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        self._writer.transport.abort()


class Channel:
    """A secured connection to `peer`."""

    def __init__(self, raw: Raw, secured: Secured, meter: Meter) -> None:
        self.peer: PeerId = secured.peer
        self._raw = raw
        self._secured = secured
        self._meter = meter
        self._rest = b""

    async def receive(self) -> bytes:
        """Some bytes. Raises RemoteError("bad-noise"), Unavailable."""
        if self._rest:
            rest, self._rest = self._rest, b""
            return rest
        length = int.from_bytes(await self._raw.read_exactly(2), "big")
        sealed = await self._raw.read_exactly(length)
        await self._meter.wait_in(length + 2)
        return self._secured.receiving.open(sealed)

    async def read_exactly(self, count: int) -> bytes:
        while len(self._rest) < count:
            kept, self._rest = self._rest, b""
            self._rest = kept + await self.receive()
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def push(self, data: bytes) -> None:
        """Into the connection's buffer; `drain` waits until it has room."""
        view = memoryview(data)
        for start in range(0, len(view), MAX_PLAIN_BYTES):
            sealed = self._secured.sending.seal(view[start : start + MAX_PLAIN_BYTES])
            self._raw.push(len(sealed).to_bytes(2, "big") + sealed)

    async def drain(self) -> None:
        await self._raw.drain()

    async def write(self, data: bytes) -> None:
        self.push(data)
        await self.drain()

    async def may_send(self, count: int) -> None:
        """Waits for the owner's bandwidth."""
        await self._meter.wait_out(count)

    def close(self) -> None:
        self._raw.close()

    def abort(self) -> None:
        self._raw.abort()


async def secure(raw: Raw, own: OwnKey, meter: Meter, *, dialled: bool) -> Channel:
    """Noise, then yamux agreed upon. Raises RemoteError, Unavailable; the caller limits the time."""
    if dialled:
        await propose(raw, (NOISE,))
    else:
        await answer(raw, (NOISE,))
    channel = Channel(raw, await _handshake(raw, own, dialled=dialled), meter)
    if channel.peer == own.peer:
        raise RemoteError("self", "This node has met itself.")
    if dialled:
        await propose(channel, (YAMUX,))
    else:
        await answer(channel, (YAMUX,))
    return channel


async def _handshake(raw: Raw, own: OwnKey, *, dialled: bool) -> Secured:
    steps = handshake(own, dialled=dialled)
    try:
        step = next(steps)
        while True:
            if step is not None:
                await raw.write(len(step).to_bytes(2, "big") + step)
                step = next(steps)
                continue
            length = int.from_bytes(await raw.read_exactly(2), "big")
            if length > MAX_HANDSHAKE_BYTES:
                raise RemoteError("oversize", f"A message of the handshake has {length} bytes.")
            step = steps.send(await raw.read_exactly(length))
    except StopIteration as done:
        secured: Secured = done.value
        return secured
