"""A place for blocks that goes out of reach and comes back, at the start and in mid-run."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from meshconsole.content import service
from meshconsole.content.happenings import PresenceChanged
from meshconsole.content.service import Content
from meshconsole.content.store.blocks import BlocksState
from meshconsole.core.errors import Unavailable
from tests.content.conftest import KEY, World, read_whole
from tests.content.memory_blocks import MemoryBlocks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from meshconsole.content.formats.block import Block

AWAY = Unavailable("The cupboard is locked.", hint="Find the key.")


class Cupboard(MemoryBlocks):
    """Blocks that are out of reach while it is `locked`; a `put` may be made to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.locked = False
        self.looks = 0
        self.entered = threading.Event()
        self.may_put = threading.Event()
        self.may_put.set()

    def open(self) -> int:
        self._check()
        return super().open()

    def put(self, block: Block) -> bool:
        self._check()
        self.entered.set()
        self.may_put.wait(20)
        return super().put(block)

    def get(self, multihash: bytes) -> bytes | None:
        self._check()
        return super().get(multihash)

    def look(self) -> BlocksState:
        self.looks += 1
        return BlocksState("a cupboard", AWAY.sentence if self.locked else "", AWAY.hint)

    def _check(self) -> None:
        if self.locked:
            raise AWAY


@asynccontextmanager
async def content_in(cupboard: Cupboard, world: World) -> AsyncIterator[Content]:
    content = Content(world.path, KEY, quota=world.quota, emit=world.emit, clock=world.clock, blocks=cupboard)
    await content.start()
    try:
        yield content
    finally:
        await content.stop()


async def test_a_start_without_it_is_a_start(world: World) -> None:
    cupboard = Cupboard()
    async with content_in(cupboard, world) as content:
        before = await content.add([b"before"], "before")
    cupboard.locked = True
    async with content_in(cupboard, world) as content:
        assert content.blocks_state().trouble == AWAY.sentence
        assert content.presence(before.cid).complete
        for refused in (content.add([b"new"], "new"), read_whole(content, before.cid)):
            with pytest.raises(Unavailable, match="locked") as error:
                await refused
            assert error.value.hint == AWAY.hint
        assert world.quota.used == 4096
        cupboard.locked = False
        assert await content._store.look()
        assert not content.blocks_state().trouble
        assert await read_whole(content, before.cid) == b"before"
        await content.add([b"new"], "new")


async def test_what_was_lost_and_found_meanwhile_is_noticed(world: World) -> None:
    cupboard = Cupboard()
    async with content_in(cupboard, world) as content:
        kept = await content.add([b"kept"], "kept")
        lost = await content.add([b"lost"], "lost")
        cupboard.locked = True
        assert not await content._store.look()
        found = dict(cupboard.blocks)
        del cupboard.blocks[next(key for key, data in found.items() if data == b"lost")]
        cupboard.locked = False
        assert await content._store.look()
        assert content.presence(kept.cid).complete
        assert not content.presence(lost.cid).complete
        assert PresenceChanged(lost.cid) in world.heard
        assert world.quota.used == content.usage().bytes == 4096
        cupboard.blocks.update(found)
        cupboard.locked = True
        await content._store.look()
        cupboard.locked = False
        assert await content._store.look()
        assert content.presence(lost.cid).complete
        assert content.usage().bytes == 8192


async def test_a_write_under_way_is_waited_for_and_counted_once(world: World) -> None:
    cupboard = Cupboard()
    async with content_in(cupboard, world) as content:
        cupboard.entered.clear()
        cupboard.may_put.clear()
        adding = asyncio.create_task(content.add([b"slow"], "slow"))
        await asyncio.to_thread(cupboard.entered.wait, 20)
        cupboard.locked = True
        assert not await content._store.look()
        cupboard.locked = False
        looking = asyncio.create_task(content._store.look())
        await asyncio.sleep(0)
        assert not looking.done()
        cupboard.may_put.set()
        added = await adding
        assert await looking
        assert await read_whole(content, added.cid) == b"slow"
        assert world.quota.used == content.usage().bytes == 4096
        assert content.usage().blocks == 1


async def test_failing_somebody_is_seen_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LOOK_AGAIN_S", 0.0)
    monkeypatch.setattr(service, "LOOK_S", 3600.0)
    cupboard = Cupboard()
    async with content_in(cupboard, world) as content:
        cupboard.locked = True
        with pytest.raises(Unavailable):
            await content.add([b"new"], "new")
        async with asyncio.timeout(60):
            while not content.blocks_state().trouble:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.01)
        assert content.blocks_state().trouble == AWAY.sentence
