"""Helia over HTTP alone: it asks the edge's router who has a file, and the gateway for its blocks."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

from meshconsole.core.sections import EdgeSection, LimitsSection
from meshconsole.core.verdict import ACCEPTED
from meshconsole.edge.edge import Edge, Part, below
from meshconsole.edge.gateway import Gateway, Settings
from meshconsole.edge.routing import GATEWAY, Routing, multiaddr, peer_id, peer_record
from meshconsole.edge.server import EdgeServer
from tests.content.conftest import World
from tests.interop.helia_node import helia, needs_helia

if TYPE_CHECKING:
    from pathlib import Path

    from meshconsole.edge.routing import Peer

pytestmark = needs_helia

DATA = random.Random(2).randbytes(5_000_000)
ME = peer_id(bytes.fromhex("3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"))
"""The public key of RFC 8032's secret of 32 zeros."""


async def test_helia_finds_and_fetches_a_file(tmp_path: Path) -> None:
    async with World(tmp_path / "blobs").content() as content:

        def records() -> list[Peer]:
            host, _, port = server.address.partition(":")
            return [peer_record(ME, [multiaddr(host, int(port))], GATEWAY)]

        edge = Edge(EdgeSection)
        edge.add(Part("gateway", "", below("/ipfs"), Gateway(content, Settings).handle))
        edge.add(Part("routing", "", below("/routing/v1"), Routing(content.has_block, records).handle))
        server = EdgeServer(
            edge.handle, host="127.0.0.1", port=0, limits=LimitsSection, admit=lambda remote: ACCEPTED
        )
        await server.start()
        try:
            added = await content.add([DATA], "")
            async with helia(f"http://{server.address}", script="helia_http.mjs") as outsider:
                got = await outsider.do("get", cid=added.cid)
            assert got == {"sha256": hashlib.sha256(DATA).hexdigest(), "size": len(DATA)}
            assert edge.requests["gateway"] >= 6
        finally:
            await server.stop()
