"""The gateway over a real content store, which others use as well: Nostr keys, the owner, teammates."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from meshconsole.content.cid import DAG_PB, IDENTITY, SHA2_256, Cid
from meshconsole.content.dagpb import Link, Node, decode_node, encode_node
from meshconsole.content.roots import Pin
from meshconsole.content.unixfs import Kind, UnixFs, encode_unixfs
from meshconsole.edge.gateway import Gateway, Settings
from meshconsole.edge.messages import HttpError, Request
from tests.content.conftest import World
from tests.edge.blossom_site import blossom_site
from tests.edge.test_blossom import LARGE, SMALL

if TYPE_CHECKING:
    from pathlib import Path


async def _status(gateway: Gateway, cid: Cid, form: str) -> int:
    try:
        reply = await gateway.handle(Request("GET", f"/ipfs/{cid}", f"format={form}"))
        if reply.body is not None and not isinstance(reply.body, bytes):
            async for _ in reply.body:
                pass
    except HttpError as error:
        return error.status
    return reply.status


def _linking_to(cid: Cid, size: int) -> Cid:
    """A file that is in its own CID, and has that block as its only piece."""
    file = UnixFs(Kind.FILE, filesize=size, blocksizes=(size,))
    data = encode_node(Node((Link(cid, "", size),), encode_unixfs(file)))
    return Cid.decode(bytes((1, DAG_PB, IDENTITY, len(data))) + data)


async def test_what_nostr_keys_uploaded_is_not_read_past_the_relays_policies(tmp_path: Path) -> None:
    async with blossom_site(World(tmp_path / "blobs")) as site:
        gateway = Gateway(site.content, Settings)
        small = Cid.parse((await site.upload(SMALL)).data["ipfs"])
        large = Cid.parse((await site.upload(LARGE)).data["ipfs"])
        block = await site.content.block(large)
        assert block is not None
        piece = decode_node(block).links[0].cid
        assert small.multihash[2:] == hashlib.sha256(SMALL).digest()
        again = Cid.decode(bytes((1, DAG_PB, SHA2_256, 32)) + small.multihash[2:])
        for cid in (small, large, piece, again, _linking_to(small, len(SMALL))):
            for form in ("raw", "car"):
                if cid.hash_code != IDENTITY or form == "car":
                    assert await _status(gateway, cid, form) == 404, (cid, form)
        await site.content.pin(str(small), "", Pin("pinning/ridge"))
        assert await _status(gateway, small, "raw") == 404
        await site.content.pin(str(small))
        await site.content.pin(str(piece))
        assert await _status(gateway, small, "raw") == 200
        assert await _status(gateway, piece, "raw") == 200
        assert await _status(gateway, large, "raw") == 404
