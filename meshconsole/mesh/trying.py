"""Addresses of one device, tried beside each other: a dead one holds up none, and a slow one is not given up
for another. RFC 8305 does so for the addresses of a host; here is more patience, for small machines."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from meshconsole.mesh.links.pipe import Pipe

HEAD_START_S = 2.0
"""Of an address before the next is tried beside it."""
MAX_TRIED = 6
"""At once: all may be one device's, which hears six from one host in a row."""


async def tried(
    addresses: tuple[str, ...], connect: Callable[[str], Coroutine[Any, Any, Pipe]]
) -> AsyncGenerator[tuple[str, asyncio.Task[Pipe]]]:
    """Each when it is connected or has failed. While somebody is talked to, no further one is begun; what is
    connected when this is closed is closed too."""
    waiting = deque(addresses)
    trying: dict[asyncio.Task[Pipe], str] = {}
    try:
        while waiting or trying:
            if waiting and len(trying) < MAX_TRIED:
                address = waiting.popleft()
                trying[asyncio.create_task(connect(address), name=f"join {address}")] = address
            head_start = HEAD_START_S if waiting else None
            done, _ = await asyncio.wait(trying, timeout=head_start, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                yield trying.pop(attempt), attempt
    finally:
        for attempt in trying:
            attempt.cancel()
        for left in await asyncio.gather(*trying, return_exceptions=True):
            if not isinstance(left, BaseException):
                await left.close("")
