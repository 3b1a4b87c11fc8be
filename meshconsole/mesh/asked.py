"""Which events this node has asked some peer for just now, so that it does not ask another as well. Pure.

In a partial mesh an event is offered over several links at once. The first to offer it is asked; the
others wait until it is here, or until nothing of what the first was asked for has come for ASKED_S, or it
has taken LONGEST_S in all: then the next one is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

ASKED_S = 2.0
LONGEST_S = 8.0
"""However busily the one that was asked sends other events."""
LIMIT = 16_384


class Progress(msgspec.Struct):
    """Of one stream: when something came of what it was asked for, or was stored, last."""

    at: float = 0.0


class _Claim(msgspec.Struct, frozen=True):
    at: float
    progress: Progress

    def holds(self, now: float) -> bool:
        return now < min(max(self.at, self.progress.at) + ASKED_S, self.at + LONGEST_S)


class Asked(msgspec.Struct):
    """Shared by all peers of a node. Forgetting costs a second copy, never an event."""

    _claims: dict[bytes, _Claim] = msgspec.field(default_factory=dict)

    def claim(self, event_id: bytes, now: float, progress: Progress) -> bool:
        """Whether to ask for it now, the peer of that `progress`: nobody else was asked, or that took too
        long."""
        claim = self._claims.get(event_id)
        if claim is not None and claim.holds(now):
            return False
        self._claims.pop(event_id, None)
        self._claims[event_id] = _Claim(now, progress)
        if len(self._claims) > LIMIT:
            del self._claims[next(iter(self._claims))]
        return True

    def release(self, event_ids: Iterable[bytes]) -> None:
        """They came, or will not come from whoever was asked."""
        for event_id in event_ids:
            self._claims.pop(event_id, None)
