"""Damaged blocks and peers that send such: noticed, never passed on, fetched again."""

from __future__ import annotations

import pytest

from meshconsole.content.exchange.bitswap import Message, Payload, decode_message, encode_message
from meshconsole.content.formats.block import Block
from meshconsole.content.formats.cid import DAG_PB
from meshconsole.content.formats.dagpb import Link, Node, encode_node
from meshconsole.content.happenings import BlockCorrupt, PeerMisbehaved
from meshconsole.core.errors import CorruptData, RemoteError
from tests.content.conftest import SMALL, Team, fetched, read_whole, scrubbed
from tests.content.deterministic import deterministic_bytes
from tests.content.wire import Wire, wired


async def test_trees_that_are_none_are_refused(team: Team) -> None:
    me, p = await team.start("me"), await team.start("p")
    leaf = Block.of(0x0129, b"{}")
    root = Block.of(DAG_PB, encode_node(Node((Link(leaf.cid, "", 1),))))
    bad = Block.of(DAG_PB, b"\xff\xff\xff")
    for block in (root, bad):
        await p._store.write(len(block.data), lambda block=block: block)  # type: ignore[misc]
    await p._store.commit()
    async with wired(Wire(me, p)):
        for block in (root, bad):
            with pytest.raises(RemoteError):
                await fetched(me, str(block.cid))
    with pytest.raises(RemoteError):
        await fetched(me, "Qm not a cid")


async def test_a_damaged_pinned_file_is_fetched_again(team: Team) -> None:
    me, p = await team.start("me"), await team.start("p")
    data = deterministic_bytes(20_000)
    for content in (me, p):
        added = await content.add([data], "file", profile=SMALL)
    world = team.worlds["me"]
    world.file_with(data[5000:6000]).write_bytes(b"?" * 1000)
    assert await scrubbed(me) == 1
    assert world.heard_of(BlockCorrupt)
    assert not me.presence(added.cid).complete
    async with wired(Wire(me, p)):
        await fetched(me, added.cid)
    assert await read_whole(me, added.cid) == data
    assert await scrubbed(me) == 0


async def test_a_damaged_small_file_is_fetched_again_when_it_is_asked_for(team: Team) -> None:
    me, p = await team.start("me"), await team.start("p")
    data = deterministic_bytes(5000)
    added = await p.add([data], "file")
    async with wired(Wire(me, p)):
        await fetched(me, added.cid)
        team.worlds["me"].file_with(data).write_bytes(data[:100])
        with pytest.raises(CorruptData):
            await read_whole(me, added.cid)
        assert not me.presence(added.cid).complete
        await fetched(me, added.cid)
        assert await read_whole(me, added.cid) == data


async def test_damage_found_at_the_start_is_repaired(team: Team) -> None:
    p = await team.start("p")
    data = deterministic_bytes(20_000)
    added = await p.add([data], "file", profile=SMALL)
    world = team.worlds["me"]
    async with world.content() as me:
        await me.add([data], "file", profile=SMALL)
    world.file_with(data[5000:6000]).unlink()
    async with world.content() as me, wired(Wire(me, p)):
        await fetched(me, added.cid)
        assert await read_whole(me, added.cid) == data


async def test_a_damaged_block_is_not_sent(team: Team) -> None:
    me, p, q = await team.start("me"), await team.start("p"), await team.start("q")
    data = deterministic_bytes(20_000)
    for content in (p, q):
        added = await content.add([data], "file", profile=SMALL)
    await p.unpin(added.cid)
    team.worlds["p"].file_with(data[5000:6000]).write_bytes(b"?" * 1000)
    wires = [Wire(me, p, right_name="p"), Wire(me, q, right_name="q")]
    async with wired(*wires):
        await fetched(me, added.cid)
    assert await read_whole(me, added.cid) == data
    assert wires[0].faults == wires[1].faults == []


async def test_a_peer_that_changes_blocks_is_refused_and_another_asked(team: Team) -> None:
    me, p, q = await team.start("me"), await team.start("p"), await team.start("q")
    data = deterministic_bytes(60_000)
    for content in (p, q):
        added = await content.add([data], "file", profile=SMALL)

    def change(data: bytes) -> bytes:
        message = decode_message(data)
        payload = tuple(Payload(each.prefix, each.data[:-1] + b"!") for each in message.payload)
        return encode_message(
            Message(message.wants, message.cancels, payload, message.haves, message.dont_haves)
        )

    evil = Wire(me, p, right_name="evil", change=change)
    async with wired(evil, Wire(me, q, right_name="q")):
        await fetched(me, added.cid)
    assert await read_whole(me, added.cid) == data
    assert [fault.code for fault in evil.faults] in (["unsolicited-block"], [])
    reports = team.worlds["me"].heard_of(PeerMisbehaved)
    assert [(report.peer, report.code) for report in reports] == [("evil", "unsolicited-block")] * len(
        evil.faults
    )
