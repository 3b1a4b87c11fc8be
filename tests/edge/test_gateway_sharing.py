"""The gateway over a real content store, which others use as well: Nostr keys, the owner, teammates."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.formats.cid import DAG_PB, IDENTITY, RAW, SHA2_256, Cid
from meshconsole.content.formats.dagpb import Link, Node, decode_node, encode_node
from meshconsole.content.formats.unixfs import Kind, UnixFs, encode_unixfs
from meshconsole.content.layout import Profile
from meshconsole.content.store.roots import Pin
from meshconsole.edge.gateway import Gateway, Settings
from meshconsole.edge.messages import HttpError, Request
from tests.content.conftest import World
from tests.content.deterministic import deterministic_bytes
from tests.content.wire import Wire, wired
from tests.edge.blossom_site import blossom_site
from tests.edge.test_blossom import LARGE, SMALL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from meshconsole.content.service import Content


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


FAR = 400_000
FETCHED = Profile("small", 1000, 8, raw_leaves=True, cid_version=1)


@asynccontextmanager
async def two_nodes(folder: Path) -> AsyncIterator[tuple[Content, Content]]:
    async with AsyncExitStack() as stack:
        me = await stack.enter_async_context(World(folder / "me").content())
        other = await stack.enter_async_context(World(folder / "other").content())
        await stack.enter_async_context(wired(Wire(me, other)))
        yield me, other


async def _until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0)


def _gateway(content: Content, fetch_s: float) -> Gateway:
    return Gateway(content, lambda: Settings(fetch_s=fetch_s), lambda: True)


async def test_a_fetch_that_was_begun_for_one_block_ends_with_it(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (me, other):
        cid = (await other.add([deterministic_bytes(FAR)], "", profile=FETCHED)).cid
        assert await _status(_gateway(me, 20), Cid.parse(cid), "raw") == 200
        assert me.job_state(cid) is None
        assert not any(root.wanted for root in me.roots())


async def test_a_car_comes_whole_by_one_fetch_and_leaves_no_job(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (me, other):
        cid = (await other.add([deterministic_bytes(FAR)], "", profile=FETCHED)).cid
        assert await _status(_gateway(me, 20), Cid.parse(cid), "car") == 200
        # All of it is here; whether the fetch noted so before the answer's end ended it is chance.
        assert me.presence(cid).bytes == other.presence(cid).bytes
        assert me.job_state(cid) is None


@pytest.mark.parametrize("how", ["start_fetch", "pin", "pause"])
async def test_what_somebody_else_wants_by_then_goes_on(tmp_path: Path, how: str) -> None:
    async with World(tmp_path / "blobs").content() as me:
        missing = Cid.of(RAW, b"comes from nowhere")
        asked = asyncio.ensure_future(_status(_gateway(me, 0.2), missing, "raw"))
        await _until(lambda: me.job_state(str(missing)) is not None)
        if how == "start_fetch":
            await me.start_fetch(str(missing))
        elif how == "pin":
            await me.pin(str(missing))
        else:
            await me.pause_fetch(str(missing))
        assert await asked == 504
        assert me.job_state(str(missing)) == ("paused" if how == "pause" else "waiting")
        if how == "pause":
            assert await _status(_gateway(me, 0.2), missing, "raw") == 404
            assert me.job_state(str(missing)) == "paused"


async def test_the_last_who_leaves_ends_it_and_none_before(tmp_path: Path) -> None:
    async with World(tmp_path / "blobs").content() as me:
        missing = Cid.of(RAW, b"comes from nowhere")
        gateway = _gateway(me, 20)
        first, second = (asyncio.ensure_future(_status(gateway, missing, "raw")) for _ in range(2))
        await _until(lambda: gateway._waiting[str(missing)] == 2 and bool(me.jobs()))
        first.cancel()
        await asyncio.wait([first])
        assert me.job_state(str(missing)) == "waiting"
        second.cancel()
        await asyncio.wait([second])
        assert me.roots() == ()
