"""Content as the node uses it: adding, reading, pinning, room, damage, restarts."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.formats.cid import Cid
from meshconsole.content.happenings import BlockCorrupt, IndexRebuilt
from meshconsole.content.layout import UNIXFS_V0_2015, Profile
from meshconsole.content.store.roots import ABSENT
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
