"""The port of the HTTP edge: who is let in, and what becomes of each connection.

It has a port of its own, on this machine alone unless the owner says otherwise, because whoever reaches
the node's one port (docs/decisions/0006-one-port.md) may be anybody.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING

from meshconsole.core.errors import Fatal
from meshconsole.core.verdict import refuse
from meshconsole.edge.connection import HttpConnection
from meshconsole.edge.messages import Handler, HttpError
from meshconsole.relay.muting import mute, unmute
from meshconsole.relay.places import network_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.core.sections import LimitsSection
    from meshconsole.core.verdict import Verdict
    from meshconsole.edge.connection import Meter

BUFFER_BYTES = 256 * 1024
MAX_TURNED_AWAY = 16
"""Connections that are being told why they are not let in."""


class EdgeServer:
    def __init__(
        self,
        handler: Handler,
        *,
        host: str,
        port: int,
        limits: Callable[[], LimitsSection],
        admit: Callable[[str], Verdict],
        meter: Callable[[], Meter] | None = None,
        on_error: Callable[[HttpError], None] = lambda error: None,
    ) -> None:
        """`admit` is asked for each connection, with its address, and `meter` for its share of the bandwidth;
        `on_error` is told what was refused."""
        self._handler = handler
        self._host = host
        self._port = port
        self._limits = limits
        self._admit = admit
        self._meter = meter
        self._on_error = on_error
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._turned_away = 0
        self._networks: Counter[str] = Counter()
        """Connections from each, as the relay's door counts them."""

    async def start(self) -> None:
        """Raises Fatal."""
        try:
            self._server = await asyncio.start_server(
                self._accepted, self._host or None, self._port, limit=BUFFER_BYTES
            )
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "another program uses this port" if taken else error.strerror or str(error)
            raise Fatal(
                f"edge.listen: cannot listen on {self._host}:{self._port}: {why}.",
                hint="Set it to another port, or to nothing.",
            ) from error

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def silence(self, *, on: bool) -> bool:
        """While it is on, other machines get no answer at all. False where the system cannot do that."""
        listeners = self._server.sockets if self._server is not None else ()
        if not on:
            for listener in listeners:
                unmute(listener)
            return True
        muted = [mute(listener) for listener in listeners]
        return all(muted)

    @property
    def address(self) -> str:
        """HOST:PORT, "" while it does not listen."""
        if self._server is None or not self._server.sockets:
            return ""
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def connections(self) -> int:
        return len(self._tasks)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        peer = writer.get_extra_info("peername")
        remote = str(peer[0]) if peer else ""
        network, is_this_machine = network_of(remote)
        held = self._networks[network]
        allowed = self._limits().max_connections_per_ip
        is_one_too_many = bool(allowed) and not is_this_machine and held >= allowed
        verdict = _too_many(allowed) if is_one_too_many else self._admit(remote)
        connection = HttpConnection(
            reader,
            writer,
            handler=self._handler,
            limits=self._limits,
            meter=self._meter() if self._meter is not None else None,
            on_error=self._on_error,
        )
        if not verdict.accepted and self._turned_away >= MAX_TURNED_AWAY:
            writer.transport.abort()
            return
        self._tasks.add(task)
        self._turned_away += not verdict.accepted
        self._networks[network] += verdict.accepted
        try:
            if verdict.accepted:
                await connection.run()
            else:
                code = HTTPStatus.TOO_MANY_REQUESTS if is_one_too_many else HTTPStatus.SERVICE_UNAVAILABLE
                error = HttpError(code, verdict.sentence)
                if is_one_too_many:
                    self._on_error(error)  # who does not admit counts it itself
                await connection.refuse(error)
        finally:
            self._turned_away -= not verdict.accepted
            self._networks[network] -= verdict.accepted
            if not self._networks[network]:
                del self._networks[network]
            self._tasks.discard(task)
            writer.close()


def _too_many(allowed: int) -> Verdict:
    return refuse("rate-limited", f"at most {allowed} connections from one address; close one first")


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
