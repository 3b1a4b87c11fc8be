"""Whole stores that pass wants and blocks on for each other."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.exchange.bitswap import Message, Payload, Want, decode_message, encode_message
from meshconsole.content.exchange.wants import AT_ONCE
from meshconsole.content.formats.block import Block
from meshconsole.core.errors import Unavailable
from tests.content.conftest import World, read_whole
from tests.content.deterministic import BLOCKS, deterministic_bytes
from tests.content.wire import Wire, wired

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from meshconsole.content.service import Content

A = BLOCKS[0]


MIB = 1 << 20


def a_line(stores: list[Content], passes_on: Callable[[], bool] = lambda: True) -> list[Wire]:
    names = "abcd"
    return [
        Wire(stores[n], stores[n + 1], names[n], names[n + 1], passes_on=passes_on)
        for n in range(len(stores) - 1)
    ]


async def fetched(content: Content, cid: str, deadline_s: float = 20.0) -> None:
    async for _ in content.fetch(cid, deadline_s=deadline_s):
        pass


async def test_a_file_comes_along_a_line_of_stores(tmp_path: Path) -> None:
    data = deterministic_bytes(20 * MIB + 3)
    worlds = [World(tmp_path / name) for name in "abcd"]
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(world.content()) for world in worlds]
        cid = (await stores[0].add([data], "file")).cid
        wires = a_line(stores)
        async with wired(*wires):
            await fetched(stores[3], cid)
            assert await read_whole(stores[3], cid) == data
            assert [store.handed_on[0] for store in stores] == [0, 22, 22, 0]
            assert all(not wire.faults for wire in wires)
            # What has gone through is there, for as long as there is room, and belongs to no root.
            assert stores[1].roots() == ()
            await fetched(stores[2], cid)
        assert stores[2].presence(cid).complete


async def test_where_the_storage_is_full_blocks_go_through_and_nothing_is_removed(tmp_path: Path) -> None:
    data = deterministic_bytes(12 * MIB)
    worlds = [World(tmp_path / name) for name in "abc"]
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(world.content()) for world in worlds]
        cid = (await stores[0].add([data], "file")).cid
        own = (await stores[1].add([deterministic_bytes(3 * MIB)], "own", pinned=False)).cid
        worlds[1].quota.limit = worlds[1].quota.used + MIB // 2
        async with wired(*a_line(stores)):
            await fetched(stores[2], cid)
        assert await read_whole(stores[2], cid) == data
        assert stores[1].presence(own).complete
        assert worlds[1].quota.highest <= worlds[1].quota.limit
        assert not stores[1]._exchange._transit._data


async def test_one_that_reads_nothing_has_a_few_blocks_in_hand_whatever_another_fetches(world: World) -> None:
    """Where nothing may be stored. It gets the others when it reads on."""
    world.quota.limit = 0
    everything = {block.cid.multihash: block for block in BLOCKS}
    wants = encode_message(Message(tuple(Want(block.cid, True) for block in BLOCKS)))
    to_source: asyncio.Queue[bytes] = asyncio.Queue()
    got: dict[str, set[bytes]] = {"quick": set(), "slow": set()}
    reads, news = asyncio.Event(), asyncio.Event()

    async with world.content() as hub:

        async def source() -> None:
            while True:
                for want in decode_message(await to_source.get()).wants:
                    block = everything[want.cid.multihash]
                    payload = Message(payload=(Payload(block.cid.prefix, block.data),))
                    answer = payload if want.block else Message(haves=(want.cid,))
                    await hub.receive("source", encode_message(answer))

        def take(peer: str, message: bytes) -> None:
            got[peer] |= {
                Block.received(each.prefix, each.data).cid.multihash
                for each in decode_message(message).payload
            }
            news.set()

        async def to_quick(message: bytes) -> None:
            take("quick", message)

        async def to_slow(message: bytes) -> None:
            await reads.wait()
            take("slow", message)

        async def has_all(peer: str) -> None:
            while got[peer] != everything.keys():
                news.clear()
                await news.wait()

        for name, send in (("source", to_source.put), ("quick", to_quick), ("slow", to_slow)):
            hub.attach(name, send, lambda _: True, lambda: True)
        sending = asyncio.ensure_future(source())
        await hub.receive("slow", wants)
        await hub.receive("quick", wants)
        await has_all("quick")
        transit = hub._exchange._transit
        assert len(transit._data) <= AT_ONCE
        assert not got["slow"]
        reads.set()
        await has_all("slow")
        sending.cancel()


async def test_nothing_goes_through_a_node_that_does_not_pass_on(tmp_path: Path) -> None:
    worlds = [World(tmp_path / name) for name in "abc"]
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(world.content()) for world in worlds]
        cid = (await stores[0].add([b"x" * 1000], "file")).cid
        async with wired(*a_line(stores, lambda: False)):
            with pytest.raises(Unavailable):
                await fetched(stores[2], cid, deadline_s=0.2)
        assert stores[1].usage().blocks == 0


async def test_what_teammates_want_is_not_told_to_strangers(tmp_path: Path) -> None:
    """A peer that is attached without `passes_on` is served, and hears of nobody else's wants."""
    worlds = [World(tmp_path / name) for name in "abc"]
    heard: list[bytes] = []
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(world.content()) for world in worlds]
        cid = (await stores[0].add([b"x" * 1000], "file")).cid

        async def hear(message: bytes) -> None:
            heard.append(message)

        stores[1].attach("stranger", hear, lambda _: True)
        async with wired(*a_line(stores)):
            await fetched(stores[2], cid)
            await stores[1].receive("stranger", encode_message(Message((Want(A.cid, True),))))
        assert not any(message.wants for message in map(decode_message, heard))
        assert all(not peer.said for peer in stores[1]._exchange.passing._askers.values())
