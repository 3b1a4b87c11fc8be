"""Plain Nostr clients at work, until they are killed: `python -m bench.plain_clients HOST:PORT COUNT`."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from hashlib import sha256

from websockets.asyncio.client import connect

from meshconsole.core.event import encode_event
from meshconsole.crypto.schnorr import sign_event

PAUSE_S = 1.0


async def work(address: str, number: int) -> None:
    """Follows notes and its own mentions; every second asks for fifty older ones and publishes one."""
    secret = sha256(f"client {number}".encode()).digest()
    async with connect(f"ws://{address}/", proxy=None, compression=None, max_size=None) as client:
        await client.send(json.dumps(["REQ", "notes", {"kinds": [1], "limit": 20}]))
        await client.send(json.dumps(["REQ", "mentions", {"#p": [f"{number:064x}"], "limit": 20}]))

        async def act() -> None:
            for turn in range(1_000_000):
                until = int(time.time()) - 8 * 50 * (turn * 20 + number)
                await client.send(json.dumps(["REQ", "older", {"kinds": [1], "until": until, "limit": 50}]))
                event = sign_event(secret, 1, (), f"{turn} of {number}", int(time.time()))
                await client.send(f'["EVENT",{encode_event(event).decode()}]')
                await asyncio.sleep(PAUSE_S)

        async with asyncio.TaskGroup() as group:
            group.create_task(act())
            async for _ in client:
                pass


async def main(address: str, count: int) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(work(address, number))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
