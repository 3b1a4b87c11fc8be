"""The content store as teammates meet it: what this node gives to whom.

Links are for enrolled devices alone, so a stranger never gets as far as this. A device of role "relay" may
have what it may hold: all blocks of the team's files are ciphertext. A device that was removed gets nothing
from the moment on at which this node learns of it, and where the owner has switched the IPFS node off, nobody
does: it only fetches. The same holds for what is passed on from one teammate to another.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from meshconsole.content.service import Content
    from meshconsole.team.state import Team


MAX_STOCK = 200_000
"""Blocks that are compared with a peer's: 20 MB of memory for a moment."""
STOCK_S = 30.0


class Sharing:
    def __init__(
        self,
        content: Content,
        team: Callable[[], Team | None],
        *,
        gives: Callable[[], bool],
        passes_on: Callable[[], bool] = lambda: True,
    ) -> None:
        """`passes_on`: whether wants of teammates may be passed on now."""
        self._passes_on = passes_on
        self._content = content
        self._team = team
        self._gives = gives
        self._reading = asyncio.Lock()
        self._stock: list[bytes] | None = None
        self._read_at = 0.0

    def attach(
        self, peer: str, send: Callable[[bytes], Awaitable[None]], may_read: Callable[[str], bool]
    ) -> None:
        self._content.attach(
            peer,
            send,
            lambda cid: self._belongs(peer) and may_read(cid),
            lambda: self._belongs(peer) and self._passes_on(),
        )

    def detach(self, peer: str) -> None:
        self._content.detach(peer)

    async def receive(self, peer: str, message: bytes) -> None:
        await self._content.receive(peer, message)

    async def stock(self, peer: str) -> list[bytes] | None:
        """What is compared with the peer's; read again when it is older than STOCK_S."""
        if not self._belongs(peer):
            return None
        async with self._reading:
            now = asyncio.get_running_loop().time()
            if self._stock is None or now - self._read_at > STOCK_S:
                self._stock, self._read_at = await self._content.stock(MAX_STOCK), now
                asyncio.get_running_loop().call_later(STOCK_S, self._forget)
        return self._stock

    def stocked(self, peer: str, ids: frozenset[bytes]) -> None:
        self._content.stocked(peer, ids)

    def _forget(self) -> None:
        self._stock = None

    def _belongs(self, peer: str) -> bool:
        if not self._gives():
            return False
        team = self._team()
        member = team.member(peer) if team is not None else None
        return member is not None and not member.removed
