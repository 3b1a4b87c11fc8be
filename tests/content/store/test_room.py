"""Room in a content store: asked for before it is taken, made of what nothing keeps."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.formats.block import Block
from meshconsole.content.formats.cid import RAW
from meshconsole.content.happenings import BlocksEvicted, PresenceChanged
from meshconsole.content.layout import Profile
from meshconsole.content.store import pinned
from meshconsole.content.store.roots import ABSENT, OWNER, Pin
from meshconsole.core.errors import Refused, RemoteError
from tests.content.conftest import World, read_whole
from tests.content.deterministic import deterministic, deterministic_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MIB = 1 << 20
PAGE = 4096
SMALL = Profile("small", 1000, 4, raw_leaves=True, cid_version=1)


async def test_the_quota_is_asked_before_anything_is_written(world: World) -> None:
    world.quota.limit = 2 * MIB
    async with world.content() as content:
        with pytest.raises(Refused) as error:
            await content.add(deterministic(5 * MIB, "too big"), "file")
        assert error.value.code == "restricted"
        assert world.quota.highest <= 2 * MIB
        assert world.block_files() == []
        assert content.usage().bytes == world.quota.used == 0
        assert content.usage().blocks == 0
        small = await content.add([b"fits"], "file")
        assert await read_whole(content, small.cid) == b"fits"


async def test_the_limit_may_be_used_to_the_byte(world: World) -> None:
    world.quota.limit = 2 * MIB + PAGE
    async with world.content() as content:
        await content.add(deterministic(2 * MIB, "exact"), "file")
        assert world.quota.used == world.quota.limit


async def test_a_failed_addition_leaves_what_others_keep(world: World) -> None:
    first = deterministic_bytes(2 * MIB, "shared")
    world.quota.limit = 4 * MIB
    async with world.content() as content:
        kept = await content.add([first], "kept")
        with pytest.raises(Refused):
            await content.add([first, *deterministic(4 * MIB, "more")], "too big")
        assert await read_whole(content, kept.cid) == first
        assert world.quota.used == content.usage().bytes == 2 * MIB + PAGE


async def test_unpinned_blocks_make_room_least_recently_used_first(world: World) -> None:
    world.quota.limit = 40 * MIB
    async with world.content() as content:
        cids = []
        for i in range(3):
            world.clock.now += 1
            added = await content.add(deterministic(10 * MIB, f"cached {i}"), "cached", pinned=False)
            cids.append(added.cid)
        pinned = await content.add(deterministic(9 * MIB, "pinned"), "pinned")
        world.clock.now += 1
        await read_whole(content, cids[0])
        world.clock.now += 1
        last = await content.add(deterministic(8 * MIB, "new"), "new")
        assert not content.presence(cids[1]).complete
        assert content.presence(cids[0]).complete
        assert content.presence(pinned.cid).complete
        assert content.presence(last.cid).complete
        assert len(await read_whole(content, cids[0])) == 10 * MIB
        assert world.quota.highest <= world.quota.limit
        assert world.quota.used == content.usage().bytes
        assert world.heard_of(BlocksEvicted)
        assert cids[1] in [happening.cid for happening in world.heard_of(PresenceChanged)]


async def test_a_clock_that_jumps_back_does_not_change_who_makes_room(world: World) -> None:
    async with world.content() as content:
        old = await content.add([b"old"], "old", pinned=False)
        world.clock.now = 0.0  # no battery behind the clock
        new = await content.add([b"new"], "new", pinned=False)
        await content.make_room(1)
        assert not content.presence(old.cid).complete
        assert content.presence(new.cid).complete
    async with world.content() as content:
        newer = await content.add([b"newer"], "newer", pinned=False)
        await content.make_room(1)
        assert not content.presence(new.cid).complete
        assert content.presence(newer.cid).complete


async def test_pinned_bytes_are_counted_later_where_counting_is_slow(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinned, "SLOW_COUNT_S", -1.0)
    async with world.content() as content:
        for i in range(5):
            await content.add([bytes([i])], "file")
        while content.usage().pinned_bytes < 5 * PAGE:  # noqa: ASYNC110 - counted by a task of its own
            await asyncio.sleep(0)
        assert content.usage().pinned_bytes == content.usage().bytes == 5 * PAGE


async def test_pinned_blocks_never_make_room(world: World) -> None:
    world.quota.limit = 4 * MIB
    async with world.content() as content:
        pinned = await content.add(deterministic(3 * MIB, "pinned"), "pinned")
        with pytest.raises(Refused):
            await content.add(deterministic(2 * MIB, "new"), "new")
        assert content.presence(pinned.cid).complete
        await content.unpin(pinned.cid)
        assert content.usage().pinned_bytes == 0
        added = await content.add(deterministic(2 * MIB, "new"), "new")
        assert content.presence(added.cid).complete


async def test_what_is_being_read_is_not_removed(world: World) -> None:
    async with world.content() as content:
        data = deterministic_bytes(3 * MIB)
        added = await content.add([data], "file", pinned=False)
        pieces = content.read(added.cid)
        first = await anext(pieces)
        assert await content.make_room(1 << 40) == 0
        assert first + b"".join([piece async for piece in pieces]) == data
        assert await content.make_room(1 << 40) == 3 * MIB + PAGE
        assert content.presence(added.cid) == ABSENT
        assert world.block_files() == []


async def test_what_is_being_added_is_not_removed(world: World) -> None:
    async with world.content() as content:
        proceed = asyncio.Event()
        halfway = asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            for i, piece in enumerate(deterministic(30_000, "held", piece=1000)):
                if i == 21:
                    halfway.set()
                    await proceed.wait()
                yield piece

        async with asyncio.TaskGroup() as tasks:
            adding = tasks.create_task(content.add(pieces(), "file", profile=SMALL))
            await halfway.wait()
            assert await content.make_room(1 << 40) == 0
            proceed.set()
        assert content.presence(adding.result().cid).complete
        assert len(await read_whole(content, adding.result().cid)) == 30_000


async def test_an_addition_that_meets_garbage_revives_it(world: World) -> None:
    async with world.content() as content:
        data = deterministic_bytes(20_000)
        garbage = await content.add([data], "old", pinned=False, profile=SMALL)
        async with asyncio.TaskGroup() as tasks:
            adding = tasks.create_task(content.add([data], "new", profile=SMALL))
            for _ in range(10):
                await content.make_room(4000)
        assert adding.result().cid == garbage.cid
        assert content.presence(garbage.cid).complete
        assert await read_whole(content, garbage.cid) == data
        assert world.quota.used == content.usage().bytes


async def test_pins_of_several_owners_and_their_end(world: World) -> None:
    async with world.content() as content:
        added = await content.add([b"x"], "file", pinned=False)
        await content.pin(added.cid, pin=Pin("api"))
        await content.pin(added.cid)
        await content.unpin(added.cid)
        assert content.is_pinned(added.cid)
        assert not content.is_pinned(added.cid, OWNER)
        with pytest.raises(Refused):
            await content.unpin(added.cid)
        await content.pin(added.cid, pin=Pin("api", expires_at=world.clock.now + 60))
        assert content.is_pinned(added.cid)
    world.clock.now += 61
    async with world.content() as content:
        await world.hears(lambda happening: happening == PresenceChanged(added.cid))
        assert not content.is_pinned(added.cid)
        assert await content.make_room(1) > 0


async def test_garbage_is_looked_for_while_others_read_and_write(world: World) -> None:
    async with world.content() as content:
        await content.add([b"old"], "old", pinned=False)
        kept = await content.add([b"kept"], "kept")
        marking = content._store._marking
        may_go_on, began = threading.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        find = marking.garbage

        def slowly(needed_bytes: int, held: list[bytes]) -> list[tuple[bytes, int]]:
            loop.call_soon_threadsafe(began.set)
            may_go_on.wait(10)
            return find(needed_bytes, held)

        marking.garbage = slowly  # type: ignore[method-assign, assignment]
        room = asyncio.ensure_future(content.make_room(1))
        await began.wait()
        assert await read_whole(content, kept.cid) == b"kept"
        added = await content._store.write_block(Block.of(RAW, b"new"))
        await content._store.commit()
        assert await content._store.sizes([added.cid])
        assert not room.done()
        may_go_on.set()
        assert await room > 0


async def test_what_is_dropped_is_gone_at_once_but_for_what_others_share(world: World) -> None:
    data = deterministic_bytes(9000)
    async with world.content() as content:
        one = await content.add([data, b"one"], "one", profile=SMALL)
        two = await content.add([data, b"two"], "two", profile=SMALL)
        await content.pin(one.cid, pin=Pin("api"))
        assert await content.drop(one.cid) > 0
        assert content.presence(one.cid) == ABSENT
        assert not content.is_pinned(one.cid)
        assert await read_whole(content, two.cid) == data + b"two"
        assert await content.drop(one.cid) == 0
        with pytest.raises(RemoteError):
            await content.drop("not a cid")
