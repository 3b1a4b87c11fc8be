"""The node's end of the control socket: one listener, a few clients, none of whom can hurt.

A client that stops reading fills its own bounded outbox and nothing else: the node hands things in
without waiting, and only that client's own tasks wait for its socket.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Protocol

from meshconsole import __version__
from meshconsole.control.address import peer_of
from meshconsole.control.frames import (
    HEADER,
    MAX_CLIENT_FRAME,
    body_length,
    pack,
    read_client_frame,
    read_command,
)
from meshconsole.control.listening import EVERYBODY, OWNER_ONLY, Listening
from meshconsole.control.messages import (
    PROTOCOL,
    Answer,
    Bye,
    Cancel,
    GetStatus,
    Hello,
    Progress,
    Reply,
    Request,
    StatusData,
    Subscribe,
    Welcome,
    done,
    refused,
    refused_by,
)
from meshconsole.control.outbox import Outbox
from meshconsole.control.rights import Groups, check_right, right_of
from meshconsole.core.errors import LocalError, MeshconsoleError, RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from meshconsole.control.messages import Command, Notice, ServerFrame
    from meshconsole.control.rights import Right
    from meshconsole.core.status import BlobView, EventView, NodeStatus

log = logging.getLogger(__name__)

MAX_CLIENTS = 32
LOOP_TURNS = 5
"""As many as asyncio takes from an accepted socket to its handler."""
MAX_RUNNING = 16
"""Requests of one client that may run at once."""
HELLO_TIMEOUT_S = 5.0
FAREWELL_S = 0.5
"""How long a client is given to read the last words."""
WRITE_BUFFER_BYTES = 256 * 1024


class Report(Protocol):
    """How a long command tells how far it has come. Never waits; too many are thinned out."""

    def __call__(self, have: int, total: int | None, words: str = "") -> None: ...


class ControlHandler(Protocol):
    """What the node implements.

    `handle` answers every command but GetStatus and Subscribe, which the server answers itself. It
    may raise a MeshconsoleError, which becomes the refusal; it is cancelled when its client cancels
    or leaves. `status` must be quick, and raises a MeshconsoleError while there is none to give
    (Refused "auth-required" while the home waits for its passphrase).
    """

    def status(self) -> NodeStatus: ...

    async def handle(self, command: Command, report: Report) -> Reply: ...


class ControlServer:
    """Serves one socket, and perhaps a second one for others. `clock` gives seconds, monotonic."""

    def __init__(self, path: Path, handler: ControlHandler, clock: Callable[[], float]) -> None:
        self.path = path
        self.handler = handler
        self.clock = clock
        self.groups = Groups()
        """Whose members may come through the second socket."""
        self._doors: list[tuple[Listening, asyncio.Server]] = []
        self._clients: set[_Client] = set()
        self.limit_fps: float | None = None

    @property
    def clients(self) -> int:
        return len(self._clients)

    async def start(self) -> None:
        """Raises Fatal if the socket cannot be had. Does nothing when it serves already."""
        if not self._doors:
            await self._open(self.path, OWNER_ONLY)

    async def share(self, path: Path, groups: Groups) -> None:
        """A second socket, for members of these groups: see rights.py. Raises Fatal."""
        self.groups = groups
        await self._open(path, EVERYBODY)

    async def _open(self, path: Path, mode: int) -> None:
        listening = Listening(path, mode=mode, backlog=MAX_CLIENTS)
        server = await asyncio.start_unix_server(self._serve, sock=listening.socket)
        self._doors.append((listening, server))

    async def stop(self, reason: str = "The node has stopped.") -> None:
        """Says goodbye to every client and takes the sockets' files away.

        Not to be awaited inside `handle`: it waits for the commands that run.
        """
        if not self._doors:
            return
        # asyncio drops, and never closes, a connection that it accepted in the turn before Server.close().
        for listening, _ in self._doors:
            asyncio.get_running_loop().remove_reader(listening.socket)
        await _turns()  # in which a connection that was just accepted becomes a client
        for _, server in self._doors:
            server.close()
        if self._clients:
            await asyncio.gather(*(client.leave(reason) for client in set(self._clients)))
        while self._clients:
            await asyncio.wait([client.task for client in self._clients if client.task is not None])
        for _, server in self._doors:
            await server.wait_closed()
        await _turns()  # in which the loop closes the sockets that were let go
        for listening, _ in self._doors:
            listening.unlink()
        self._doors.clear()

    # The node calls these from its loop, as often as it likes.

    def events_happened(self, events: Iterable[EventView]) -> None:
        batch = tuple(events)
        for client in self._clients:
            client.outbox.put_events(batch)
            client.wake.set()

    def blobs_happened(self, blobs: Iterable[BlobView]) -> None:
        batch = tuple(blobs)
        for client in self._clients:
            client.outbox.put_blobs(batch)
            client.wake.set()

    def notice(self, notice: Notice) -> None:
        for client in self._clients:
            client.outbox.put_notice(notice)
            client.wake.set()

    def limit_frames(self, fps: float | None) -> None:
        """No console is sent more frames a second than this; None for what it asks for."""
        self.limit_fps = fps
        for client in self._clients:
            client.outbox.limit_fps = fps

    def status_changed(self) -> None:
        """Something that people wait for: clients are told at their next frame."""
        for client in self._clients:
            client.outbox.status_changed()
            client.wake.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = peer_of(writer.get_extra_info("socket"))
        right = right_of(peer, os.geteuid(), self.groups)
        client = _Client(self, reader, writer, right or "watcher")
        if right is None:
            log.warning("control: refused a connection of user %s", None if peer is None else peer.uid)
            await client.leave("This node belongs to another user.")
            return
        if len(self._clients) >= MAX_CLIENTS:
            await client.leave(f"This node already has {MAX_CLIENTS} consoles and commands attached.")
            return
        self._clients.add(client)
        try:
            await client.run()
        finally:
            self._clients.discard(client)


async def _turns() -> None:
    """Lets what is already queued on the loop happen."""
    for _ in range(LOOP_TURNS):
        await asyncio.sleep(0)


class _Client:
    """One connection: a reader, a pump of pushes, and the requests that run."""

    def __init__(
        self,
        server: ControlServer,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        right: Right,
    ) -> None:
        self.server = server
        self.right = right
        self.reader = reader
        self.writer = writer
        self.outbox = Outbox(limit_fps=server.limit_fps)
        self.wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self._running: dict[int, asyncio.Task[None]] = {}
        self.task: asyncio.Task[None] | None = None
        self._leaving = False
        writer.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    async def run(self) -> None:
        self.task = asyncio.current_task()
        try:
            await self._converse()
        except asyncio.CancelledError:
            # asyncio's streams take a cancelled handler for a fault of it.
            if not self._leaving:
                raise
        finally:
            self.writer.transport.abort()

    async def _converse(self) -> None:
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                welcome = await self._greet()
            if welcome:
                async with asyncio.TaskGroup() as tasks:
                    pump = tasks.create_task(self._pump())
                    await self._read(tasks)
                    pump.cancel()
                    for request in list(self._running.values()):
                        request.cancel()
        except* RemoteError as group:
            await self._farewell(str(group.exceptions[0]))
        except* (ConnectionError, TimeoutError, EOFError):
            log.debug("control: a client went away")

    async def leave(self, reason: str) -> None:
        """Last words, then the end, whether they were read or not."""
        await self._farewell(reason)
        self._leaving = True
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()
        self.writer.transport.abort()

    async def _greet(self) -> bool:
        hello = read_client_frame(await self._frame())
        if not isinstance(hello, Hello):
            raise RemoteError("no-hello", "A control connection begins with Hello.")
        await self._send(Welcome(PROTOCOL, __version__, os.getpid(), self.right))
        return hello.protocol == PROTOCOL

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            try:
                message = read_client_frame(await self._frame())
            except asyncio.IncompleteReadError:
                return
            if isinstance(message, Cancel):
                if task := self._running.get(message.id):
                    task.cancel()
            elif isinstance(message, Request):
                await self._accept(message, tasks)
            else:
                raise RemoteError("bad-frame", "Hello may be said only once.")

    async def _accept(self, request: Request, tasks: asyncio.TaskGroup) -> None:
        if request.id in self._running:
            raise RemoteError("bad-frame", f"Request {request.id} is already running.")
        if len(self._running) >= MAX_RUNNING:
            await self._send(Answer(request.id, refused("rate-limited", "Too many commands at once.")))
            return
        task = tasks.create_task(self._answer(request))
        self._running[request.id] = task
        task.add_done_callback(lambda _: self._running.pop(request.id, None))

    async def _answer(self, request: Request) -> None:
        report = _Reporter(self, request.id)
        try:
            reply = await self._reply(request, report)
        except MeshconsoleError as error:
            if isinstance(error, LocalError):
                log.error("control: a command broke: %s", error)
            reply = refused_by(error)
        except asyncio.CancelledError:
            if self.writer.is_closing():
                raise
            reply = refused("error", "The command was cancelled.")
        except Exception:
            log.exception("control: a command broke")
            reply = refused(
                "error", "The node could not do this because of a fault of its own.", "See its log."
            )
        await self._send(Answer(request.id, reply))

    async def _reply(self, request: Request, report: Report) -> Reply:
        try:
            command = read_command(request.command)
        except RemoteError as error:
            return refused("invalid", error.sentence)
        check_right(self.right, command)
        if isinstance(command, GetStatus):
            return done(data=StatusData(self.server.handler.status()))
        if isinstance(command, Subscribe):
            self.outbox.subscribe(command)
            self.wake.set()
            return done()
        return await self.server.handler.handle(command, report)

    async def _pump(self) -> None:
        while True:
            self.wake.clear()
            due = self.outbox.next_due()
            delay = None if due is None else due - self.server.clock()
            if delay is None or delay > 0:
                # With something pending, waking up for more of it would cost CPU per event, not per frame.
                await (asyncio.sleep(delay) if delay and self.outbox.pending else self._sleep(delay))
                continue
            for push in self.outbox.take(self.server.clock(), self._status):
                await self._send(push)

    async def _sleep(self, delay: float | None) -> None:
        """Until something happens or `delay` is over."""
        try:
            async with asyncio.timeout(delay):
                await self.wake.wait()
        except TimeoutError:
            return

    def _status(self) -> NodeStatus | None:
        try:
            return self.server.handler.status()
        except MeshconsoleError:
            return None

    async def _frame(self) -> bytes:
        length = body_length(await self.reader.readexactly(HEADER), MAX_CLIENT_FRAME)
        return await self.reader.readexactly(length)

    async def _send(self, message: ServerFrame) -> None:
        async with self._writing:
            self.writer.write(pack(message))
            await self.writer.drain()

    async def _farewell(self, reason: str) -> None:
        try:
            async with asyncio.timeout(FAREWELL_S):
                # With a high-water mark of 0, drain returns when the last byte is with the system.
                self.writer.transport.set_write_buffer_limits(high=0)
                await self._send(Bye(reason))
        except (TimeoutError, ConnectionError):
            log.debug("control: a client did not wait for the last words")


class _Reporter:
    """Sends progress, but never more than one frame ahead of what the client has read."""

    def __init__(self, client: _Client, request_id: int) -> None:
        self.client = client
        self.request_id = request_id

    def __call__(self, have: int, total: int | None, words: str = "") -> None:
        transport = self.client.writer.transport
        if not transport.is_closing() and transport.get_write_buffer_size() == 0:
            self.client.writer.write(pack(Progress(self.request_id, have, total, words)))
