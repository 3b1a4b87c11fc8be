"""Long random lives of one content store, compared with a model after every step."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.layout import Profile, build
from meshconsole.content.store.blockstore import footprint
from meshconsole.core.errors import CorruptData, Refused, Unavailable
from tests.content.conftest import World, read_whole, scrubbed
from tests.content.deterministic import deterministic_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from meshconsole.content.service import Content

SMALL = Profile("small", 3000, 4, raw_leaves=True, cid_version=1)
LIMIT = 64 * 4096


class Life:
    def __init__(self, world: World, chance: random.Random) -> None:
        self.world = world
        self.chance = chance
        self.files: dict[str, bytes] = {}
        self.pinned: set[str] = set()
        self.damaged: set[str] = set()
        """Pinned files that the disk has altered: they may be incomplete."""

    async def step(self, content: Content) -> None:
        self.world.clock.now += 1
        action = self.chance.choice(
            [self.add, self.add, self.add, self.read, self.pin, self.unpin, self.damage]
        )
        await action(content)
        await self.check(content)

    async def add(self, content: Content) -> None:
        # Few seeds and shared beginnings, so that files have blocks in common
        data = deterministic_bytes(self.chance.choice([0, 1, 3000, 3001, 9000, 20_000, 40_000]), "base")
        data += deterministic_bytes(self.chance.choice([0, 500, 6000]), f"end {self.chance.randrange(5)}")
        pinned = self.chance.random() < 0.4
        try:
            added = await content.add([data], "file", profile=SMALL, pinned=pinned)
        except Refused:
            # Only if it does not fit beside what is pinned, for everything else makes room.
            blocks = list(build([data], SMALL))
            assert content.usage().pinned_bytes + sum(footprint(len(b.data)) for b in blocks) > LIMIT
            return
        self.files[added.cid] = data
        self.damaged.discard(added.cid)
        if pinned:
            self.pinned.add(added.cid)

    async def read(self, content: Content) -> None:
        if not self.files:
            return
        cid = self.chance.choice(sorted(self.files))
        try:
            assert await read_whole(content, cid) == self.files[cid]
        except (Unavailable, CorruptData):
            assert cid not in self.pinned or cid in self.damaged

    async def pin(self, content: Content) -> None:
        here = [cid for cid in self.files if content.presence(cid).complete]
        if here:
            cid = self.chance.choice(sorted(here))
            await content.pin(cid)
            self.pinned.add(cid)

    async def unpin(self, content: Content) -> None:
        if self.pinned:
            cid = self.chance.choice(sorted(self.pinned))
            await content.unpin(cid)
            await content.cancel_fetch(cid)
            self.pinned.discard(cid)

    async def damage(self, content: Content) -> None:
        files = self.world.block_files()
        if files and self.chance.random() < 0.3:
            file = self.chance.choice(sorted(files))
            file.write_bytes(file.read_bytes()[:-1] + b"?" if self.chance.random() < 0.5 else b"")
            await scrubbed(content)
            self.damaged |= {cid for cid in self.pinned if not content.presence(cid).complete}

    async def check(self, content: Content) -> None:
        usage = content.usage()
        files = self.world.block_files()
        set_aside = sum(footprint(file.stat().st_size) for file in (self.world.path / "quarantine").iterdir())
        on_disk = sum(footprint(file.stat().st_size) for file in files)
        assert usage.bytes == on_disk + set_aside
        assert usage.blocks == len(files)
        assert self.world.quota.used == on_disk
        assert self.world.quota.highest <= LIMIT
        assert list((self.world.path / "tmp").iterdir()) == []
        for cid in self.pinned:
            assert content.is_pinned(cid)
            assert content.presence(cid).complete or cid in self.damaged


@pytest.mark.parametrize(
    "seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 16))]
)
async def test_a_life(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path / "blobs", all_files=True)
    world.quota.limit = LIMIT
    life = Life(world, random.Random(seed))
    for _ in range(4):
        async with world.content() as content:
            await life.check(content)
            for _ in range(25):
                await life.step(content)
            for cid in life.pinned - life.damaged:
                assert await read_whole(content, cid) == life.files[cid]
