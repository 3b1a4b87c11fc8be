"""The team's control events, as every peer is offered them before a long backlog; read once for many.

A large team's are some megabytes: two hundred peers that come at once, each with a copy of its own, would
take more memory than the node may. What has come since the reading the log brings.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from meshconsole.core.kinds import CONTROL_KINDS
from meshconsole.mesh.rows import row_of
from meshconsole.relay.filter import Filter

if TYPE_CHECKING:
    from meshconsole.mesh.rows import Row
    from meshconsole.relay.relay import Relay

KEEP_S = 10.0
CONTROL_LIMIT = 2000
"""Control events offered before a backlog; the rest, if there ever is one, comes in the log's order."""


class ControlRows:
    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._kept: tuple[Row, ...] | None = None
        self._reading = asyncio.Lock()

    async def get(self) -> tuple[Row, ...]:
        """The oldest first; their seq says nothing. Raises MeshconsoleError."""
        async with self._reading:
            if self._kept is None:
                raws = await self._relay.query([Filter(kinds=CONTROL_KINDS)], CONTROL_LIMIT)
                self._kept = tuple(row_of(raw) for raw in reversed(raws))
                asyncio.get_running_loop().call_later(KEEP_S, self._forget)
            return self._kept

    def _forget(self) -> None:
        self._kept = None
