"""Every block is read now and then, unasked, so that damage is found while somebody still holds a copy.

A round goes slowly, waits while the node is short of anything, and goes on after a restart where it was.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import MeshconsoleError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from meshconsole.content.service import Content
    from meshconsole.node.state import NodeState

log = logging.getLogger(__name__)

DAY_S = 86_400.0
LOOK_S = 600.0
WAIT_S = 30.0
PAUSE_S = 0.5
"""Between two blocks: 2 MB/s where they are large."""

_NAME = "scrub"


class Round(msgspec.Struct, frozen=True):
    """How far the round under way is (0: none is), and when the last one ended (seconds since the epoch)."""

    position: int = 0
    damaged: int = 0
    ended_at: float = 0.0
    last_damaged: int = 0
    whole: bool = False
    """Whether a round ended then. False in a new home, whose first one is not due yet."""


class ScrubKeeping:
    def __init__(
        self,
        content: Content,
        state: NodeState,
        *,
        days: Callable[[], float],
        must_wait: Callable[[], bool],
        record: Callable[..., None],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`days` lie between the ends of two rounds; 0 is never."""
        self._content = content
        self._state = state
        self._days = days
        self._must_wait = must_wait
        self._record = record
        self._clock = clock
        self._sleep = sleep
        self.round = state.get(_NAME, Round, Round())

    @property
    def last(self) -> tuple[float, int]:
        """When the last whole round ended (0.0: there was none), and how many blocks were damaged."""
        return (self.round.ended_at, self.round.last_damaged) if self.round.whole else (0.0, 0)

    async def keep(self) -> None:
        if not self.round.ended_at:
            self._put(msgspec.structs.replace(self.round, ended_at=self._clock()))  # a new home
        while True:
            await self._sleep(LOOK_S)
            if self._is_due():
                try:
                    await self._go_round()
                except MeshconsoleError as error:
                    log.warning("checking the blocks: %s", error)

    def _is_due(self) -> bool:
        if not self._days():
            return False
        now = self._clock()
        if self.round.ended_at > now:  # the clock was wrong then
            self._put(msgspec.structs.replace(self.round, ended_at=now))
        return bool(self.round.position) or now - self.round.ended_at >= self._days() * DAY_S

    async def _go_round(self) -> None:
        before = self.round.damaged
        async for step in self._content.scrub(PAUSE_S, after=self.round.position, sleep=self._sleep):
            now = msgspec.structs.replace(self.round, position=step.position, damaged=before + step.damaged)
            await asyncio.to_thread(self._put, now)
            while self._must_wait():
                await self._sleep(WAIT_S)
            if not self._days():
                return
        self._put(Round(0, 0, self._clock(), self.round.damaged, whole=True))
        self._record("scrub", damaged=str(self.round.last_damaged), by="itself")

    def _put(self, now: Round) -> None:
        self.round = now
        self._state.put(_NAME, now)
