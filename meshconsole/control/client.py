"""The console's end of the control socket: commands and pushes on one connection.

`meshconsole.control.blocking` is the same for the command line, without an event loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from meshconsole import __version__
from meshconsole.control.address import short_address
from meshconsole.control.blocking import call, check_welcome, no_node, stream
from meshconsole.control.frames import (
    HEADER,
    MAX_SERVER_FRAME,
    body_length,
    pack,
    pack_command,
    read_server_frame,
)
from meshconsole.control.messages import (
    PROTOCOL,
    Answer,
    Bye,
    Cancel,
    EventsPush,
    Hello,
    Progress,
    Request,
    Welcome,
)
from meshconsole.core.errors import Fatal, LocalError, MeshconsoleError, RemoteError, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from meshconsole.control.messages import ClientFrame, Command, Push, Reply, ServerFrame

__all__ = ["ControlClient", "call", "stream"]

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
MAX_PUSHES = 64
"""Pushes kept for a reader that is late. The node coalesces, so this is many seconds."""


class ControlClient:
    """One connection. After it is lost, make a new client; this one tells why in `lost`."""

    def __init__(self, path: Path, *, name: str = "console") -> None:
        self.path = path
        self.name = name
        self.lost: MeshconsoleError | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._calls: dict[int, _Call] = {}
        self._next_id = 0
        self._pushes: deque[Push] = deque()
        self._dropped = 0
        self._arrived = asyncio.Event()

    async def connect(self) -> Welcome:
        """Raises Unavailable (no node, or it does not answer) and Fatal (another version or user)."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                self._reader, self._writer = await self._open()
                self._writer.write(pack(Hello(PROTOCOL, __version__, f"{self.name} {os.getpid()}")))
                welcome = check_welcome(await self._frame())
        except TimeoutError as error:
            await self.close()
            raise Unavailable("The node does not answer.", hint="Look at its log.") from error
        except (OSError, EOFError, MeshconsoleError) as error:
            await self.close()
            raise _reason(error) from error
        self._task = asyncio.create_task(self._read())
        return welcome

    async def call(self, command: Command, *, progress: Callable[[Progress], None] | None = None) -> Reply:
        """The node's reply. When the caller is cancelled, so is the command. Raises Unavailable."""
        if self._writer is None or self._task is None:
            raise LocalError("The control client is not connected.")
        if self.lost is not None:
            raise self.lost
        request_id, self._next_id = self._next_id, self._next_id + 1
        waiting = _Call(asyncio.get_running_loop().create_future(), progress)
        self._calls[request_id] = waiting
        try:
            await self._send(Request(request_id, pack_command(command)))
            return await waiting.reply
        except asyncio.CancelledError:
            await self._send(Cancel(request_id))
            raise
        except ConnectionError as error:
            raise self.lost or _reason(error) from error
        finally:
            self._calls.pop(request_id, None)

    async def pushes(self) -> AsyncIterator[Push]:
        """What the node tells, after a Subscribe, until the connection is lost; then raises its reason."""
        while True:
            while self._pushes:
                push = self._pushes.popleft()
                if isinstance(push, EventsPush) and self._dropped:
                    push = msgspec.structs.replace(push, dropped=push.dropped + self._dropped)
                    self._dropped = 0
                yield push
            if self.lost is not None:
                raise self.lost
            self._arrived.clear()
            await self._arrived.wait()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._lose(Unavailable("The console has left the node."))
        if self._writer is not None:
            self._writer.transport.abort()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            with short_address(self.path) as address:
                await asyncio.get_running_loop().sock_connect(connection, address)
            return await asyncio.open_unix_connection(sock=connection)
        except BaseException:
            connection.close()
            raise

    async def _read(self) -> None:
        try:
            while True:
                self._take(await self._frame())
        except (OSError, EOFError, MeshconsoleError) as error:
            self._lose(_reason(error, connected=True))

    def _take(self, message: ServerFrame) -> None:
        match message:
            case Answer(id=request_id, reply=reply):
                waiting = self._calls.get(request_id)
                if waiting is not None and not waiting.reply.done():
                    waiting.reply.set_result(reply)
            case Progress(id=request_id):
                waiting = self._calls.get(request_id)
                if waiting is not None and waiting.progress is not None:
                    waiting.progress(message)
            case Bye(sentence=sentence, hint=hint):
                raise Unavailable(sentence, hint=hint)
            case Welcome():
                raise RemoteError("bad-frame", "The node said Welcome twice.")
            case push:
                self._pushes.append(push)
                if len(self._pushes) > MAX_PUSHES:
                    self._drop_oldest()
                self._arrived.set()

    def _drop_oldest(self) -> None:
        oldest = self._pushes.popleft()
        if isinstance(oldest, EventsPush):
            self._dropped += len(oldest.events) + oldest.dropped

    def _lose(self, reason: MeshconsoleError) -> None:
        if self.lost is None:
            self.lost = reason
        for waiting in self._calls.values():
            if not waiting.reply.done():
                waiting.reply.set_exception(self.lost)
        self._arrived.set()

    async def _frame(self) -> ServerFrame:
        assert self._reader is not None
        length = body_length(await self._reader.readexactly(HEADER), MAX_SERVER_FRAME)
        return read_server_frame(await self._reader.readexactly(length))

    async def _send(self, message: ClientFrame) -> None:
        assert self._writer is not None
        if not self._writer.is_closing():
            self._writer.write(pack(message))
            await self._writer.drain()


class _Call:
    __slots__ = ("progress", "reply")

    def __init__(self, reply: asyncio.Future[Reply], progress: Callable[[Progress], None] | None) -> None:
        self.reply = reply
        self.progress = progress


def _reason(error: BaseException, *, connected: bool = False) -> MeshconsoleError:
    if isinstance(error, RemoteError):
        return Fatal(
            "The node sent something that this version does not understand.",
            hint="Stop the node and start it again with this version.",
        )
    if isinstance(error, MeshconsoleError):
        return error
    if connected or isinstance(error, EOFError):
        return Unavailable("The node went away.")
    if isinstance(error, OSError):
        return no_node(error)
    return LocalError(str(error))
