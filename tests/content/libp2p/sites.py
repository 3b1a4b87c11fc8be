"""Content stores that a libp2p host stands before."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshconsole.content.libp2p.blocks import Blocks
from tests.content.conftest import World
from tests.content.libp2p.peers import Party, party

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from meshconsole.content.libp2p.connection import Connection
    from meshconsole.content.service import Content


@dataclass
class Site:
    party: Party
    content: Content
    world: World
    gives: bool = True

    async def bring(self, cid: str, deadline_s: float = 20.0) -> None:
        async for _ in self.content.fetch(cid, deadline_s=deadline_s):
            continue

    async def fetch(self, cid: str, deadline_s: float = 20.0) -> str:
        """The SHA-256 of what came."""
        await self.bring(cid, deadline_s)
        return await self.digest(cid)

    async def digest(self, cid: str) -> str:
        """Of a file that is here."""
        digest = hashlib.sha256()
        async for piece in self.content.read(cid):
            digest.update(piece)
        return digest.hexdigest()


@asynccontextmanager
async def site(folder: Path, name: str) -> AsyncIterator[Site]:
    await asyncio.to_thread(folder.mkdir)
    world = World(folder)
    async with world.content() as content, party(name) as one:
        here = Site(one, content, world)
        blocks = Blocks(content, one.host, lambda _: here.gives, lambda _: False)
        one.rules.team = blocks.handlers

        def up(connection: Connection) -> None:
            blocks.up(connection)
            one.on_up(connection)

        def down(connection: Connection) -> None:
            blocks.down(connection)
            one.on_down(connection)

        one.rules.up, one.rules.down = up, down
        yield here
