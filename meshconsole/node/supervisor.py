"""Keeps the node's own loops running: restarts one that failed, with backoff, and says so."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from meshconsole.core.health import Found

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
STEADY_S = 10.0
"""A loop that has run for so long again is well."""


class Supervisor:
    """Runs each loop in one TaskGroup. A loop's failure is a health item until it runs again."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._clock = asyncio.get_running_loop().time
        self._tasks: list[asyncio.Task[None]] = []
        self._failed: dict[str, str] = {}

    def keep(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        self._tasks.append(self._group.create_task(self._run(name, loop), name=name))

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    def health(self) -> tuple[Found, ...]:
        return tuple(
            Found("loop-failed", f"{name} failed and is being restarted: {why}", "See the log.", about=name)
            for name, why in self._failed.items()
        )

    async def _run(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        pause = FIRST_PAUSE_S
        while True:
            recovered = self._clock() + STEADY_S
            steady = asyncio.get_running_loop().call_later(STEADY_S, self._failed.pop, name, None)
            try:
                await loop()
            except Exception as error:
                log.exception("%s failed; next try in %.0f s", name, pause)
                self._failed[name] = str(error) or type(error).__name__
            else:
                self._failed.pop(name, None)
                return
            finally:
                steady.cancel()
            if self._clock() > recovered:
                pause = FIRST_PAUSE_S
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)
