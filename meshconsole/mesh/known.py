"""A bounded memory of event ids, the oldest forgotten first. Pure.

Forgetting is harmless: it costs an offer of 36 bytes, never an event and never a second copy.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


class KnownIds(msgspec.Struct):
    """Ids are 32 bytes."""

    limit: int = 4096
    _ids: OrderedDict[bytes, None] = msgspec.field(default_factory=OrderedDict)
    """The first entry of a plain dictionary is found by stepping over all that were deleted before it."""

    def __contains__(self, event_id: bytes) -> bool:
        return event_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, event_id: bytes) -> None:
        ids = self._ids
        if event_id in ids:
            return
        ids[event_id] = None
        if len(ids) > self.limit:
            ids.popitem(last=False)

    def discard(self, event_id: bytes) -> None:
        self._ids.pop(event_id, None)

    def clear(self) -> None:
        self._ids.clear()

    def update(self, event_ids: Iterable[bytes]) -> None:
        for event_id in event_ids:
            self.add(event_id)
