"""Batches on their way to one peer: a window of them, held until they are acknowledged. Pure.

What is held answers a `Need` without another read, and is neither sent nor offered twice.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import RemoteError
from meshconsole.mesh.messages import Fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshconsole.mesh.known import KnownIds
    from meshconsole.mesh.messages import Ack, Need
    from meshconsole.mesh.rows import Row

BATCH_BYTES = 64 * 1024
WINDOW_BYTES = 512 * 1024
WINDOW_BATCHES = 64
REMEMBERED_OFFERS = 8


class Flight(msgspec.Struct):
    number: int
    rows: list[Row]
    offered: list[Row]
    size: int
    lacked: int = 0
    """Offers of it that were needed."""


class Flights(msgspec.Struct):
    number: int = 0
    """Of the last batch that was sent."""
    held_bytes: int = 0
    pushed: set[bytes] = msgspec.field(default_factory=set)
    """What was sent in full and is not acknowledged."""
    lacks: float = 0.5
    """Which share of what was offered lately the peer lacked."""
    _flights: deque[Flight] = msgspec.field(default_factory=deque)
    _flying: set[bytes] = msgspec.field(default_factory=set)

    def __contains__(self, event_id: bytes) -> bool:
        return event_id in self._flying

    def __len__(self) -> int:
        return len(self._flights)

    @property
    def has_room(self) -> bool:
        return self.held_bytes < WINDOW_BYTES and len(self._flights) < WINDOW_BATCHES

    def clear(self) -> None:
        """The stream ends; what the peer lacked lately stays known."""
        self.number = self.held_bytes = 0
        self.pushed.clear()
        self._flights.clear()
        self._flying.clear()

    def send(self, rows: list[Row], pushed: list[Row], offered: list[Row]) -> int:
        """`rows` are those that are pushed and those that are offered. Returns the batch's number."""
        self.number += 1
        size = sum(len(row.raw) for row in rows)
        self._flights.append(Flight(self.number, rows, offered, size))
        self.pushed.update(row.id for row in pushed)
        self._flying.update(row.id for row in rows)
        self.held_bytes += size
        return self.number

    def ack(self, ack: Ack, known: KnownIds) -> None:
        """What was in the batches the peer has from now on. Raises RemoteError for one that was not sent."""
        if ack.number > self.number:
            raise RemoteError("bad-ack", "The peer acknowledged a batch that was never sent.")
        told = lacked = 0
        while self._flights and self._flights[0].number <= ack.number:
            flight = self._flights.popleft()
            told += len(flight.offered)
            lacked += flight.lacked
            self.held_bytes -= flight.size
            known.update(row.id for row in flight.rows)
            self._flying.difference_update(row.id for row in flight.rows)
            self.pushed.difference_update(row.id for row in flight.rows)
        if told:
            self.lacks += (lacked / told - self.lacks) * min(1.0, told / REMEMBERED_OFFERS)

    def need(self, need: Need) -> Iterator[Fill]:
        """Raises RemoteError for positions that were not offered."""
        flight = next((f for f in self._flights if f.number == need.number), None)
        if flight is None or need.positions[-1] >= len(flight.offered):
            raise RemoteError("bad-need", "The peer asked for an event that was not offered.")
        if any(later <= earlier for earlier, later in pairwise(need.positions)):
            # Else a small message could ask for a large event a thousand times.
            raise RemoteError("bad-need", "The peer asked for the same event twice.")
        flight.lacked += len(need.positions)
        events: list[tuple[int, bytes]] = []
        size = 0
        for position in need.positions:
            raw = flight.offered[position].raw
            if events and size + len(raw) > BATCH_BYTES:
                yield Fill(need.stream, need.number, tuple(events))
                events, size = [], 0
            events.append((position, raw))
            size += len(raw)
        yield Fill(need.stream, need.number, tuple(events))
