"""A TLS session inside a pipe: plaintext in, plaintext out, every byte metered."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

from meshconsole.core.errors import MeshconsoleError, RemoteError
from meshconsole.mesh.links.frames import PIPE_MESSAGE
from meshconsole.mesh.links.pipe import PipeClosed

if TYPE_CHECKING:
    from meshconsole.crypto.tls import TlsSession
    from meshconsole.mesh.links.pipe import Meter, Pipe


class SecurePipe:
    """All methods raise RemoteError when the other side breaks TLS, PipeClosed when the pipe ends."""

    def __init__(self, pipe: Pipe, session: TlsSession, meter: Meter) -> None:
        self.pipe = pipe
        self.session = session
        self.bytes_in = 0
        self.bytes_out = 0
        self._meter = meter
        self._sealed: deque[bytes] = deque()

    async def shake_hands(self) -> None:
        session = self.session
        await asyncio.to_thread(session.start)
        await self.flush()
        while not session.established:
            data = await self._read()
            try:
                # Signatures and key exchange take some milliseconds.
                await asyncio.to_thread(session.receive, data)
            except RemoteError:
                # The alert that tells the peer why; it may be gone already.
                with contextlib.suppress(PipeClosed):
                    await self.flush()
                raise
            await self.flush()

    async def receive(self) -> bytes:
        """The next plaintext, at least one byte. PipeClosed also when the peer has ended the session."""
        session = self.session
        while True:
            plaintext = session.take()
            if plaintext:
                return plaintext
            if session.closed:
                raise PipeClosed("The peer ended the link without a reason.")
            session.receive(await self._read())

    async def send(self, plaintext: bytes) -> None:
        """`plaintext` at most RECORD_PLAINTEXT bytes."""
        self.session.send(plaintext)
        await self.flush()

    async def flush(self) -> None:
        """Sends what TLS wants sent, in messages the pipe can carry. Cancelling it loses nothing."""
        out = self.session.outbox()
        self._sealed.extend(out[at : at + PIPE_MESSAGE] for at in range(0, len(out), PIPE_MESSAGE))
        while self._sealed:
            await self._meter.wait_out(len(self._sealed[0]))
            # Taken before the pipe waits: a cancelled send has handed its message over.
            message = self._sealed.popleft()
            self.bytes_out += len(message)
            await self.pipe.send(message)

    async def farewell(self, last_words: bytes, within_s: float) -> None:
        """Sends `last_words` and the end of the session, if that is possible quickly. Never raises."""
        try:
            async with asyncio.timeout(within_s):
                await self.flush()
                self.session.send(last_words)
                self.session.close()
                await self.flush()
        except (MeshconsoleError, TimeoutError):
            # There is nobody left to tell; the peer notices by itself.
            self._sealed.clear()

    async def _read(self) -> bytes:
        data = await self.pipe.receive()
        self.bytes_in += len(data)
        await self._meter.wait_in(len(data))
        return data
