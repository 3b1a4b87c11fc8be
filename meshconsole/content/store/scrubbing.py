"""Reading every block, slowly, so that damage is found before the block is needed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from meshconsole.content.store.store import Store

PAGE_BLOCKS = 64


class Scrubbed(msgspec.Struct, frozen=True):
    """So far: blocks looked at, bytes that were read and sound, and blocks that were not."""

    blocks: int = 0
    bytes: int = 0
    damaged: int = 0
    position: int = 0
    """Where to go on."""


async def scrub(
    store: Store, pause_s: float, after: int = 0, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> AsyncIterator[Scrubbed]:
    """Says how far it is after some blocks, and at the end. Each damaged block is reported and, where it is
    needed, fetched again."""
    done = Scrubbed()
    while True:
        multihashes, after = await store.page(after, PAGE_BLOCKS)
        if not multihashes:
            return
        for multihash in multihashes:
            size = await store.examine(multihash)
            done = Scrubbed(done.blocks + 1, done.bytes + (size or 0), done.damaged + (size is None), after)
            await sleep(pause_s)
        yield done
