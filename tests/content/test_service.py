"""Content as the node uses it: adding, reading, pinning, room, damage, restarts."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from typing import TYPE_CHECKING

import pytest

from meshconsole.content import pinned
from meshconsole.content.block import Block
from meshconsole.content.cid import RAW, Cid
from meshconsole.content.happenings import BlockCorrupt, BlocksEvicted, IndexRebuilt, PresenceChanged
from meshconsole.content.layout import UNIXFS_V0_2015, Profile
from meshconsole.content.roots import ABSENT, OWNER, Pin
from meshconsole.core.errors import CorruptData, Fatal, Refused, RemoteError, Unavailable
from tests.content.conftest import World, read_whole
from tests.content.deterministic import deterministic, deterministic_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

MIB = 1 << 20
PAGE = 4096
SMALL = Profile("small", 1000, 4, raw_leaves=True, cid_version=1)


async def test_add_and_read(world: World) -> None:
    data = deterministic_bytes(3 * MIB + 17)
    async with world.content() as content:
        added = await content.add([data], "file")
        assert (added.size, added.blocks) == (len(data), 5)
        assert await read_whole(content, added.cid) == data
        presence = content.presence(added.cid)
        assert presence.complete
        assert presence.bytes == presence.total_bytes
        assert presence.bytes > len(data)
        assert content.is_pinned(added.cid)
        usage = content.usage()
        assert usage.blocks == 5
        assert usage.bytes == usage.pinned_bytes == world.quota.used == 3 * MIB + 2 * PAGE


async def test_known_cids_come_out_of_the_service(world: World) -> None:
    async with world.content() as content:
        added = await content.add(deterministic(MIB + 1, "chunk-v1-seed"), "vector")
        assert added.cid == "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64"
        old = await content.add(deterministic(262145, "chunk-v0-seed"), "vector", profile=UNIXFS_V0_2015)
        assert old.cid == "QmYyLxtzZyW22zpoVAtKANLRHpDjZtNeDjQdJrcQNWoRkJ"
        assert await read_whole(content, old.cid) == b"".join(deterministic(262145, "chunk-v0-seed"))


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 3999, 4000, 4001, 16000, 16001, 70001])
async def test_sizes_around_chunks_and_levels(world: World, size: int) -> None:
    data = deterministic_bytes(size)
    async with world.content() as content:
        added = await content.add([data], "file", profile=SMALL)
        assert await read_whole(content, added.cid) == data
        assert content.presence(added.cid).complete


async def test_an_async_source(world: World) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in deterministic(MIB + 1, "chunk-v1-seed", piece=100_000):
            yield piece

    async with world.content() as content:
        added = await content.add(pieces(), "vector")
    assert added.cid == "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64"


async def test_a_plain_source_is_drawn_off_the_loop(world: World) -> None:
    threads: set[str] = set()

    def pieces() -> Iterator[bytes]:
        for _ in range(3):
            threads.add(threading.current_thread().name)
            yield b"x"

    async with world.content() as content:
        await content.add(pieces(), "file")
    assert threading.current_thread().name not in threads


async def test_equal_blocks_are_stored_and_counted_once(world: World) -> None:
    async with world.content() as content:
        added = await content.add([bytes(10 * MIB)], "zeros")
        assert added.blocks == 11
        assert content.usage().blocks == 2
        assert world.quota.used == content.usage().bytes == MIB + PAGE
        again = await content.add([bytes(10 * MIB)], "zeros")
        assert again == added
        assert world.quota.used == MIB + PAGE


async def test_everything_is_there_after_a_restart(world: World) -> None:
    data = deterministic_bytes(2 * MIB + 5)
    async with world.content() as content:
        added = await content.add([data], "file")
        before = content.usage()
    async with world.content() as content:
        assert content.usage() == before
        assert content.is_pinned(added.cid)
        assert content.presence(added.cid).complete
        assert await read_whole(content, added.cid) == data
    assert world.heard == []


async def test_what_is_not_here_is_said(world: World) -> None:
    absent = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
    async with world.content() as content:
        with pytest.raises(Unavailable) as error:
            await read_whole(content, absent)
        assert absent in error.value.sentence
        assert content.presence(absent) == ABSENT
        assert not content.is_pinned(absent)
        with pytest.raises(RemoteError):
            await read_whole(content, "not a cid")
        with pytest.raises(RemoteError):
            await content.pin("not a cid")
        assert await read_whole(content, "bafkqaaa") == b""


# Quota


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


async def test_a_start_that_fails_leaves_no_threads(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()
    async with world.content():
        pass
    (world.path / "index.db").write_bytes(b"SQLite format 3\0" + bytes(4096))
    for suffix in ("-wal", "-shm"):
        (world.path / f"index.db{suffix}").unlink(missing_ok=True)
    with pytest.raises(Fatal):
        async with world.content():
            pass
    assert threading.active_count() == before


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


async def test_unpinning_what_is_not_pinned_is_refused(world: World) -> None:
    async with world.content() as content:
        added = await content.add([b"x"], "file", pinned=False)
        with pytest.raises(Refused):
            await content.unpin(added.cid)
        await content.pin(added.cid)
        await content.unpin(added.cid)
        assert not content.is_pinned(added.cid)


async def test_adding_an_unpinned_copy_does_not_unpin(world: World) -> None:
    async with world.content() as content:
        first = await content.add([b"x"], "file")
        await content.add([b"x"], "file", pinned=False)
        assert content.is_pinned(first.cid)


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


# Failures while adding


async def test_a_source_that_fails_leaves_nothing(world: World) -> None:
    def pieces() -> Iterator[bytes]:
        yield from deterministic(10_000, "half")
        raise Refused("invalid", "the file shrank")

    async with world.content() as content:
        with pytest.raises(Refused) as error:
            await content.add(pieces(), "file", profile=SMALL)
        assert error.value.sentence == "the file shrank"
        assert world.block_files() == []
        assert world.quota.used == 0


async def test_a_cancelled_addition_leaves_nothing(world: World) -> None:
    started = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        for piece in deterministic(10_000, "half", piece=1000):
            yield piece
        started.set()
        await asyncio.Event().wait()

    async with world.content() as content:
        adding = asyncio.ensure_future(content.add(pieces(), "file", profile=SMALL))
        await started.wait()
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        assert world.block_files() == []
        assert world.quota.used == content.usage().bytes == 0
        assert content.usage().blocks == 0


async def test_a_full_disk_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.all_files = True
    async with world.content() as content:
        real = os.write
        written = 0

        def write(descriptor: int, data: bytes) -> int:
            nonlocal written
            written += len(data)
            if written > 5000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(descriptor, data)

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", write)
            with pytest.raises(Unavailable) as error:
                await content.add(deterministic(20_000, "big"), "file", profile=SMALL)
        assert "disk is full" in error.value.sentence
        assert world.block_files() == []
        assert list((world.path / "tmp").iterdir()) == []
        assert world.quota.used == content.usage().bytes == 0
        await content.add([b"later"], "file")


# Damage


async def test_an_altered_block_is_reported_and_never_read(world: World) -> None:
    world.all_files = True
    data = deterministic_bytes(3000)
    async with world.content() as content:
        added = await content.add([data], "file", profile=SMALL)
        world.file_with(data[1000:2000]).write_bytes(b"evil" * 250)
        pieces = content.read(added.cid)
        assert await anext(pieces) == data[:1000]
        with pytest.raises(CorruptData) as error:
            await anext(pieces)
        assert error.value.hint
        (report,) = world.heard_of(BlockCorrupt)
        assert report.sentence == error.value.sentence
        assert not content.presence(added.cid).complete
        with pytest.raises(Unavailable):
            await read_whole(content, added.cid)
        again = await content.add([data], "file", profile=SMALL)
        assert again.cid == added.cid
        assert await read_whole(content, added.cid) == data


async def test_a_vanished_file_is_noticed_when_it_is_read(world: World) -> None:
    world.all_files = True
    async with world.content() as content:
        added = await content.add([b"here today"], "file")
        world.file_with(b"here today").unlink()
        with pytest.raises(Unavailable):
            await read_whole(content, added.cid)
        assert world.heard_of(BlockCorrupt)
        assert content.presence(added.cid).bytes == 0
        assert content.usage().blocks == 0


async def test_damage_done_while_the_node_was_off_is_noticed_at_the_start(world: World) -> None:
    world.all_files = True
    async with world.content() as content:
        short = await content.add([b"will be cut short"], "short")
        gone = await content.add([b"will be gone"], "gone")
        fine = await content.add([b"will be fine"], "fine")
    world.file_with(b"will be cut short").write_bytes(b"will be")
    world.file_with(b"will be gone").unlink()
    async with world.content() as content:
        assert len(world.heard_of(BlockCorrupt)) == 1
        assert not content.presence(short.cid).complete
        assert not content.presence(gone.cid).complete
        assert content.presence(fine.cid).complete
        assert content.usage().blocks == 1
        assert content.is_pinned(gone.cid)


@pytest.mark.parametrize("damage", ["lost", "garbled"])
async def test_the_index_is_made_again_from_the_files(world: World, damage: str) -> None:
    big = deterministic_bytes(30_000)
    async with world.content() as content:
        one = await content.add([big], "one", profile=SMALL)
        two = await content.add([b"a single block"], "two")
        usage = content.usage()
    for suffix in ("", "-wal", "-shm"):
        (world.path / f"index.db{suffix}").unlink(missing_ok=True)
    if damage == "garbled":
        (world.path / "index.db").write_bytes(os.urandom(8192))
    async with world.content() as content:
        (rebuilt,) = world.heard_of(IndexRebuilt)
        assert rebuilt.blocks == usage.blocks
        assert content.usage() == usage
        for cid, data in ((one.cid, big), (two.cid, b"a single block")):
            assert content.is_pinned(cid)
            assert content.presence(cid).complete
            assert await read_whole(content, cid) == data
    assert (world.path / "index.db.damaged").exists() == (damage == "garbled")


async def test_blocks_of_an_addition_cut_off_by_a_crash_are_garbage(world: World) -> None:
    world.all_files = True
    async with world.content() as content:
        kept = await content.add([b"kept"], "kept")
        cut = await content.add(deterministic(30_000, "cut"), "cut", profile=SMALL)
        await content.unpin(cut.cid)
        inside = content._store
        entries = [file for file in world.block_files() if file.read_bytes() != b"kept"]
        # As if the power had failed before the index heard of the blocks
        for statement in ("UPDATE blocks SET present = 0", "DELETE FROM links"):
            await inside.threads.on_index(inside._the_index._conn.execute, statement)
        await inside.roots.change(Cid.parse(cut.cid), lambda _: None)
    world.quota.used = 0
    async with world.content() as content:
        assert content.usage().blocks == len(entries) + 1
        assert content.presence(kept.cid).complete
        world.quota.used = content.usage().bytes
        await content.make_room(1 << 40)
        assert [file.read_bytes() for file in world.block_files()] == [b"kept"]


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
