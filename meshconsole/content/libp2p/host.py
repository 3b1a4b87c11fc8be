"""This node as a libp2p peer: it listens, dials, and keeps the connections that it allows.

Who may talk is decided by `judge` as soon as the handshake has shown who is there: a refused peer gets
no stream at all. At most `max_peers` connections are kept, half of them with strangers, two with one peer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from meshconsole import __version__
from meshconsole.content.libp2p.connection import Connection, Standing, Stream
from meshconsole.content.libp2p.door import Door
from meshconsole.content.libp2p.identify import (
    IDENTIFY,
    IDENTIFY_PUSH,
    MAX_MESSAGE_BYTES,
    decode_identify,
    encode_identify,
)
from meshconsole.content.libp2p.multiaddr import tcp_address
from meshconsole.content.libp2p.securing import READ_BYTES, Raw, secure
from meshconsole.content.tasks import Tasks
from meshconsole.core.errors import Fatal, Refused, RemoteError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from meshconsole.content.libp2p.keys import OwnKey, PeerId
    from meshconsole.content.libp2p.multiaddr import Multiaddr
    from meshconsole.content.libp2p.securing import Meter

log = logging.getLogger(__name__)

PING = "/ipfs/ping/1.0.0"
PING_BYTES = 32
AGENT = f"meshconsole/{__version__}"
MAX_OF_ONE_PEER = 2
MAX_FAULTS = 64


@dataclass(frozen=True, slots=True)
class Bounds:
    max_peers: int = 32
    handshake_s: float = 10.0
    idle_s: float = 600.0
    """A stranger's connection on which no stream is open is let go after so long."""
    per_minute: int = 120
    """Connections that one host may begin."""


@dataclass(slots=True)
class Rules:
    """What the host asks. `judge(peer, dialled)` is None for a peer that may not talk; `admit(host)` a
    sentence where the node takes no more connections, else ""."""

    judge: Callable[[PeerId, bool], Standing | None]
    admit: Callable[[str], str]
    up: Callable[[Connection], None]
    """The peer has said what it speaks."""
    down: Callable[[Connection], None]
    team: Mapping[str, Callable[[Stream], Awaitable[None]]] = field(default_factory=dict)
    """Protocols beside the host's own that a peer of the team may speak."""
    stranger: Mapping[str, Callable[[Stream], Awaitable[None]]] = field(default_factory=dict)


class Host:
    def __init__(
        self,
        own: OwnKey,
        rules: Rules,
        meter: Meter,
        bounds: Bounds,
        addresses: Callable[[], tuple[Multiaddr, ...]] = tuple,
        agent: str = AGENT,
    ) -> None:
        """`addresses` is where peers are told that this node answers, `agent` what they are told of it."""
        self._agent = agent
        self.own = own
        self._addresses = addresses
        self.connections: dict[PeerId, list[Connection]] = {}
        self.faults: Counter[str] = Counter()
        """Why connections were refused or broken off, by code or reason."""
        self._rules = rules
        self._meter = meter
        self._bounds = bounds
        self._door = Door(bounds.per_minute)
        self._server: asyncio.Server | None = None
        self._shaking: set[Raw] = set()
        """Inbound connections whose handshake is under way."""
        self._tasks = Tasks()
        self._ids = {
            IDENTIFY: self._tell_who,
            IDENTIFY_PUSH: self._told_who,
            PING: _echo,
        }

    async def start(self, host: str, port: int) -> None:
        """Raises Fatal."""
        try:
            self._server = await asyncio.start_server(self._accept, host or None, port, limit=READ_BYTES)
        except OSError as error:
            raise Fatal(
                f"p2p.listen: cannot listen on {host}:{port}: {error.strerror}.",
                hint="Set p2p.listen to another HOST:PORT; port 0 takes a free one.",
            ) from error

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for raw in self._shaking:
            raw.abort()
        for connection in self.all():
            connection.close("This node stops.")
        await self._tasks.stop()
        if self._server is not None:
            await self._server.wait_closed()

    @property
    def listening(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each socket."""
        sockets = self._server.sockets if self._server is not None else ()
        return tuple((str(name[0]), int(name[1])) for name in (each.getsockname() for each in sockets))

    def all(self) -> list[Connection]:
        return [connection for each in self.connections.values() for connection in each]

    def of(self, peer: PeerId) -> Connection | None:
        """The connection to talk on: the one made last."""
        return next((each for each in reversed(self.connections.get(peer, [])) if not each.is_closed), None)

    async def dial(self, address: Multiaddr, peer: PeerId | None = None) -> Connection:
        """A connection to whoever the address names, or the one that is there. Raises RemoteError,
        Unavailable, Refused."""
        expected = peer or address.peer
        if expected is not None and (known := self.of(expected)) is not None:
            return known
        where = address.host_port
        if where is None:
            raise Refused("invalid", f"{address} is not an address that this node can dial.")
        try:
            async with asyncio.timeout(self._bounds.handshake_s):
                reader, writer = await asyncio.open_connection(*where, limit=READ_BYTES)
                return await self._upgrade(Raw(reader, writer), tcp_address(*where), expected, dialled=True)
        except TimeoutError:
            raise Unavailable(f"{address} does not answer.") from None
        except OSError as error:
            raise Unavailable(f"{address} cannot be reached: {error.strerror or error}.") from None

    async def ping(self, peer: PeerId) -> float:
        """Seconds for a round trip. Raises RemoteError, Unavailable."""
        connection = self.of(peer)
        if connection is None:
            raise Unavailable(f"There is no connection to {peer}.")
        stream, _ = await connection.open((PING,))
        began = time.monotonic()
        await stream.write(bytes(PING_BYTES))
        await stream.read_exactly(PING_BYTES)
        stream.end()
        return time.monotonic() - began

    def let_go(self) -> None:
        """Strangers' connections on which nothing happens are closed; called now and then."""
        for connection in self.all():
            if connection.standing == "stranger" and connection.idle_s > self._bounds.idle_s:
                connection.close("Nothing happened on it.")

    def let_go_strangers(self, reason: str) -> None:
        """With all that was about to be sent to them."""
        for connection in self.all():
            if connection.standing == "stranger":
                connection.close(reason)

    def recheck(self) -> None:
        """Who may talk has changed: who may not any more is let go."""
        for connection in self.all():
            if self._rules.judge(connection.peer, connection.dialled) != connection.standing:
                connection.close("Its peer may not talk with this node any more.")

    # Parts

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = writer.get_extra_info("peername")[:2]
        refused = self._door.enter(host, time.monotonic()) or ""
        if refused:
            self._count(refused)
            writer.transport.abort()
            return
        raw = Raw(reader, writer)
        self._shaking.add(raw)
        try:
            if refused := self._rules.admit(host):
                raise Refused("restricted", refused)
            async with asyncio.timeout(self._bounds.handshake_s):
                await self._upgrade(raw, tcp_address(host.partition("%")[0], port), None, dialled=False)
        except TimeoutError:
            self._count("handshake takes too long")
            raw.abort()
        except (RemoteError, Refused) as error:
            self._count(error.code if isinstance(error, RemoteError) else error.sentence)
            log.debug("libp2p: refused %s: %s", host, error.sentence)
            raw.abort()
        except Unavailable:
            self._count("handshake broken off")
            raw.abort()
        finally:
            self._shaking.discard(raw)
            self._door.leave(host)

    async def _upgrade(
        self, raw: Raw, remote: Multiaddr, expected: PeerId | None, *, dialled: bool
    ) -> Connection:
        try:
            channel = await secure(raw, self.own, self._meter, dialled=dialled)
            if expected is not None and channel.peer != expected:
                raise RemoteError("other-peer", f"{remote}: {channel.peer} answers there.")
            standing = self._rules.judge(channel.peer, dialled)
            if standing is None:
                raise Refused("restricted", "a peer that is not of the team")
            self._check_room(channel.peer, standing)
        except BaseException:
            raw.abort()
            raise
        more = self._rules.team if standing == "team" else self._rules.stranger
        connection = Connection(
            channel, remote, standing, {**self._ids, **more}, dialled=dialled, now=time.monotonic
        )
        self.connections.setdefault(channel.peer, []).append(connection)
        self._tasks.spawn(f"libp2p {str(channel.peer)[-8:]}", self._keep(connection))
        return connection

    def _check_room(self, peer: PeerId, standing: Standing) -> None:
        connections = self.all()
        if len(self.connections.get(peer, ())) >= MAX_OF_ONE_PEER:
            raise Refused("restricted", "a peer with two connections already")
        strangers = sum(each.standing == "stranger" for each in connections)
        if standing == "stranger" and strangers >= max(1, self._bounds.max_peers // 2):
            raise Refused("restricted", "all places for strangers are taken")
        if len(connections) >= self._bounds.max_peers:
            raise Refused("restricted", "all places for peers are taken")

    async def _keep(self, connection: Connection) -> None:
        connection.spawn("libp2p identify", lambda: self._ask_who(connection))
        try:
            await connection.run()
        finally:
            kept = self.connections[connection.peer]
            kept.remove(connection)
            if not kept:
                del self.connections[connection.peer]
            self._rules.down(connection)
            log.debug("libp2p: %s is gone: %s", connection.peer, connection.reason)

    async def _ask_who(self, connection: Connection) -> None:
        stream, _ = await connection.open((IDENTIFY,))
        said = await stream.read_message(MAX_MESSAGE_BYTES)
        stream.end()
        connection.identified = decode_identify(said, connection.peer)
        self._rules.up(connection)

    def tell_all(self) -> None:
        """Addresses have changed: who listens to that is told."""
        for connection in self.all():
            if IDENTIFY_PUSH in connection.identified.protocols:
                connection.spawn("libp2p identify push", partial(self._push, connection))

    async def _push(self, connection: Connection) -> None:
        stream, _ = await connection.open((IDENTIFY_PUSH,))
        await self._tell_who(stream)
        stream.end()

    async def _tell_who(self, stream: Stream) -> None:
        connection = stream.connection
        more = self._rules.team if connection.standing == "team" else self._rules.stranger
        said = encode_identify(
            self.own.encoded, self._agent, (*self._ids, *more), self._addresses(), connection.remote
        )
        await stream.write_message(said)

    async def _told_who(self, stream: Stream) -> None:
        said = await stream.read_message(MAX_MESSAGE_BYTES)
        stream.connection.identified = decode_identify(said, stream.connection.peer)
        self._rules.up(stream.connection)

    def _count(self, reason: str) -> None:
        if len(self.faults) < MAX_FAULTS or reason in self.faults:
            self.faults[reason] += 1


async def _echo(stream: Stream) -> None:
    """Source: libp2p/specs, ping."""
    while True:
        await stream.write(await stream.read_exactly(PING_BYTES))
