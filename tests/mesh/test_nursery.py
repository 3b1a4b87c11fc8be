"""Tasks that a service owns end with it, also those that had not begun."""

from __future__ import annotations

import asyncio
import inspect

from meshconsole.mesh.nursery import Nursery


async def test_work_that_had_not_begun_is_closed_with_the_nursery() -> None:
    work = asyncio.sleep(3600)
    async with asyncio.TaskGroup() as group:
        nursery = Nursery(group)
        nursery.spawn("late", work)
        nursery.close()
    assert inspect.getcoroutinestate(work) == inspect.CORO_CLOSED
