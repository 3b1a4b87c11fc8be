"""STUN and TURN servers, asked in the background whether they live: only those are given to a connection.

A server that does not answer costs a connection seconds, since all candidates are gathered before the
first is tried. So the owner's servers are asked now and then, and one that has not answered lately is left
out. Nothing is asked while this node has no team, makes no data channels or keeps silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import Unavailable
from meshconsole.core.text import safe
from meshconsole.mesh.endpoints import join_address, os_words, split_address
from meshconsole.mesh.links.description import IceServer
from meshconsole.mesh.links.stun import TRANSACTION_LEN, binding_request, read_binding

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ASK_S = 30.0
ASK_DEAD_S = 10.0
ANSWER_S = 1.0
TRIES = 3
RESOLVE_S = 3.0
MAX_SERVERS = 8
DEFAULT_PORT = 3478
DEFAULT_TLS_PORT = 5349


class Server(msgspec.Struct):
    """One server of the owner's, and what was found out. `address` is where its name led."""

    ice: IceServer
    kind: str
    """ "stun" or "turn"."""
    host: str
    port: int
    is_tcp: bool
    is_tls: bool
    address: str = ""
    is_alive: bool = False
    rtt_s: float = 0.0
    mapped: str = ""
    """Under which address it sees this node."""
    trouble: str = "not asked yet"

    @property
    def line(self) -> str:
        where = f"{self.kind} {safe(self.host, 60)}:{self.port}{'/tcp' if self.is_tcp else ''}"
        if not self.is_alive:
            return f"{where}: {self.trouble}"
        seen = f", sees this node as {self.mapped}" if self.mapped else ""
        return f"{where}: answers in {self.rtt_s * 1000:.0f} ms{seen}"


class IceServers:
    """`may_ask` says whether anything may be sent to them now."""

    def __init__(
        self, servers: Sequence[IceServer], *, may_ask: Callable[[], bool], now: Callable[[], float]
    ) -> None:
        self.servers = tuple(filter(None, map(_read, servers[:MAX_SERVERS])))
        self._may_ask = may_ask
        self._now = now
        self._soon = asyncio.Event()
        self._asked = asyncio.Event()
        """Each has answered, or had the time to, once."""
        self.more_live: Callable[[], None] = lambda: None
        """Called when one answers that did not before."""

    async def soon_live(self) -> tuple[IceServer, ...]:
        """Those that answer. Right after the start their first answers are waited for, a moment: without them
        a connection may find no way, and it takes long until that is known."""
        if self.servers and not self._asked.is_set() and self._may_ask():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_S):
                    await self._asked.wait()
        return self.live()

    def live(self) -> tuple[IceServer, ...]:
        """The first STUN and the first TURN server that answer, by address: names are not asked again."""
        found = []
        for kind in ("stun", "turn"):
            alive = [server for server in self.servers if server.kind == kind and server.is_alive]
            found += [_by_address(server) for server in alive[:1]]
        return tuple(found)

    def lines(self) -> tuple[str, ...]:
        return tuple(server.line for server in self.servers)

    def refresh(self) -> None:
        """The network has changed."""
        self._soon.set()

    async def ask(self) -> None:
        """All of them, now; returns when each has answered or had the time to."""
        if not self._may_ask():
            return
        async with asyncio.TaskGroup() as group:
            for server in self.servers:
                group.create_task(self._ask(server))
        self._asked.set()

    async def run(self) -> None:
        while True:
            self._soon.clear()
            before = {server.url for server in self.live()}
            await self.ask()
            if not before.issuperset(server.url for server in self.live()):
                self.more_live()
            pause = ASK_S if all(server.is_alive for server in self.servers) else ASK_DEAD_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._soon.wait()

    async def _ask(self, server: Server) -> None:
        try:
            server.address = await _resolve(server)
            began = self._now()
            if server.is_tls:
                await _connect(server.address)
            elif server.is_tcp:
                server.mapped = await _ask_over_tcp(server.address)
            else:
                server.mapped = await _ask_over_udp(server.address)
            server.rtt_s, server.is_alive, server.trouble = self._now() - began, True, ""
        except TimeoutError:
            server.is_alive, server.trouble = False, "does not answer"
        except OSError as error:
            server.is_alive, server.trouble = False, f"cannot be reached: {os_words(error)}"
        except (asyncio.IncompleteReadError, Unavailable):
            server.is_alive, server.trouble = False, "answers, but is no such server"


async def _resolve(server: Server) -> str:
    async with asyncio.timeout(RESOLVE_S):
        found = await asyncio.get_running_loop().getaddrinfo(
            server.host, server.port, family=socket.AF_INET, type=socket.SOCK_DGRAM
        )
    return join_address(str(found[0][4][0]), server.port)


async def _ask_over_udp(address: str) -> str:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.setblocking(False)
        one.connect(split_address(address))
        for _ in range(TRIES):
            transaction = os.urandom(TRANSACTION_LEN)
            await loop.sock_sendall(one, binding_request(transaction))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_S):
                    while True:
                        mapped = read_binding(await loop.sock_recv(one, 1500), transaction)
                        if mapped is not None:
                            return mapped
    raise TimeoutError


async def _ask_over_tcp(address: str) -> str:
    transaction = os.urandom(TRANSACTION_LEN)
    async with asyncio.timeout(TRIES * ANSWER_S):
        reader, writer = await asyncio.open_connection(*split_address(address))
        try:
            writer.write(binding_request(transaction))
            header = await reader.readexactly(20)
            body = await reader.readexactly(min(int.from_bytes(header[2:4], "big"), 1024))
            mapped = read_binding(header + body, transaction)
        finally:
            writer.close()
    if mapped is None:
        raise Unavailable("No answer of a STUN server.")
    return mapped


async def _connect(address: str) -> None:
    """Whatever it says inside TLS, somebody is there."""
    async with asyncio.timeout(TRIES * ANSWER_S):
        _, writer = await asyncio.open_connection(*split_address(address))
        writer.close()


def _read(ice: IceServer) -> Server | None:
    """None for what is no server's address; `config check` has said so."""
    scheme, _, rest = ice.url.partition(":")
    where, _, query = rest.partition("?")
    is_tls = scheme in ("turns", "stuns")
    host, colon, port = where.rpartition(":")
    if not colon:
        host, port = where, str(DEFAULT_TLS_PORT if is_tls else DEFAULT_PORT)
    if scheme not in ("stun", "stuns", "turn", "turns") or not host or not port.isdecimal():
        return None
    is_tcp = is_tls or "transport=tcp" in query
    return Server(ice, scheme.removesuffix("s"), host.strip("[]"), int(port), is_tcp, is_tls)


def _by_address(server: Server) -> IceServer:
    """A certificate is for the name, so TLS keeps it."""
    if server.is_tls:
        return server.ice
    scheme, _, rest = server.ice.url.partition(":")
    _, mark, query = rest.partition("?")
    return IceServer(f"{scheme}:{server.address}{mark}{query}", server.ice.username, server.ice.password)
