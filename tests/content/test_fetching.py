"""Fetches between whole content stores: progress, restarts, damage, quota, and peers that misbehave."""

from __future__ import annotations

import asyncio
import time

import pytest

from meshconsole.content import fetching
from meshconsole.content.exchange.asking import PATIENCE_S
from meshconsole.content.formats.cid import RAW, Cid
from meshconsole.content.happenings import FetchProgress, PeerMisbehaved
from meshconsole.core.errors import Refused, Unavailable
from tests.content.conftest import MIB, SMALL, Team, World, fetched, is_done, read_whole
from tests.content.deterministic import deterministic, deterministic_bytes
from tests.content.wire import Wire, wired


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 5 * MIB + 3])
async def test_a_file_comes_whole(team: Team, size: int) -> None:
    me, p = await team.start("me"), await team.start("p")
    data = deterministic_bytes(size)
    added = await p.add([data], "file")
    wire = Wire(me, p)
    async with wired(wire):
        steps = await fetched(me, added.cid)
    assert await read_whole(me, added.cid) == data
    assert steps[-1].state == "done"
    assert steps[-1].have_bytes == steps[-1].total_bytes == me.presence(added.cid).bytes
    assert [step.have_bytes for step in steps] == sorted(step.have_bytes for step in steps)
    assert me.presence(added.cid).complete
    assert not me.is_pinned(added.cid)
    assert wire.faults == []
    assert team.worlds["me"].quota.used == me.usage().bytes
    assert team.worlds["me"].heard_of(FetchProgress)[-1] == steps[-1]


async def test_several_levels_and_equal_blocks(team: Team) -> None:
    me, p = await team.start("me"), await team.start("p")
    data = deterministic_bytes(70_000) + bytes(10_000)
    added = await p.add([data], "file", profile=SMALL)
    async with wired(Wire(me, p)):
        await fetched(me, added.cid)
    assert await read_whole(me, added.cid) == data
    assert me.usage() == p.usage() or me.usage().blocks == p.usage().blocks


async def test_two_providers_share_the_work(team: Team) -> None:
    me, p, q = await team.start("me"), await team.start("p"), await team.start("q")
    data = deterministic_bytes(100_000)
    for content in (p, q):
        added = await content.add([data], "file", profile=SMALL)
    wires = [Wire(me, p, right_name="p"), Wire(me, q, right_name="q")]
    async with wired(*wires):
        await fetched(me, added.cid)
    assert await read_whole(me, added.cid) == data
    assert all(sum(wire.carried) > 20_000 for wire in wires)
    assert sum(sum(wire.carried) for wire in wires) < 125_000


async def test_what_is_here_already_is_not_fetched_again(team: Team) -> None:
    me, p = await team.start("me"), await team.start("p")
    data = deterministic_bytes(100_000)
    added = await p.add([data], "file", profile=SMALL)
    await me.add([data[:60_000]], "a part of it", profile=SMALL)
    wire = Wire(me, p)
    async with wired(wire):
        await fetched(me, added.cid)
        assert sum(wire.carried) < 50_000
        carried = sum(wire.carried)
        assert [step.state for step in await fetched(me, added.cid)] == ["done"]
        assert sum(wire.carried) == carried


async def test_a_fetch_goes_on_after_a_restart_where_it_stopped(team: Team) -> None:
    p = await team.start("p")
    data = deterministic_bytes(100_000)
    added = await p.add([data], "file", profile=SMALL)
    world = team.worlds["me"]
    async with world.content() as me:
        first = Wire(me, p, limit_bytes=50_000)
        async with wired(first):
            looking = asyncio.ensure_future(fetched(me, added.cid))
            await first.is_full.wait()
        looking.cancel()
        assert not me.presence(added.cid).complete
    async with world.content() as me:
        assert me.presence(added.cid).bytes > 25_000
        second = Wire(me, p)
        async with wired(second):
            await world.hears(is_done)  # without anybody asking
        assert await read_whole(me, added.cid) == data
    assert sum(first.carried) + sum(second.carried) < 125_000


async def test_a_fetch_waits_for_a_peer_that_has_it(team: Team) -> None:
    me, p, q = await team.start("me"), await team.start("p"), await team.start("q")
    added = await p.add(deterministic(20_000, "file"), "file", profile=SMALL)
    without = Wire(me, q, right_name="q")
    async with wired(without):
        looking = asyncio.ensure_future(fetched(me, added.cid))
        while not without.carried:  # noqa: ASYNC110 - until q has said that it does not have it
            await asyncio.sleep(0)
        async with wired(Wire(me, p, right_name="p")):
            assert (await looking)[-1].state == "done"


async def test_with_nobody_to_ask_a_fetch_says_so_and_goes_on(team: Team) -> None:
    me, p = await team.start("me"), await team.start("p")
    added = await p.add([b"a file"], "file")
    with pytest.raises(Unavailable) as error:
        await fetched(me, added.cid, deadline_s=0.01)
    assert "no teammate in reach has it" in error.value.sentence
    assert error.value.hint
    assert me.presence(added.cid).bytes == 0
    async with wired(Wire(me, p)):
        await team.worlds["me"].hears(is_done)
    assert await read_whole(me, added.cid) == b"a file"


async def test_a_block_may_take_longer_than_the_deadline_but_not_for_ever(team: Team) -> None:
    me, p = await team.start("me"), await team.start("p")
    added = await p.add(deterministic(20_000, "file"), "file", profile=SMALL)
    wire = Wire(me, p, limit_bytes=5_000)
    async with wired(wire):
        await me.pin(added.cid)
        await wire.is_full.wait()
        looking = asyncio.ensure_future(fetched(me, added.cid, deadline_s=0.0))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not looking.done()
        ahead_s = 0.0
        me._exchange._now = lambda: time.monotonic() + ahead_s
        while not team.worlds["me"].heard_of(PeerMisbehaved):
            ahead_s += PATIENCE_S  # once more if a block came after the last time
            me._exchange._timer.set()
            await asyncio.sleep(0.01)
        with pytest.raises(Unavailable) as error:
            await looking
    assert "stopped sending" in error.value.sentence
    assert f"of {p.presence(added.cid).bytes} bytes are here" in error.value.sentence
    (report,) = team.worlds["me"].heard_of(PeerMisbehaved)
    assert (report.peer, report.code) == ("right", "stalled")


async def test_a_cancelled_fetch_is_forgotten(team: Team) -> None:
    added_cid = str(Cid.of(RAW, b"nobody has this"))
    world = team.worlds["me"]
    async with world.content() as me:
        assert not await me.cancel_fetch(added_cid)
        with pytest.raises(Unavailable):
            await fetched(me, added_cid, deadline_s=0.01)
        assert await me.cancel_fetch(added_cid)
        assert me._store.roots == {}
    async with world.content() as me:
        assert me._fetches._running == {}


async def test_pinning_what_is_not_here_fetches_it(team: Team) -> None:
    me, p = await team.start("me"), await team.start("p")
    added = await p.add(deterministic(20_000, "file"), "file", profile=SMALL)
    await me.pin(added.cid, "file")
    async with wired(Wire(me, p)):
        await fetched(me, added.cid)
    assert me.is_pinned(added.cid)
    assert me.presence(added.cid).complete
    assert me.usage().pinned_bytes == me.usage().bytes


async def test_a_chain_of_nodes_passes_a_file_on(team: Team) -> None:
    me, p, q = await team.start("me"), await team.start("p"), await team.start("q")
    data = deterministic_bytes(60_000)
    added = await q.add([data], "file", profile=SMALL)
    wires = Wire(me, p, left_name="me", right_name="p"), Wire(p, q, left_name="p", right_name="q")
    async with wired(*wires), asyncio.TaskGroup() as tasks:
        tasks.create_task(fetched(me, added.cid))
        tasks.create_task(fetched(p, added.cid))
    assert await read_whole(me, added.cid) == data


async def test_a_file_added_here_ends_the_fetch_of_it(team: Team) -> None:
    me = await team.start("me")
    data = deterministic_bytes(20_000)
    async with World(team.worlds["me"].path.parent / "other").content() as other:
        cid = (await other.add([data], "file", profile=SMALL)).cid
    looking = asyncio.ensure_future(fetched(me, cid))
    await asyncio.sleep(0)
    await me.add([data], "file", profile=SMALL)
    assert (await looking)[-1].state == "done"
    assert me.is_pinned(cid)


async def test_who_waits_for_a_fetch_learns_of_its_end(team: Team) -> None:
    cid = str(Cid.of(RAW, b"nobody has this"))
    async with team.worlds["me"].content() as me:
        looking = asyncio.ensure_future(fetched(me, cid))
        while not me._fetches._running:  # noqa: ASYNC110 - until it has begun
            await asyncio.sleep(0)
        assert await me.cancel_fetch(cid)
        with pytest.raises(Unavailable, match="cancelled"):
            await looking
        looking = asyncio.ensure_future(fetched(me, cid))
        while not me._fetches._running:  # noqa: ASYNC110
            await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="stops"):
        await looking


async def test_the_quota_ends_a_fetch_with_its_sentence(team: Team) -> None:
    me, p = await team.start("me"), await team.start("p")
    quota = team.worlds["me"].quota
    quota.limit = 3 * MIB
    big = await p.add(deterministic(8 * MIB, "big"), "big")
    small = await p.add([b"small"], "small")
    async with wired(Wire(me, p)):
        with pytest.raises(Refused) as error:
            await fetched(me, big.cid)
        assert error.value.code == "restricted"
        assert quota.highest <= quota.limit
        assert team.worlds["me"].heard_of(FetchProgress)[-1].state == "failed"
        await fetched(me, small.cid)  # what came of the other makes room
    assert await read_whole(me, small.cid) == b"small"
    assert me._fetches._running == {}


async def test_what_found_no_room_goes_on_by_itself_when_there_is_some(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "ROOM_S", 0.01)
    me, p = await team.start("me"), await team.start("p")
    world = team.worlds["me"]
    world.quota.limit = 3 * MIB
    data = deterministic_bytes(8 * MIB, "big")
    big = await p.add([data], "big")
    async with wired(Wire(me, p)):
        with pytest.raises(Refused):
            await fetched(me, big.cid)
        world.quota.limit = 20 * MIB
        async with asyncio.timeout(30):
            while world.heard_of(FetchProgress)[-1].state != "done":  # noqa: ASYNC110 - as it is told
                await asyncio.sleep(0.01)
    assert await read_whole(me, big.cid) == data


async def test_what_seems_to_find_room_and_does_not_is_tried_less_and_less_often(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "ROOM_S", 0.002)
    me, p = await team.start("me"), await team.start("p")
    monkeypatch.setattr(me._store.room, "is_there_for", lambda _count: True)
    team.worlds["me"].quota.limit = 1 * MIB
    big = await p.add(deterministic(4 * MIB, "big"), "big")
    began: list[float] = []
    begin = me._fetches._begin

    def counted(cid: Cid) -> fetching.Fetch:
        began.append(asyncio.get_running_loop().time())
        return begin(cid)

    monkeypatch.setattr(me._fetches, "_begin", counted)
    async with wired(Wire(me, p)), asyncio.timeout(30):
        with pytest.raises(Refused):
            await fetched(me, big.cid)
        while len(began) < 7:  # noqa: ASYNC110 - by itself
            await asyncio.sleep(0.001)
        for _ in range(3):
            me._fetches.resume()
            while me._fetches._running:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.001)
        looking = [task for task in asyncio.all_tasks() if task.get_name().startswith("room for")]
    assert len(looking) == 1
    assert began[6] - began[5] >= 0.002 * 2**4


async def test_a_paused_fetch_waits_for_its_owner_over_restarts(team: Team) -> None:
    me, p = await team.start("me"), await team.start("p")
    data = deterministic_bytes(60_000)
    added = await p.add([data], "file", profile=SMALL)
    wire = Wire(me, p, limit_bytes=20_000)
    async with wired(wire):
        assert await me.start_fetch(added.cid, name="file")
        await wire.is_full.wait()
        assert await me.pause_fetch(added.cid)
        (job,) = me.jobs()
        assert (job.state, job.cid) == ("paused", added.cid)
    assert not await me.pause_fetch("bafkqaaa")
    world = team.worlds["me"]
    came = me.presence(added.cid).bytes
    await me.stop()
    async with world.content() as again, wired(wire := Wire(again, p)):
        (job,) = again.jobs()
        assert (job.state, job.have_bytes) == ("paused", again.presence(added.cid).bytes)
        assert 0 < came <= job.have_bytes < 60_000
        assert await again.start_fetch(added.cid)
        await world.hears(is_done)
        assert again.jobs() == []
        assert await read_whole(again, added.cid) == data
        assert not await again.start_fetch(added.cid)
        # What was here is not fetched again.
        assert sum(wire.carried) < 60_000


async def test_a_failed_fetch_is_a_job_until_it_is_forgotten(team: Team) -> None:
    me, p = await team.start("me"), await team.start("p")
    added = await p.add([deterministic_bytes(60_000)], "file", profile=SMALL)
    team.worlds["me"].quota.limit = 10 * 4096
    async with wired(Wire(me, p)):
        with pytest.raises(Refused):
            await fetched(me, added.cid)
    (job,) = me.jobs()
    assert job.state == "failed"
    assert "full" in job.error
    assert await me.cancel_fetch(added.cid)
    assert me.jobs() == []
    assert not await me.cancel_fetch(added.cid)
