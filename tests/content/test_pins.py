"""Several owners change the pins of the same root at the same time: none loses what another was promised."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.formats.cid import Cid
from meshconsole.content.store.roots import BLOSSOM, PINNING, Pin
from meshconsole.core.errors import Unavailable
from tests.content.conftest import World, read_whole

if TYPE_CHECKING:
    from meshconsole.content.service import Content

ABSENT_CID = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
A, B, BRIEF = PINNING + "A", PINNING + "B", PINNING + "brief"


def owners(content: Content, cid: str) -> set[str]:
    return {pin.owner for root in content.roots(cid) for pin in root.pins}


async def test_a_pin_outlives_the_unpinning_by_another(world: World) -> None:
    async with world.content() as content:
        cid = (await content.add([b"x"], "file", owner=A)).cid
        await asyncio.gather(content.pin(cid, pin=Pin(B)), content.unpin(cid, A))
        assert owners(content, cid) == {B}
    async with world.content() as content:
        assert owners(content, cid) == {B}


async def test_a_pin_outlives_the_end_of_another(world: World) -> None:
    async with world.content() as content:
        cid = (await content.add([b"x"], "file", pinned=False)).cid
        await content.pin(cid, pin=Pin(A, expires_at=world.clock.now + 60))
        world.clock.now += 61
        # The first wakes whoever looks for ends, who then waits behind the second.
        await asyncio.gather(content.pin(cid, pin=Pin(BRIEF)), content.pin(cid, pin=Pin(B)))
        await content.pin(cid, pin=Pin(A))
        assert owners(content, cid) == {A, B, BRIEF}


async def test_a_pin_outlives_a_fetch_that_ends(world: World) -> None:
    async with world.content() as content:
        await content.start_fetch(ABSENT_CID)
        await asyncio.gather(content.pin(ABSENT_CID, pin=Pin(B)), content.cancel_fetch(ABSENT_CID))
        assert owners(content, ABSENT_CID) == {B}
        assert content.job_state(ABSENT_CID) == "waiting"


async def test_what_another_pins_is_not_removed_with_its_first_owner(world: World) -> None:
    mine, theirs = BLOSSOM + "a", BLOSSOM + "b"
    async with world.content() as content:
        cid = (await content.add([b"x"], "file", owner=mine)).cid
        await asyncio.gather(content.pin(cid, pin=Pin(theirs)), content.let_go(cid, mine))
        assert owners(content, cid) == {theirs}
        assert await read_whole(content, cid) == b"x"
        assert await content.let_go(cid, mine) == 0
        assert await content.let_go(cid, theirs) > 0
        assert content.roots(cid) == ()
        with pytest.raises(Unavailable):
            await read_whole(content, cid)


@pytest.mark.parametrize("seed", range(6))
async def test_no_owner_ever_loses_a_pin_to_another(world: World, seed: int) -> None:
    """Each owner does one thing after the other, all do so at once, and each finds what it left."""
    async with world.content() as content:
        here = str(Cid.parse((await content.add([b"here"], "here", pinned=False)).cid))
        kept: set[tuple[str, str]] = set()

        async def life(owner: str, chance: random.Random) -> None:
            for _ in range(20):
                cid = chance.choice((here, ABSENT_CID))
                match chance.randrange(5):
                    case 0 | 1:
                        await content.pin(cid, pin=Pin(owner))
                        kept.add((cid, owner))
                    case 2 if (cid, owner) in kept:
                        kept.remove((cid, owner))
                        await content.unpin(cid, owner)
                    case 3:
                        kept.discard((cid, owner))
                        await content.let_go(cid, owner)
                    case _:
                        await content.add([b"here"], "here", owner=owner)
                        kept.add((here, owner))
                for each in (here, ABSENT_CID):
                    assert content.is_pinned(each, owner) == ((each, owner) in kept)

        async def others(chance: random.Random) -> None:
            for _ in range(30):
                match chance.randrange(3):
                    case 0:
                        await content.start_fetch(ABSENT_CID)
                    case 1:
                        await content.cancel_fetch(ABSENT_CID)
                    case _:
                        await content.pin(here, pin=Pin(BRIEF, expires_at=world.clock.now + 1))
                        world.clock.now += 2
                        content._pins._changed.set()

        chance = random.Random(seed)
        lives = [life(owner, random.Random(chance.random())) for owner in (A, B, BLOSSOM + "c", "")]
        await asyncio.gather(*lives, others(chance))
        for cid in (here, ABSENT_CID):
            expected = {owner for pinned, owner in kept if pinned == cid}
            assert owners(content, cid) - {BRIEF} == expected
            assert not expected or content.presence(cid).complete or content.job_state(cid) == "waiting"
    async with world.content() as content:
        for cid in (here, ABSENT_CID):
            assert owners(content, cid) - {BRIEF} == {owner for pinned, owner in kept if pinned == cid}
