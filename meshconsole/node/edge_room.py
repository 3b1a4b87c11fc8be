"""The HTTP edge inside the node: what it may use of the rooms, and under which of the owner's limits."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from meshconsole.content.cid import Cid
from meshconsole.core.errors import Fatal, RemoteError
from meshconsole.edge.edge import Edge
from meshconsole.edge.gateway import Gateway, Settings
from meshconsole.edge.routing import Routing, peer_id
from meshconsole.edge.server import EdgeServer, is_loopback
from meshconsole.node.content_room import linked
from meshconsole.node.listen import split_listen

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from meshconsole.content.service import Content
    from meshconsole.core.verdict import Verdict
    from meshconsole.edge.messages import HttpError
    from meshconsole.node.node import Node

log = logging.getLogger(__name__)


class EdgeRoom:
    """Made only where `edge.listen` names an address: a node without it loads none of this."""

    def __init__(self, node: Node, content: Content, seed: bytes) -> None:
        """`seed` are 32 bytes that the name of this gateway is made of. Raises Fatal."""
        self._node = node
        self._content = content
        self._host, port = split_listen(node.config.edge.listen)
        if not is_loopback(self._host):
            raise Fatal(
                f"edge.listen may only be an address of this machine, not {self._host or 'all of them'}.",
                hint="Set it to 127.0.0.1:7480.",
                exit_code=2,
            )
        self._refused: tuple[tuple[str, ...], frozenset[bytes]] = ((), frozenset())
        self.edge = Edge(lambda: node.config.edge)
        gateway = Gateway(content, self._gateway_settings, self._has_peers)
        self.edge.add("gateway", "/ipfs", gateway.handle)
        routing = Routing(_name_of(seed), self._provides, self._addresses)
        self.edge.add("routing", "/routing/v1", routing.handle)
        self.server = EdgeServer(
            self.edge.handle,
            host=self._host,
            port=port,
            limits=lambda: node.config.limits,
            admit=self._admit,
            meter=node.governor.bandwidth,
            on_error=self._count,
        )

    async def start(self, stack: AsyncExitStack) -> None:
        """Raises Fatal."""
        await self.server.start()
        stack.push_async_callback(self.server.stop)
        log.info("the HTTP edge is at %s", self.server.address)

    def _admit(self, remote: str) -> Verdict:
        return self._node.governor.admit("client", remote)

    def _count(self, error: HttpError) -> None:
        """What a client asks for and is not there is no refusal."""
        if error.status in (401, 403, 410, 413, 429, 503, 507):
            self._node.governor.count_refusal("http", error.sentence)

    def _has_peers(self) -> bool:
        return bool(linked(self._node))

    async def _provides(self, cid: Cid) -> bool:
        """Whether the gateway has it, or is told by a teammate with a link that it has all of it."""
        if cid.multihash in self._gateway_settings().refused:
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


def _name_of(seed: bytes) -> str:
    """A name in the form of libp2p that says nothing: neither whose device it is nor of which team."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return peer_id(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())
