"""kad-dht as a client: it asks servers, and serves nobody. Connections are made for a question and closed.

Law: of what servers say, only IP addresses of the network that is asked are seen by anybody here, whether
they are of servers, of peers or of providers. A server must not send this node to its own machine or network;
a name could lead there, whatever it leads to when somebody looks.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from typing import TYPE_CHECKING, TypeVar

from meshconsole.content.libp2p.kademlia import (
    ADD_PROVIDER,
    ALPHA,
    FIND_NODE,
    GET_PROVIDERS,
    LAN,
    MAX_MESSAGE_BYTES,
    Answer,
    Found,
    Lookup,
    decode_answer,
    encode_query,
)
from meshconsole.core.address_space import is_private, is_public
from meshconsole.core.errors import MeshconsoleError, RemoteError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from meshconsole.content.libp2p.connection import Connection
    from meshconsole.content.libp2p.host import Host
    from meshconsole.content.libp2p.keys import PeerId
    from meshconsole.content.libp2p.multiaddr import Multiaddr

T = TypeVar("T")

log = logging.getLogger(__name__)

ANSWER_S = 10.0
LOOKUP_S = 60.0
TRIED = 3
"""Addresses of one server."""
ENOUGH_PROVIDERS = 20
MAX_REMEMBERED = 64


class Dht:
    """One of the two networks: `protocol` is kademlia.PUBLIC or kademlia.LAN. `servers` are where it begins;
    those that answered are remembered. `host` must let this node dial strangers."""

    def __init__(self, host: Host, protocol: str, servers: Iterable[Multiaddr]) -> None:
        """Raises RemoteError("bad-multiaddr") for a server without a peer id."""
        self._host = host
        self._protocol = protocol
        self._remembered: dict[PeerId, Found] = {}
        self._own_servers: list[Found] = []
        for address in servers:
            if address.peer is None:
                raise RemoteError("bad-multiaddr", f"{address} does not end in /p2p/PEER.")
            self._own_servers.append(Found(address.peer, (address,)))
        self._places = asyncio.Semaphore(ALPHA)
        self.last_asked = 0
        """Servers that answered in the last lookup."""

    async def find_peer(self, peer: PeerId) -> tuple[Multiaddr, ...]:
        """Where the peer answers, as others say; empty if nobody knows. Raises Unavailable."""
        found: list[tuple[Multiaddr, ...]] = []

        def look(answer: Answer) -> bool:
            found.extend(each.addresses for each in answer.closer if each.peer == peer and each.addresses)
            return bool(found)

        await self._lookup(peer.multihash, FIND_NODE, look)
        return found[0] if found else ()

    async def providers(self, multihash: bytes, enough: int = ENOUGH_PROVIDERS) -> tuple[Found, ...]:
        """Who says to have the block, or to meet there. Raises Unavailable if no server answers."""
        found: dict[PeerId, Found] = {}

        def look(answer: Answer) -> bool:
            for each in answer.providers:
                if each.addresses or each.peer not in found:
                    found[each.peer] = each
            return len(found) >= enough

        await self._lookup(multihash, GET_PROVIDERS, look)
        return tuple(found.values())

    async def provide(self, multihash: bytes, addresses: tuple[Multiaddr, ...]) -> int:
        """Tells the nearest servers that this host has it, at these addresses. Returns how many were told.
        Raises Unavailable if no server answers."""
        lookup = await self._lookup(multihash, FIND_NODE, lambda _: False)
        told = encode_query(ADD_PROVIDER, multihash, Found(self._host.own.peer, addresses))
        outcomes = await asyncio.gather(*(self._tell(server, told) for server in lookup.closest))
        return sum(outcomes)

    async def _lookup(self, key: bytes, kind: int, look: Callable[[Answer], bool]) -> Lookup:
        """Until nothing nearer is left or `look` has seen enough."""
        lookup = Lookup(key, self._host.own.peer)
        lookup.hear((*self._own_servers, *self._remembered.values()))
        question = encode_query(kind, key)
        pending: dict[asyncio.Task[Answer], PeerId] = {}
        self.last_asked = 0
        is_enough = False
        try:
            async with asyncio.timeout(LOOKUP_S):
                while not (is_enough or lookup.is_over):
                    for server in lookup.due():
                        task = asyncio.ensure_future(self._ask(server, question))
                        pending[task] = server.peer
                    done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        is_enough = self._take(lookup, pending.pop(task), task, look) or is_enough
        except TimeoutError:
            log.debug("dht: a lookup took more than %.0f s", LOOKUP_S)
        finally:
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.wait(pending)
        if not self.last_asked:
            raise Unavailable("No server of the DHT answers.")
        return lookup

    def _take(
        self, lookup: Lookup, server: PeerId, task: asyncio.Task[Answer], look: Callable[[Answer], bool]
    ) -> bool:
        try:
            answer = task.result()
        except MeshconsoleError as error:
            log.debug("dht: %s: %s", server, error.sentence)
            lookup.failed(server)
            self._remembered.pop(server, None)
            return False
        self.last_asked += 1
        answer = Answer(
            tuple(self._allowed(found) for found in answer.closer),
            tuple(self._allowed(found, websocket=True) for found in answer.providers),
        )
        self._remembered[server] = Found(server, lookup.addresses_of(server))
        if len(self._remembered) > MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        lookup.answered(server, answer.closer)
        return look(answer)

    def _allowed(self, found: Found, *, websocket: bool = False) -> Found:
        """With the addresses that may be dialled. One that ends in another peer's id is not its own."""
        return Found(
            found.peer,
            tuple(
                each
                for each in found.addresses
                if each.peer in (None, found.peer)
                and self._may_dial(each.host_port or (each.websocket if websocket else None))
            ),
        )

    def _may_dial(self, where: tuple[str, int] | None) -> bool:
        if where is None:
            return False
        try:
            ip = ipaddress.ip_address(where[0])
        except ValueError:
            return False  # a name
        return is_private(ip) if self._protocol == LAN else is_public(ip)

    async def _ask(self, server: Found, question: bytes) -> Answer:
        return await self._with(server, lambda connection: self._exchange(connection, question))

    async def _exchange(self, connection: Connection, question: bytes) -> Answer:
        stream, _ = await connection.open((self._protocol,))
        try:
            async with asyncio.timeout(ANSWER_S):
                await stream.write_message(question)
                return decode_answer(await stream.read_message(MAX_MESSAGE_BYTES))
        except TimeoutError:
            raise Unavailable("The server does not answer.") from None
        finally:
            stream.end()

    async def _tell(self, server: Found, message: bytes) -> bool:
        async def tell(connection: Connection) -> None:
            stream, _ = await connection.open((self._protocol,))
            await stream.write_message(message)
            stream.end()
            # There is no answer; that a ping comes back shows that what was sent before it has come.
            await self._host.ping(server.peer)

        try:
            await self._with(server, tell)
        except MeshconsoleError as error:
            log.debug("dht: %s: %s", server.peer, error.sentence)
            return False
        return True

    async def _with(self, server: Found, use: Callable[[Connection], Awaitable[T]]) -> T:
        async with self._places:
            known = self._host.of(server.peer)
            connection = known or await self._dial(server)
            try:
                return await use(connection)
            finally:
                if known is None:
                    connection.close("The question is answered.")

    async def _dial(self, server: Found) -> Connection:
        error: MeshconsoleError = Unavailable("The server has no address that this node can dial.")
        for address in server.addresses[:TRIED]:
            try:
                return await self._host.dial(address, server.peer)
            except MeshconsoleError as failed:
                error = failed
        raise error
