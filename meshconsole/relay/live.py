"""The live index: which open subscriptions want this event. Pure.

Each filter is filed under every value of one of its lists, the most selective one it has, so that
an event is compared only with filters that share a value with it, and an idle subscription costs
nothing. Equal filters are filed once, with all who subscribed to them: a hundred clients that follow
the same thing cost one comparison.
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


class _Group(Generic[S]):
    """All who subscribed to equal filters, in the order they came."""

    __slots__ = ("members", "wanted")

    def __init__(self, wanted: Filter) -> None:
        self.wanted = wanted
        self.members: dict[S, None] = {}


class LiveIndex(Generic[S]):
    """Subscriptions are any hashable things; they come back from `wanted_by` as they were added."""

    def __init__(self) -> None:
        self._groups: dict[Filter, _Group[S]] = {}
        self._shelves: dict[Hashable, dict[_Group[S], None]] = {}
        self._filed: dict[S, tuple[Filter, ...]] = {}

    def __len__(self) -> int:
        return len(self._filed)

    def add(self, subscription: S, filters: Sequence[Filter]) -> None:
        """Replaces what was filed for this subscription before."""
        self.remove(subscription)
        filed = self._filed[subscription] = tuple(wanted for wanted in filters if not wanted.impossible)
        for wanted in filed:
            group = self._groups.get(wanted)
            if group is None:
                group = self._groups[wanted] = _Group(wanted)
                for shelf in _shelves(wanted):
                    self._shelves.setdefault(shelf, {})[group] = None
            group.members[subscription] = None

    def remove(self, subscription: S) -> None:
        """Nothing happens when it was not filed."""
        for wanted in dict.fromkeys(self._filed.pop(subscription, ())):
            group = self._groups[wanted]
            del group.members[subscription]
            if not group.members:
                del self._groups[wanted]
                for shelf in _shelves(group.wanted):
                    groups = self._shelves[shelf]
                    del groups[group]
                    if not groups:
                        del self._shelves[shelf]

    @property
    def is_filing(self) -> bool:
        """Whether any filter is filed."""
        return bool(self._shelves)

    def wanted_by(self, event: Event) -> list[S]:
        """Each subscription once, however many of its filters match."""
        if not self._shelves:
            return []
        found: list[_Group[S]] = []
        present = indexed_tags(event)
        shelves: list[Hashable] = [("#", letter, value) for letter, value in present]
        shelves += (("id", event.id), ("author", event.pubkey), ("kind", event.kind), _EVERYTHING)
        for shelf in shelves:
            if groups := self._shelves.get(shelf):
                found += [group for group in groups if matches(group.wanted, event, present)]
        if len(found) < 2:
            return list(found[0].members) if found else []
        return list({subscription: None for group in found for subscription in group.members})


def _shelves(wanted: Filter) -> Iterable[Hashable]:
    """Always the same ones for equal filters."""
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
