"""Checking every block now and then: when it is due, how it waits, and where it goes on."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.store import scrubbing
from meshconsole.core.errors import Unavailable
from meshconsole.node.scrub_keeping import DAY_S, LOOK_S, PAUSE_S, WAIT_S, ScrubKeeping
from meshconsole.node.state import NodeState
from tests.content.conftest import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from meshconsole.content.service import Content

KEY = bytes(range(32))
PAGE_BLOCKS = 3


@pytest.fixture(autouse=True)
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrubbing, "PAGE_BLOCKS", PAGE_BLOCKS)


class Ended(Exception):
    """The test has seen enough."""


class Site:
    """Time passes only in sleeps; a script may end the test or change things in one."""

    def __init__(self, content: Content, state: NodeState, world: World) -> None:
        self.world = world
        self.slept: list[float] = []
        self.records: list[dict[str, str]] = []
        self.days = 30.0
        self.busy = False
        self.sleeps_left = 10_000
        self.keeping = ScrubKeeping(
            content,
            state,
            days=lambda: self.days,
            must_wait=lambda: self.busy,
            record=lambda name, **more: self.records.append({"name": name, **more}),
            clock=world.clock,
            sleep=self.sleep,
        )

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.world.clock.now += seconds
        self.sleeps_left -= 1
        if not self.sleeps_left:
            raise Ended

    async def live(self, days: float) -> None:
        """So long, or less if the test is ended before."""
        self.sleeps_left = int(days * DAY_S / LOOK_S) + 1
        with pytest.raises(Ended):
            await self.keeping.keep()


@asynccontextmanager
async def a_site(tmp_path: Path) -> AsyncIterator[tuple[Site, Content, NodeState]]:
    world = World(tmp_path / "blobs", all_files=True)
    state = NodeState(tmp_path / "node.db", KEY)
    try:
        async with world.content() as content:
            for number in range(PAGE_BLOCKS + 2):
                await content.add([b"block %d" % number], f"{number}")
            yield Site(content, state, world), content, state
    finally:
        state.close()


async def test_a_round_is_due_after_some_days_and_not_before(tmp_path: Path) -> None:
    async with a_site(tmp_path) as (site, _, _):
        await site.live(29.9)
        assert site.records == []
        assert site.keeping.last == (0.0, 0)
        await site.live(0.9)
        assert site.records == [{"name": "scrub", "damaged": "0", "by": "itself"}]
        assert site.slept.count(PAUSE_S) == PAGE_BLOCKS + 2
        at, damaged = site.keeping.last
        assert (site.world.clock.now - at < DAY_S, damaged) == (True, 0)


async def test_damage_is_found_and_told(tmp_path: Path) -> None:
    async with a_site(tmp_path) as (site, _, _):
        site.world.file_with(b"block 1").write_bytes(b"Block 1")
        site.world.file_with(b"block 4").unlink()
        await site.live(31)
        assert site.records[0]["damaged"] == "2"
        assert site.keeping.last[1] == 2


async def test_it_waits_while_the_node_is_short_of_something(tmp_path: Path) -> None:
    async with a_site(tmp_path) as (site, _, _):
        site.busy = True
        await site.live(31)
        assert site.records == []
        assert site.slept.count(PAUSE_S) == PAGE_BLOCKS
        assert WAIT_S in site.slept


async def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with a_site(tmp_path) as (site, content, state):
        site.busy = True
        await site.live(31)
        again = Site(content, state, site.world)
        await again.live(0.1)
        assert again.slept.count(PAUSE_S) == 2
        assert again.records[0]["damaged"] == "0"


async def test_it_can_be_switched_off_also_in_the_middle(tmp_path: Path) -> None:
    async with a_site(tmp_path) as (site, _, _):
        site.days = 0.0
        await site.live(400)
        assert set(site.slept) == {LOOK_S}


async def test_blocks_out_of_reach_are_asked_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_site(tmp_path) as (site, content, _):
        asked = []

        async def fail(*_: object) -> None:
            asked.append(1)
            raise Unavailable("Kubo is away.")

        monkeypatch.setattr(content._store, "examine", fail)
        await site.live(30.1)
        assert len(asked) > 1
        assert site.records == []


async def test_a_clock_that_was_ahead_delays_nothing(tmp_path: Path) -> None:
    async with a_site(tmp_path) as (site, _, _):
        await site.live(0.1)
        site.world.clock.now -= 400 * DAY_S
        await site.live(31)
        assert len(site.records) == 1
