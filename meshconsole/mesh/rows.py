"""Rows of this node's log; the newest are kept in memory, so that following live costs no reads. Pure."""

from __future__ import annotations

from collections import deque

import msgspec

from meshconsole.core.event import decode_event
from meshconsole.core.precedence import Precedence


class Row(msgspec.Struct, frozen=True, gc=False):
    """One event of the log. `push`: it was made here, so that the peer cannot have it yet."""

    seq: int
    id: bytes
    kind: int
    raw: bytes
    push: bool = False
    precedence: Precedence = Precedence.ROUTINE


def row_of(raw: bytes) -> Row:
    """An event of the store by itself; it has no place in the log."""
    event = decode_event(raw)
    return Row(0, bytes.fromhex(event.id), event.kind, raw)


class RecentRows(msgspec.Struct):
    """Complete from behind `floor` on: every row of the log with a higher seq is here.

    `floor` starts as the head of the log when listening began.
    """

    floor: int
    limit_rows: int = 2048
    limit_bytes: int = 2 * 1024 * 1024
    _rows: deque[Row] = msgspec.field(default_factory=deque)
    _bytes: int = 0

    def add(self, row: Row) -> None:
        """Rows come in the order of their seq; one that does not makes everything before it unsure."""
        if self._rows and row.seq <= self._rows[-1].seq:
            self.floor = max(self.floor, self._rows[-1].seq)
            self._rows.clear()
            self._bytes = 0
            return
        if row.seq <= self.floor:
            return
        self._rows.append(row)
        self._bytes += len(row.raw)
        while len(self._rows) > self.limit_rows or self._bytes > self.limit_bytes:
            oldest = self._rows.popleft()
            self._bytes -= len(oldest.raw)
            self.floor = oldest.seq

    def skip(self, seq: int) -> None:
        """A row that is not kept, nor those before it."""
        self.floor = max(self.floor, seq)
        self._rows.clear()
        self._bytes = 0

    def read(self, after: int, limit: int) -> list[Row] | None:
        """Rows behind `after`, oldest first; None if only the store can tell."""
        if after < self.floor:
            return None
        newest: list[Row] = []
        for row in reversed(self._rows):
            if row.seq <= after:
                break
            newest.append(row)
        newest.reverse()
        return newest[:limit]
