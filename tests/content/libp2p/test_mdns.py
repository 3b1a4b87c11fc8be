from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.content.libp2p.mdns import MAX_ADDRESSES, Mdns, make_text, read_text
from meshconsole.content.libp2p.multiaddr import tcp_address
from tests.content.libp2p.peers import key

if TYPE_CHECKING:
    from meshconsole.content.libp2p.keys import PeerId
    from meshconsole.content.libp2p.multiaddr import Multiaddr

HERE = tcp_address("192.0.2.1", 4001).with_peer(key("me").peer)


def test_addresses_are_read_again() -> None:
    there = tcp_address("::1", 2).with_peer(key("me").peer)
    assert list(read_text(make_text([HERE, there]))) == [HERE, there]


def test_an_address_without_a_peer_is_nobodys() -> None:
    assert not list(read_text(make_text([tcp_address("192.0.2.1", 4001)])))


def test_a_record_of_a_thousand_addresses_is_cut() -> None:
    assert len(list(read_text(make_text([HERE] * 1000)))) == MAX_ADDRESSES


@pytest.mark.slow
async def test_two_on_one_link_find_each_other() -> None:
    heard = {name: asyncio.Event() for name in ("one", "two")}
    rungs = {}
    for name, other in (("one", "two"), ("two", "one")):
        mine, theirs = key(name).peer, key(other).peer

        def found(address: Multiaddr, theirs: PeerId = theirs, event: asyncio.Event = heard[name]) -> None:
            if address.peer == theirs:
                event.set()

        rungs[name] = Mdns(mine, lambda: (tcp_address("192.0.2.1", 4001),), found)
    running = [asyncio.create_task(rung.run()) for rung in rungs.values()]
    try:
        async with asyncio.timeout(20):
            for event in heard.values():
                await event.wait()
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)


@given(st.binary(max_size=200))
def test_any_bytes(text: bytes) -> None:
    list(read_text(text))
    list(read_text(b"\x20dnsaddr=" + text))
