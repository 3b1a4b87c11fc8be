"""Events that were read lately, in memory: most questions are about a few of them.

A page of the database holds some six events and costs 5 us to read and decrypt, and a reader's pages are
void after each commit; an event stays what it is until it is removed. Two generations: what is asked for
again moves to the young one, and when that has taken half of the room, the old one goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

OVERHEAD = 150
"""Bytes that an event takes beside its own: two objects and a place in a dictionary."""


class HotEvents:
    """Used by one reader at a time; `forget` may be called by another thread meanwhile."""

    def __init__(self, max_bytes: int) -> None:
        self._half = max_bytes // 2
        self._young: dict[int, bytes] = {}
        self._old: dict[int, bytes] = {}
        self._size = 0
        """Of the young ones, about: what was forgotten still counts."""
        self._forgotten = 0
        """How often anything was removed from the store."""

    def resize(self, max_bytes: int) -> None:
        """Empties it where that is less than it may hold now. By any thread."""
        if max_bytes // 2 < self._half:
            self._young, self._old, self._size = {}, {}, 0
        self._half = max_bytes // 2

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    @property
    def mark(self) -> int:
        """To be taken before the read transaction begins whose keys are looked up."""
        return self._forgotten

    def raws(
        self, keys: Sequence[int], mark: int, read: Callable[[Sequence[int]], list[bytes]]
    ) -> list[bytes]:
        """The events with these keys. Those that are not here are read, all of which must be there."""
        young = self._young
        try:
            return [young[key] for key in keys]  # mostly all are here
        except KeyError:
            pass
        found = list(map(young.get, keys))
        old = self._old
        fresh: dict[int, bytes] = {}
        unknown: list[int] = []
        for place, raw in enumerate(found):
            if raw is None:
                key = keys[place]
                again = old.pop(key, None)
                if again is None:
                    unknown.append(place)
                else:
                    found[place] = fresh[key] = again
        if unknown:
            asked = [keys[place] for place in unknown]
            given = read(asked)
            fresh.update(zip(asked, given, strict=True))
            for place, raw in zip(unknown, given, strict=True):
                found[place] = raw
        self._keep(fresh, mark)
        return found  # type: ignore[return-value]

    def forget(self, keys: Iterable[int]) -> None:
        """Events were removed from the store: its commit is over, and so are these."""
        self._forgotten += 1
        for key in keys:
            self._young.pop(key, None)
            self._old.pop(key, None)

    def _keep(self, fresh: dict[int, bytes], mark: int) -> None:
        self._young.update(fresh)
        self._size += sum(map(len, fresh.values())) + OVERHEAD * len(fresh)
        if mark != self._forgotten:
            # What was just read may have been removed since, and its key given to another event.
            self._young, self._old, self._size = {}, {}, 0
        elif self._size > self._half:
            self._young, self._old, self._size = {}, self._young, 0
