"""One batch on its way in: what came in full, what was offered, and what of that is still lacking. Pure."""

from __future__ import annotations

from collections import deque
from itertools import chain

import msgspec


class Incoming(msgspec.Struct):
    number: int
    upto: int
    events: list[bytes]
    offers: list[tuple[bytes, int]]
    """Id and size."""
    is_checked: bool
    """The store has said which of the offers it lacks."""
    to_ask: deque[int] = msgspec.field(default_factory=deque)
    """Places among the offers, as all that follow."""
    awaited: set[int] = msgspec.field(default_factory=set)
    elsewhere: set[int] = msgspec.field(default_factory=set)
    """Asked of another peer just now."""

    @property
    def is_whole(self) -> bool:
        return self.is_checked and not self.to_ask and not self.awaited and not self.elsewhere

    @property
    def missing(self) -> int:
        """Events of it that are not stored yet."""
        if not self.is_checked:
            return len(self.events) + len(self.offers)
        return len(self.events) + len(self.to_ask) + len(self.awaited) + len(self.elsewhere)

    @property
    def missing_bytes(self) -> int:
        waiting = chain(self.to_ask, self.awaited, self.elsewhere)
        places = waiting if self.is_checked else range(len(self.offers))
        return sum(map(len, self.events)) + sum(self.offers[place][1] for place in places)
