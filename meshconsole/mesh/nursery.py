"""The tasks of one service: all in its TaskGroup, none able to end the others."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from meshconsole.core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
LAST_PAUSE_S = 60.0


class Nursery:
    """Owns what it spawns until `close`; the group that it is given awaits it."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = True

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs `work` to its end; an unexpected exception is logged. Raises Unavailable after `close`."""
        if not self._is_open:
            work.close()
            raise Unavailable("The node stops.")
        task = self._group.create_task(self._guard(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # where it was cancelled before it began
        return task

    def keep(self, name: str, loop: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Runs a loop for ever, starting it again with growing pauses when it fails."""
        return self.spawn(name, self._restart(name, loop))

    def close(self) -> None:
        """Cancels everything; nothing more can be spawned."""
        self._is_open = False
        for task in self._tasks:
            task.cancel()

    def cancel(self, *beginnings: str) -> None:
        """Cancels the tasks whose names begin so."""
        for task in self._tasks:
            if task.get_name().startswith(beginnings):
                task.cancel()

    async def _guard(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            log.exception("%s failed", name)

    async def _restart(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        pause = FIRST_PAUSE_S
        while True:
            try:
                await loop()
            except Exception:
                log.exception("%s failed and is started again in %.0f s", name, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_PAUSE_S)
