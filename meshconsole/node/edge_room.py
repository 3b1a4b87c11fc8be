"""The HTTP edge inside the node: what it may use of the rooms, and under which of the owner's limits."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from meshconsole.content.formats.cid import Cid
from meshconsole.core.errors import Fatal, RemoteError
from meshconsole.core.status import EdgePart, EdgeStatus
from meshconsole.edge.blossom import Blossom, Rights
from meshconsole.edge.book import Book
from meshconsole.edge.edge import Edge, Part, below
from meshconsole.edge.gateway import Gateway, Settings
from meshconsole.edge.pin_book import PinBook
from meshconsole.edge.pinning import Pinning
from meshconsole.edge.routing import BITSWAP, GATEWAY, Peer, Routing, multiaddr, peer_id, peer_record
from meshconsole.edge.server import EdgeServer, is_loopback
from meshconsole.edge.tokens import Tokens, bearer, came_by_proxy
from meshconsole.node.content_room import linked
from meshconsole.node.limits.quota import MEGABYTE
from meshconsole.node.listen import split_listen
from meshconsole.relay.names import host_of, names_this_machine

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from meshconsole.content.service import Content
    from meshconsole.core.verdict import Verdict
    from meshconsole.edge.messages import HttpError, Request
    from meshconsole.edge.tables import Tables
    from meshconsole.node.ground import Ground
    from meshconsole.node.libp2p_room import Libp2pRoom

log = logging.getLogger(__name__)


MAX_DELEGATES = 20
"""As many as the pinning service API allows."""


class EdgeRoom:
    """Made only where `edge.listen` names an address: a node without it loads none of this."""

    def __init__(
        self, node: Ground, libp2p: Libp2pRoom, content: Content, tables: Tables, seed: bytes
    ) -> None:
        """`seed` are 32 bytes that the name of this gateway is made of. Raises Fatal."""
        self._node = node
        self._libp2p = libp2p
        self._content = content
        self._host, port = split_listen(node.config.edge.listen)
        self._is_far = not is_loopback(self._host)
        if self._is_far and not node.config.edge.beyond_this_machine:
            raise Fatal(
                f"edge.listen may only be an address of this machine, not {self._host or 'all of them'}.",
                hint="Set it to 127.0.0.1:7480. To serve other machines: edge.beyond_this_machine=true, and"
                " a token for each (meshconsole edge token NAME).",
                exit_code=2,
            )
        self._refused: tuple[tuple[str, ...], frozenset[bytes]] = ((), frozenset())
        self._peer = _name_of(seed)
        self._tables = tables
        self.tokens = Tokens(tables)
        self.pins = PinBook(tables)
        self.book = Book(tables)
        self.edge = Edge(lambda: node.config.edge, self._may_pass)
        gateway = Gateway(content, self._gateway_settings, self._has_peers)
        self.edge.add(Part("gateway", "IPFS at /ipfs/CID", below("/ipfs"), gateway.handle))
        routing = Routing(self._provides, self._records)
        self.edge.add(Part("routing", "/routing/v1/providers/CID", below("/routing/v1"), routing.handle))
        self._blossom = Blossom(
            content,
            self.book,
            house=node.relay.house,
            rights=self._rights,
            may_manage=node.access.may_manage,
            is_us=self._is_us,
            publish=lambda event: node.relay.publish_for(event, (event.pubkey,), via="edge"),
            clock=node.clock.time,
            asks=self._asks,
            is_refused=lambda cid: Cid.parse(cid).multihash in self._gateway_settings().refused,
        )
        blossom = Part("blossom", "Blossom at /upload", Blossom.is_path, self._blossom.handle, asks=True)
        self.edge.add(blossom)
        self.pinning = Pinning(
            content,
            self.pins,
            name_of=self._name_of,
            delegates=self._delegates,
            owner_bytes=lambda: node.config.edge.key_mb * MEGABYTE,
            clock=time.time,
        )
        self.edge.add(
            Part("pinning", "the pinning service at /pins", below("/pins"), self.pinning.handle, asks=True)
        )
        self.server = EdgeServer(
            self.edge.handle,
            host=self._host,
            port=port,
            limits=lambda: node.config.limits,
            admit=self._admit,
            meter=node.governor.bandwidth.of_one,
            on_error=self._count,
        )
        node.door.counts.append(lambda: self.server.connections)

    async def start(self, stack: AsyncExitStack) -> None:
        """Raises Fatal."""
        stack.callback(self._tables.close)
        await self._blossom.tidy()
        await self.server.start()
        stack.push_async_callback(self.server.stop)
        log.info("the HTTP edge is at %s", self.server.address)

    def _admit(self, remote: str) -> Verdict:
        return self._node.governor.admit("client", remote)

    def _count(self, error: HttpError) -> None:
        """What a client asks for and is not there is no refusal."""
        if error.status in (401, 403, 410, 413, 429, 503, 507):
            self._node.governor.count_refusal("http", error.sentence)

    def _name_of(self, token: str) -> str:
        return self.tokens.name_of(token, time.time()) if token else ""

    def _asks(self, request: Request) -> bool:
        """Whether a request must show who sent it. A proxy's comes from this machine, whoever sent it."""
        section = self._node.config.edge
        everybody = self._is_far or section.beyond_this_machine or section.tokens == "always"
        return everybody or came_by_proxy(request)

    async def _may_pass(self, request: Request) -> bool:
        if not self._asks(request):
            return True
        token = bearer(request.header("authorization"))
        return bool(await asyncio.to_thread(self._name_of, token))

    def _delegates(self) -> list[str]:
        """Where whoever asks for a pin may bring its blocks: by libp2p where that is on."""
        libp2p = self._libp2p.status()
        if libp2p is not None and libp2p.addresses:
            return [_named(address, libp2p.peer) for address in libp2p.addresses[:MAX_DELEGATES]]
        return [_named(multiaddr(host, port), self._peer) for host, port in self._addresses()]

    def _records(self) -> list[Peer]:
        gateway = [multiaddr(host, port) for host, port in self._addresses()]
        records = [peer_record(self._peer, gateway, GATEWAY)] if gateway else []
        libp2p = self._libp2p.status()
        if libp2p is not None and libp2p.addresses:
            records.append(peer_record(libp2p.peer, libp2p.addresses, BITSWAP))
        return records

    def status(self) -> EdgeStatus:
        parts = tuple(EdgePart(name, on, self.edge.requests.get(name, 0)) for name, on in self.edge.parts)
        return EdgeStatus(self.server.address, self.server.connections, parts)

    def _rights(self) -> Rights:
        unpinned = self._node.use.stored.evictable_bytes  # makes room when it is needed
        return Rights(self._node.config.edge.key_mb * MEGABYTE, self._node.governor.quota.room() + unpinned)

    def _is_us(self, server: str) -> bool:
        """By a name of this machine, or one that the owner says the edge has. A URL counts as its host."""
        url = server if "://" in server else f"http://{server}"
        named = filter(None, map(host_of, self._node.config.edge.urls))
        return names_this_machine(url, (*self._node.host_names(), *named))

    def _has_peers(self) -> bool:
        """Whom a fetch would ask: teammates with a link, and whoever is connected by libp2p."""
        return bool(linked(self._node)) or bool(self._libp2p.connections)

    async def _provides(self, cid: Cid) -> bool:
        """Whether the gateway has it, or is told by a teammate with a link that it has all of it."""
        if cid.multihash in self._gateway_settings().refused or await self._content.is_of_keys(cid):
            return False
        if await self._content.has_block(cid):
            return True
        if self._node.replicating is None or not self._node.config.edge.fetch_s:
            return False
        holders = self._node.replicating.copies(str(cid)).here
        return not set(holders).isdisjoint(linked(self._node))

    def _addresses(self) -> list[tuple[str, int]]:
        if not self._node.config.edge.gateway or not self.server.address:
            return []
        return [split_listen(self.server.address)]

    def _gateway_settings(self) -> Settings:
        section = self._node.config.edge
        if self._refused[0] is not section.refused_cids:
            self._refused = (section.refused_cids, _multihashes(section.refused_cids))
        return Settings(float(section.fetch_s), self._refused[1])


def _multihashes(cids: tuple[str, ...]) -> frozenset[bytes]:
    found = set()
    for text in cids:
        try:
            found.add(Cid.parse(text).multihash)
        except RemoteError as error:
            log.warning("edge.refused_cids: %s: %s", text, error.sentence)
    return frozenset(found)


def _named(address: str, peer: str) -> str:
    return address if "/p2p/" in address else f"{address}/p2p/{peer}"


def _name_of(seed: bytes) -> str:
    """A name in the form of libp2p that says nothing: neither whose device it is nor of which team."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return peer_id(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())
