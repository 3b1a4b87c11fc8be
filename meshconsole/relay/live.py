"""The live index: which open subscriptions want this event. Pure.

Each filter is filed under every value of one of its lists, the most selective one it has, so that
an event is compared only with filters that share a value with it, and an idle subscription costs
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from meshconsole.relay.event import indexed_tags
from meshconsole.relay.filter import matches

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from meshconsole.core.event import Event
    from meshconsole.relay.filter import Filter

S = TypeVar("S")

_EVERYTHING = ("*", "")


class LiveIndex(Generic[S]):
    """Subscriptions are any hashable things; they come back from `wanted_by` as they were added."""

    def __init__(self) -> None:
        self._shelves: dict[Hashable, dict[tuple[S, int], Filter]] = {}
        self._filed: dict[S, list[tuple[Hashable, tuple[S, int]]]] = {}

    def __len__(self) -> int:
        return len(self._filed)

    def add(self, subscription: S, filters: Sequence[Filter]) -> None:
        """Replaces what was filed for this subscription before."""
        self.remove(subscription)
        filed = self._filed[subscription] = []
        for number, wanted in enumerate(filters):
            if wanted.impossible:
                continue
            entry = (subscription, number)
            for shelf in _shelves(wanted):
                self._shelves.setdefault(shelf, {})[entry] = wanted
                filed.append((shelf, entry))

    def remove(self, subscription: S) -> None:
        """Nothing happens when it was not filed."""
        for shelf, entry in self._filed.pop(subscription, ()):
            entries = self._shelves[shelf]
            entries.pop(entry, None)
            if not entries:
                del self._shelves[shelf]

    @property
    def is_filing(self) -> bool:
        """Whether any filter is filed."""
        return bool(self._shelves)

    def wanted_by(self, event: Event) -> list[S]:
        """Each subscription once, however many of its filters match."""
        if not self._shelves:
            return []
        found: dict[S, None] = {}
        present = indexed_tags(event)
        shelves: list[Hashable] = [("#", letter, value) for letter, value in present]
        shelves += (("id", event.id), ("author", event.pubkey), ("kind", event.kind), _EVERYTHING)
        for shelf in shelves:
            for (subscription, _), wanted in self._shelves.get(shelf, {}).items():
                if subscription not in found and matches(wanted, event, present):
                    found[subscription] = None
        return list(found)


def _shelves(wanted: Filter) -> Iterable[Hashable]:
    if wanted.ids is not None:
        return [("id", value) for value in wanted.ids]
    if wanted.tags:
        letter, values = min(wanted.tags, key=lambda pair: len(pair[1]))
        return [("#", letter, value) for value in values]
    if wanted.authors is not None:
        return [("author", value) for value in wanted.authors]
    if wanted.kinds is not None:
        return [("kind", value) for value in wanted.kinds]
    return [_EVERYTHING]
