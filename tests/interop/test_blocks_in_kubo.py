"""A content store whose blocks are in a real Kubo: collected, unpinned, restarted, closed to strangers."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.formats.block import Block
from meshconsole.content.formats.cid import DAG_PB, RAW
from meshconsole.content.service import Content
from meshconsole.content.store.kubo import KuboBlocks
from meshconsole.content.store.kubo_rpc import Address, KuboRpc
from meshconsole.core.errors import Fatal, Unavailable
from tests.content.conftest import KEY, World, read_whole
from tests.content.deterministic import deterministic_bytes
from tests.interop.kubo_node import Kubo, needs_kubo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = needs_kubo

DATA = deterministic_bytes((3 << 20) + 5)
SECRET = "bearer:only-for-meshconsole"


@pytest.fixture
def kubo(tmp_path: Path) -> Kubo:
    made = Kubo(tmp_path / "kubo", "unixfs-v1-2025")
    allowed = {"meshconsole": {"AuthSecret": SECRET, "AllowedPaths": ["/api/v0"]}}
    made.run("config", "--json", "API.Authorizations", json.dumps(allowed))
    return made


@pytest.fixture
def running(kubo: Kubo) -> Iterator[Kubo]:
    with kubo.daemon("--offline"):
        yield kubo


def blocks_in(kubo: Kubo, owner: str, secret: str = SECRET) -> KuboBlocks:
    return KuboBlocks(KuboRpc(Address.parse(kubo.api), secret), owner)


@asynccontextmanager
async def content_in(kubo: Kubo, world: World) -> AsyncIterator[Content]:
    content = Content(
        world.path,
        KEY,
        quota=world.quota,
        emit=world.emit,
        clock=world.clock,
        blocks=blocks_in(kubo, "ours"),
    )
    await content.start()
    try:
        yield content
    finally:
        await content.stop()


async def test_what_kubo_and_we_do_to_each_other(running: Kubo, tmp_path: Path) -> None:
    """Its garbage collection leaves ours alone; we leave alone what its owner has pinned."""
    world = World(tmp_path / "blobs")
    api = ("--api-auth", SECRET)
    (tmp_path / "file").write_bytes(DATA)
    theirs = running.say(*api, "add", "-Q", "--progress=false", tmp_path / "file")
    async with content_in(running, world) as content:
        kept = await content.add([b"kept"], "kept")
        let_go = await content.add([b"let go"], "let go", pinned=False)
        running.run(*api, "repo", "gc")
        assert await read_whole(content, kept.cid) == b"kept"
        assert await read_whole(content, let_go.cid) == b"let go"
        # Of the same file, so of the same blocks, leaves and node.
        shared = await content.add([DATA], "shared", pinned=False)
        assert shared.cid == theirs
        assert world.quota.used == content.usage().bytes > len(DATA)
        await content.make_room(1 << 30)
        assert content.usage().blocks == 1
        with pytest.raises(Unavailable):
            await read_whole(content, let_go.cid)
        running.run(*api, "repo", "gc")
        assert running.run(*api, "cat", theirs) == DATA
        assert await read_whole(content, kept.cid) == b"kept"
        await content.drop(kept.cid)
        # A root that Kubo's owner pins is a block that is not ours to keep or to remove.
        with pytest.raises(Unavailable, match="somebody else"):
            content._store._place.files.put(_pinned_by_hand(running, api))
    assert world.quota.used == 0
    refs = running.say(*api, "pin", "ls", "--type=direct")
    assert refs == ""


def _pinned_by_hand(kubo: Kubo, api: tuple[str, ...]) -> Block:
    block = Block.of(RAW, b"pinned by hand")
    kubo.run(*api, "block", "put", "--pin", data=block.data)
    return block


async def test_kubo_goes_away_and_comes_back(kubo: Kubo, tmp_path: Path) -> None:
    world = World(tmp_path / "blobs")
    with kubo.daemon("--offline"):
        async with content_in(kubo, world) as content:
            before = await content.add([DATA], "before")
            lost = await content.add([b"lost"], "lost", pinned=False)
            store = content._store
            assert not await store.look()
            assert not content.blocks_state().trouble
        api = kubo.api
    # A node starts without it, and says so.
    blocks = KuboBlocks(KuboRpc(Address.parse(api), SECRET), "ours")
    content = Content(world.path, KEY, quota=world.quota, emit=world.emit, clock=world.clock, blocks=blocks)
    await content.start()
    try:
        assert "cannot be reached" in content.blocks_state().trouble
        assert content.presence(before.cid).complete
        with pytest.raises(Unavailable, match="cannot be reached"):
            await content.add([b"new"], "new")
        with pytest.raises(Unavailable, match="cannot be reached"):
            await read_whole(content, before.cid)
        with kubo.daemon("--offline"):
            kubo.run("--api-auth", SECRET, "pin", "rm", "--recursive=false", lost.cid)
            blocks._rpc.address = Address.parse(kubo.api)  # the test's Kubo takes another port each time
            store = content._store
            assert await store.look()
            assert not content.blocks_state().trouble
            assert await read_whole(content, before.cid) == DATA
            assert not content.presence(lost.cid).complete
            added = await content.add([b"new"], "new")
            assert await read_whole(content, added.cid) == b"new"
            assert content.usage().bytes == world.quota.used
        # Gone in mid-run.
        with pytest.raises(Unavailable):
            await content.add([b"newer"], "newer")
        assert not await store.look()
        assert content.blocks_state().trouble
    finally:
        await content.stop()


async def test_a_stranger_to_kubo_is_told(running: Kubo) -> None:
    blocks = blocks_in(running, "ours", "bearer:wrong")
    with pytest.raises(Unavailable, match="does not allow"):
        blocks.open()
    assert "does not allow" in blocks.look().trouble
    blocks.close()


def test_one_kubo_serves_one_meshconsole(running: Kubo) -> None:
    ours, theirs = blocks_in(running, "ours"), blocks_in(running, "theirs")
    block = Block.of(DAG_PB, b"")
    ours.put(block)
    with pytest.raises(Fatal, match="another meshconsole"):
        list(theirs.listing())
    with pytest.raises(Unavailable, match="somebody else"):
        theirs.put(block)
    assert not theirs.remove(block.cid.multihash)
    assert ours.size(block.cid.multihash) == 0
    assert ours.remove(block.cid.multihash)
    for each in (ours, theirs):
        each.close()
