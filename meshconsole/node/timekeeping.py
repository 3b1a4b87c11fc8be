"""The time that this node was sure of last, kept through restarts for a machine whose clock nobody sets."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from meshconsole.core.errors import MeshconsoleError

if TYPE_CHECKING:
    from meshconsole.mesh.clock import TeamClock
    from meshconsole.node.state import NodeState

log = logging.getLogger(__name__)

EVERY_S = 600.0
NAME = "time"


class Timekeeping:
    def __init__(self, state: NodeState, clock: TeamClock) -> None:
        self._state = state
        self._clock = clock
        self._saved = state.get(NAME, float, 0.0)
        clock.goes_on_from(self._saved)

    async def keep(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.save()

    async def save(self) -> None:
        """Earlier than what is saved only where that is known to be wrong: the clock goes on from it
        otherwise. Raises MeshconsoleError."""
        sure = self._clock.sure
        if sure is not None and sure != self._saved:
            await asyncio.to_thread(self._state.put, NAME, sure)
            self._saved = sure

    async def end(self) -> None:
        """A full disk must not make a failure of a stop in good order."""
        try:
            await self.save()
        except MeshconsoleError as error:
            log.warning("the time was not saved: %s", error)
