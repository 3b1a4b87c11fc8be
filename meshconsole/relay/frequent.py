"""The busiest of arbitrarily many sources, in bounded memory. Pure.

Counts after Misra and Gries ("Finding repeated elements", 1982), with removals in bulk: when the table
is full, the median weight is taken off every source and those left with nothing are forgotten. So an
addition is one look into a dictionary nearly always, a flood of sources cannot grow the table, and one
that has more than 2/size of all weight in a window is never lost. What is told of a source counts from
when it was last taken up, so it is never too high.
"""

from __future__ import annotations

from dataclasses import dataclass

WINDOW_S = 300.0


@dataclass(slots=True)
class Use:
    """What one source did. `weight` only decides who is kept."""

    events: int = 0
    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    refused: int = 0
    weight: int = 0

    def add(self, other: Use) -> None:
        self.events += other.events
        self.requests += other.requests
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.refused += other.refused

    @property
    def busyness(self) -> int:
        return self.events + self.requests + self.refused


class Busiest:
    """Over the running window and the one before it. `now` is monotonic, in seconds."""

    def __init__(self, size: int = 256) -> None:
        self.size = size
        self.current: dict[str, Use] = {}
        """The running window; `of` for what is not in it."""
        self._before: dict[str, Use] = {}
        self._since: float | None = None

    def __len__(self) -> int:
        return len(self.current) + len(self._before)

    def of(self, source: str, weight: int = 1) -> Use:
        """Where to count what `source` does now. Not to be kept: it may be forgotten."""
        found = self.current.get(source)
        if found is None:
            if len(self.current) >= self.size:
                self._thin_out()
            found = self.current[source] = Use()
        found.weight += weight
        return found

    def turn(self, now: float) -> None:
        """Begins a new window when the running one is over."""
        if self._since is None:
            self._since = now
        elif now - self._since >= WINDOW_S:
            self._since, self._before, self.current = now, self.current, {}

    def totals(self) -> dict[str, Use]:
        """A copy."""
        both: dict[str, Use] = {}
        for window in (self._before, self.current):
            for source, use in window.items():
                both.setdefault(source, Use()).add(use)
        return both

    def _thin_out(self) -> None:
        median = sorted(use.weight for use in self.current.values())[len(self.current) // 2]
        for use in self.current.values():
            use.weight -= median
        self.current = {source: use for source, use in self.current.items() if use.weight > 0}


def busiest(totals: dict[str, Use], count: int) -> list[tuple[str, Use]]:
    """The busiest first; of equals, the one with more bytes, then by name."""

    def rank(item: tuple[str, Use]) -> tuple[int, int, str]:
        use = item[1]
        return -use.busyness, -(use.bytes_in + use.bytes_out), item[0]

    return sorted(totals.items(), key=rank)[:count]
