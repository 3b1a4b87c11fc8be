"""A quota that ends at any byte: refused with the reason, nothing half-kept, nothing else lost."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.formats.car import encode_header, encode_section
from meshconsole.content.happenings import BlocksEvicted
from meshconsole.content.layout import Profile, build
from meshconsole.core.errors import Refused
from tests.content.conftest import World, read_whole
from tests.content.deterministic import deterministic_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from meshconsole.content.service import Content

CHUNKED = Profile("chunked", 5000, 4, raw_leaves=True, cid_version=1)
DATA = deterministic_bytes(50_000)
BEFORE = deterministic_bytes(7000, "before")
ROUNDS = 8


@pytest.fixture(scope="module")
def car() -> bytes:
    blocks = list(build([DATA], CHUNKED))
    sections = (encode_section(block.cid, block.data) for block in blocks)
    return b"".join((encode_header([blocks[-1].cid]), *sections))


async def add_file(content: Content, _: bytes) -> str:
    return (await content.add([DATA], "file", profile=CHUNKED)).cid


async def add_slowly(content: Content, _: bytes) -> str:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(DATA), 777):
            yield DATA[start : start + 777]

    return (await content.add(pieces(), "file", profile=CHUNKED)).cid


async def add_folder(content: Content, _: bytes) -> str:
    parts = [(f"{start}", [DATA[start : start + 9000]]) for start in range(0, len(DATA), 9000)]
    return (await content.add_folder(parts, "folder", profile=CHUNKED)).cid


async def import_car(content: Content, car: bytes) -> str:
    pieces = [car[start : start + 999] for start in range(0, len(car), 999)]
    return (await content.import_car(pieces)).roots[0]


@pytest.mark.parametrize("bring", [add_file, add_slowly, add_folder, import_car])
async def test_full_at_any_byte(
    bring: Callable[[Content, bytes], Awaitable[str]], car: bytes, tmp_path: Path
) -> None:
    world = World(tmp_path / "blobs")
    draw = random.Random(bring.__name__)
    reasons: set[str] = set()
    kept = 0
    async with world.content() as content:
        before = await content.add([BEFORE], "before", profile=CHUNKED)
        used = world.quota.used
        for limit in (0, 4096, *(draw.randrange(110_000) for _ in range(ROUNDS)), 110_000):
            world.quota.limit = used + limit
            try:
                cid = await bring(content, car)
            except Refused as refusal:
                reasons.add(refusal.sentence)
            else:
                assert content.presence(cid).complete
                kept += 1
                await content.drop(cid)
            assert world.quota.used == content.usage().bytes == used
            assert len(content.roots()) == 1
        assert await read_whole(content, before.cid) == BEFORE
    assert reasons == {"quota: the test's storage is full"}
    assert kept
    world.quota.used = 0
    async with world.content() as content:
        assert content.usage().bytes == used
        assert content.usage().pinned_bytes == used


async def test_what_is_unpinned_gives_way_at_any_byte_and_nothing_else(tmp_path: Path) -> None:
    """The least recently used of it, and no more than is needed."""
    world = World(tmp_path / "blobs")
    draw = random.Random(7)
    async with world.content() as content:
        pinned = await content.add([BEFORE], "pinned", profile=CHUNKED)
        world.quota.limit = world.quota.used + 200_000
        old: list[str] = []
        for number in range(ROUNDS):
            data = deterministic_bytes(draw.randrange(30_000, 60_000), str(number))
            old.append((await content.add([data], f"{number}", profile=CHUNKED, pinned=False)).cid)
            assert await read_whole(content, old[-1]) == data
            assert world.quota.used == content.usage().bytes <= world.quota.limit
        whole = [content.presence(cid).complete for cid in old]
        assert whole == sorted(whole)
        assert not whole[0]
        assert whole[-1]
        assert await read_whole(content, pinned.cid) == BEFORE
        evicted = world.heard_of(BlocksEvicted)
        assert content.evicted == (sum(each.blocks for each in evicted), sum(each.bytes for each in evicted))
        assert content.evicted[0]
