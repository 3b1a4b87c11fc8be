"""Ten thousand connections that never finish their handshake: memory stays level, and a teammate gets in."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress

import psutil
import pytest

from meshconsole.content.libp2p.door import MAX_HANDSHAKES
from meshconsole.content.libp2p.host import Bounds
from meshconsole.content.libp2p.multistream import HEADER, encode_lines
from tests.content.libp2p.peers import party

pytestmark = pytest.mark.soak

CONNECTIONS = 10_000
AT_ONCE = 250
GROWTH_BYTES = 20_000_000
SAID = (
    b"",
    b"\0" * 2000,
    b"GET / HTTP/1.1\r\n\r\n",
    encode_lines(HEADER),
    encode_lines(HEADER, "/noise") + b"\0\x20",
)


async def _knock(address: tuple[str, int], said: bytes) -> None:
    with suppress(OSError):
        reader, writer = await asyncio.open_connection(*address)
        try:
            writer.write(said)
            async with asyncio.timeout(5):
                while await reader.read(4096):
                    continue
        finally:
            writer.close()


async def test_ten_thousand_handshakes() -> None:
    async with party("here", Bounds(handshake_s=0.2, per_minute=0)) as here, party("friend") as friend:
        address, under_way = here.host.listening[0], 0
        rss = []
        for number in range(CONNECTIONS // AT_ONCE):
            knocking = [
                asyncio.create_task(_knock(address, SAID[(number + n) % len(SAID)])) for n in range(AT_ONCE)
            ]
            await asyncio.sleep(0)
            under_way = max(under_way, here.host._door._under_way.total())
            await asyncio.wait(knocking)
            gc.collect()
            rss.append(psutil.Process().memory_info().rss)
        assert under_way <= MAX_HANDSHAKES
        assert rss[-1] - rss[2] < GROWTH_BYTES
        assert not here.host.connections
        assert not here.host._door._under_way
        await friend.host.dial(here.address)
        await here.until(1)
        print(f"memory grew by {(rss[-1] - rss[2]) / 1e6:.1f} MB; refused: {dict(here.host.faults)}")
