"""Which events this node has asked some peer for just now, so that it does not ask another as well. Pure.

In a partial mesh an event is offered over several links at once. The first to offer it is asked; the
others wait until it is here, or until the first has taken ASKED_S: then the next one is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

ASKED_S = 2.0
LIMIT = 16_384


class Asked(msgspec.Struct):
    """Shared by all peers of a node. Forgetting costs a second copy, never an event."""

    _until: dict[bytes, float] = msgspec.field(default_factory=dict)

    def claim(self, event_id: bytes, now: float) -> bool:
        """Whether to ask for it now: nobody else was asked, or that took too long."""
        if self._until.get(event_id, now) > now:
            return False
        self._until.pop(event_id, None)
        self._until[event_id] = now + ASKED_S
        if len(self._until) > LIMIT:
            del self._until[next(iter(self._until))]
        return True

    def release(self, event_ids: Iterable[bytes]) -> None:
        """They came, or will not come from whoever was asked."""
        for event_id in event_ids:
            self._until.pop(event_id, None)
