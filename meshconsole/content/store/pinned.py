"""How much is kept by pins: counted at once where that is quick, else later, for many changes together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from meshconsole.content.tasks import Tasks

SLOW_COUNT_S = 0.05
"""Counting takes longer than this where there are very many blocks."""


class PinnedBytes:
    def __init__(self, count: Callable[[], Awaitable[int]], tasks: Tasks) -> None:
        self._count = count
        self._tasks = tasks
        self._may_count_at = 0.0
        self._will_count = False
        self.bytes = 0

    async def count(self) -> None:
        now = asyncio.get_running_loop().time
        start = now()
        self.bytes = await self._count()
        took = now() - start
        self._may_count_at = now() + (20 * took if took > SLOW_COUNT_S else 0)

    async def changed(self) -> None:
        delay = self._may_count_at - asyncio.get_running_loop().time()
        if delay <= 0:
            await self.count()
        elif not self._will_count:
            self._will_count = True
            self._tasks.spawn("content count", self._count_after(delay))

    async def _count_after(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        self._will_count = False
        await self.count()
