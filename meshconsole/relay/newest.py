"""The newest events of authors by their row keys, in memory: many questions are about them, and each author
and kind costs a seek and often a page otherwise.

Between two commits the store does not change: what is read in such a *moment* may be remembered, and what is
remembered holds in it. The writer tells of each event that comes, and of each place that one goes from, so
that a commit costs hardly anything of what is known.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from operator import neg
from typing import TYPE_CHECKING

from meshconsole.relay.keys import MAX_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DEPTH = 64
"""So many keys of a place are remembered."""

MAX_KEYS = 40_000
"""Of all places together: about 2 MB. Beyond it all are forgotten."""

MAX_AUTHORS = 8192
"""Authors whose kinds are remembered."""

MAX_KINDS = 16
"""Those of an author who has more are not."""


class _Place:
    """An author's events of one kind: all keys from `floor` on, newest first."""

    __slots__ = ("floor", "keys")

    def __init__(self, keys: list[int], floor: int) -> None:
        self.keys = keys
        self.floor = floor


class Newest:
    """One writer, any number of readers. `head` is the head of the store in this moment."""

    def __init__(self, head: int = 0) -> None:
        self.head = head
        self._moment = 0
        """Odd while something is being written."""
        self._lock = threading.Lock()
        self._kinds: dict[int, frozenset[int]] = {}
        self._places: dict[tuple[int, ...], _Place] = {}
        self._held = 0
        """Keys and places."""

    # --- By the writer -------------------------------------------------------------------------------

    def begin(self) -> None:
        """Before it looks at anything."""
        with self._lock:
            self._moment += 1

    def added(self, rows: Iterable[tuple[int, int, int]]) -> None:
        """Before their commit: (key, author, kind) of new events."""
        kinds, places = self._kinds, self._places
        for key, author, kind in rows:
            known = kinds.get(author)
            place = places.get((author, kind))
            if known is not None and kind not in known:
                if len(known) < MAX_KINDS:
                    kinds[author] = known | {kind}
                else:
                    del kinds[author]
                if place is None:
                    place = places[author, kind] = _Place([], 0)  # there was none before
                    self._held += 1
            if place is not None and key >= place.floor:
                place.keys.insert(bisect_left(place.keys, -key, key=neg), key)
                self._held += 1
                if len(place.keys) > 2 * DEPTH:
                    self._held -= len(place.keys) - DEPTH
                    del place.keys[DEPTH:]
                    place.floor = place.keys[-1]

    def removed(self, places: Iterable[tuple[int, int]]) -> None:
        """Before their commit: authors and kinds of events that go."""
        for place in places:
            known = self._places.pop(place, None)
            if known is not None:
                self._held -= 1 + len(known.keys)

    def end(self, head: int | None) -> None:
        """The commit is over, and the store has a new head; None if it was taken back."""
        with self._lock:
            if head is not None:
                self.head = head
            if head is None or self._held > MAX_KEYS:
                self._forget_places()
            self._moment += 1

    # --- By those who read ---------------------------------------------------------------------------

    def moment(self) -> int | None:
        """To be asked for before a read transaction begins. None while something is being written."""
        moment = self._moment
        return None if moment & 1 else moment

    def is_still(self, moment: int) -> bool:
        return moment == self._moment

    def kinds(self, author: int) -> frozenset[int] | None:
        """All kinds of which the author has events, perhaps some more; None if they are not known."""
        return self._kinds.get(author)

    def learn_kinds(self, found: dict[int, frozenset[int]], moment: int) -> None:
        with self._lock:
            if self.is_still(moment) and len(found) <= MAX_AUTHORS:
                if len(self._kinds) + len(found) > MAX_AUTHORS:
                    self._kinds.clear()
                few = {author: kinds for author, kinds in found.items() if len(kinds) <= MAX_KINDS}
                self._kinds.update(few)

    def keys(
        self, standing: Iterable[tuple[tuple[int, ...], int]], far: int, count: int
    ) -> list[list[int] | None]:
        """Of each place the newest `count` from where its walk stands down to `far`; None if they are not
        known."""
        places = self._places
        given: list[list[int] | None] = []
        for place, near in standing:
            known = places.get(place)
            if known is None:
                given.append(None)
                continue
            start = bisect_left(known.keys, -near, key=neg) if near < MAX_KEY else 0
            found = known.keys[start : start + count]
            if found and found[-1] < far:
                given.append([key for key in found if key >= far])
            else:
                given.append(found if len(found) == count or known.floor <= far else None)
        return given

    def learn(self, place: tuple[int, ...], near: int, floor: int, found: Sequence[int], moment: int) -> None:
        """All keys from `near` down to `floor`, newest first."""
        with self._lock:
            if not self.is_still(moment):
                return
            if self._held + len(found) >= MAX_KEYS:
                self._forget_places()
            known = self._places.get(place)
            if known is None:
                if near < MAX_KEY:
                    return  # there may be newer ones
                known = self._places[place] = _Place([], MAX_KEY)
                self._held += 1
            if near < known.floor - 1 or len(known.keys) >= DEPTH:
                return
            older = [key for key in found if key < known.floor]
            fitting = older[: DEPTH - len(known.keys)]
            known.keys += fitting
            known.floor = floor if len(fitting) == len(older) else fitting[-1]
            self._held += len(fitting)

    def _forget_places(self) -> None:
        self._places.clear()
        self._held = 0
