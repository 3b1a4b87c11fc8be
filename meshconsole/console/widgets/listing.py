"""The state of a long list: rows, filter, cursor, window, tail, pause. Pure, whatever draws it.

A row keeps its number for as long as it is held: numbers count every row ever put in. What is shown
is a sorted list of numbers, so a filter costs one pass when it is set and one test per new row.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

Row = TypeVar("Row")


class Listing(Generic[Row]):
    """`key` names a row, so that the cursor stays on it; `text` is what a filter looks in."""

    def __init__(
        self,
        key: Callable[[Row], Hashable],
        text: Callable[[Row], str],
        *,
        capacity: int = 5000,
        follow: bool = False,
    ) -> None:
        self.key = key
        self.text = text
        self.capacity = capacity
        self.rows: list[Row] = []
        self.first = 0
        """The number of `rows[0]`."""
        self.cursor = 0
        """A position among the shown rows."""
        self.top = 0
        """The position of the first row in the window."""
        self.height = 1
        self.tailing = follow
        """Whether this list grows at its end and can be followed there."""
        self.follow = follow
        self.filter = ""
        self.paused = False
        self.seen = 0
        """Rows from this number on are new to the person."""
        self._held: deque[Row] = deque(maxlen=capacity)
        self._held_count = 0
        self._shown: Sequence[int] = range(0)

    def __len__(self) -> int:
        """How many rows are shown."""
        return len(self._shown)

    @property
    def held(self) -> int:
        """How many rows came while paused."""
        return self._held_count

    @property
    def new(self) -> int:
        """How many rows came since the person last looked."""
        return self.first + len(self.rows) - max(self.seen, self.first)

    def row(self, position: int) -> Row:
        return self.rows[self._shown[position] - self.first]

    def is_new(self, position: int) -> bool:
        return self._shown[position] >= self.seen

    def current(self) -> Row | None:
        return self.row(self.cursor) if 0 <= self.cursor < len(self) else None

    def look(self) -> None:
        """Everything held now has been seen."""
        self.seen = self.first + len(self.rows)

    # Rows come.

    def extend(self, rows: Iterable[Row]) -> None:
        batch = list(rows)
        if self.paused:
            self._held.extend(batch)
            self._held_count += len(batch)
            return
        number = self.first + len(self.rows)
        self.rows.extend(batch)
        if self.filter:
            matching = (number + i for i, row in enumerate(batch) if self._matches(row))
            self._shown = [*self._shown, *matching]
        else:
            self._shown = range(self.first, self.first + len(self.rows))
        self._trim()
        if self.follow:
            self.cursor = max(0, len(self) - 1)
        self._settle()

    def replace(self, rows: Iterable[Row]) -> None:
        """All rows anew. The cursor stays on its row if that is still there."""
        current = self.current()
        wanted = None if current is None else self.key(current)
        self.first += len(self.rows)
        self.rows = list(rows)
        self._refilter()
        if wanted is not None:
            for position in range(len(self)):
                if self.key(self.row(position)) == wanted:
                    self.cursor = position
                    break
        if self.follow:
            self.cursor = max(0, len(self) - 1)
        self._settle()

    def set_filter(self, text: str) -> None:
        """Keeps rows whose text holds `text`; with "!" first, those that do not. "" shows all."""
        self.filter = text
        current = None if self.current() is None else self._shown[self.cursor]
        self._refilter()
        if current is not None:
            self.cursor = min(bisect_left(self._shown, current), max(0, len(self) - 1))
        if self.follow:
            self.cursor = max(0, len(self) - 1)
        self._settle()

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        """What came meanwhile is taken in; more than `capacity` of it is not kept."""
        self.paused = False
        held, self._held_count = list(self._held), 0
        self._held.clear()
        self.extend(held)

    # The person moves.

    def resize(self, height: int) -> None:
        self.height = max(1, height)
        self._settle()

    def move(self, rows: int) -> None:
        self.cursor += rows
        self.follow = self.tailing and rows > 0 and self.cursor >= len(self) - 1
        self._settle()

    def to_start(self) -> None:
        self.cursor, self.follow = 0, False
        self._settle()

    def to_end(self) -> None:
        self.cursor, self.follow = max(0, len(self) - 1), self.tailing
        self._settle()

    def to(self, position: int) -> None:
        self.cursor = position
        self.follow = self.tailing and position >= len(self) - 1
        self._settle()

    def _matches(self, row: Row) -> bool:
        text = self.text(row).lower()
        if self.filter.startswith("!"):
            return not self.filter[1:] or self.filter[1:].lower() not in text
        return self.filter.lower() in text

    def _refilter(self) -> None:
        whole = range(self.first, self.first + len(self.rows))
        if self.filter:
            self._shown = [number for number, row in zip(whole, self.rows, strict=True) if self._matches(row)]
        else:
            self._shown = whole

    def _trim(self) -> None:
        # An eighth at a time, so that dropping the oldest costs nothing per row.
        if len(self.rows) <= self.capacity + self.capacity // 8:
            return
        gone = len(self.rows) - self.capacity
        del self.rows[:gone]
        self.first += gone
        left = bisect_left(self._shown, self.first)
        self._shown = self._shown[left:]
        self.cursor -= left
        self.top -= left

    def _settle(self) -> None:
        """The cursor on a row, the window around the cursor and without a gap below the last row."""
        last = max(0, len(self) - 1)
        self.cursor = min(max(0, self.cursor), last)
        self.top = min(max(self.top, self.cursor - self.height + 1), self.cursor)
        self.top = min(max(0, self.top), max(0, len(self) - self.height))
