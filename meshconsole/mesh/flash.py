"""The flash path: an urgent note as a datagram, again and again until every teammate has said it is there.

Pure. At heavy loss every stream stalls: it waits for the first packet that is missing, ever longer. Here
each note stands for itself and is repeated at a fixed interval, so the chance that it has not come falls
with each repetition. Of a note in parts, a few are sent at a time, and only those that somebody lacks. Times
are in seconds, monotonic.
"""

from __future__ import annotations

import msgspec

from meshconsole.mesh.datagrams.parts import in_turn

REPEAT_S = 0.3
OFTEN_S = 15.0
"""Fifty repetitions: at 64 % loss there and back, one note in a thousand million is not acknowledged."""
SELDOM_S = 5.0
GIVEN_UP_S = 300.0
"""Who has not heard it by then gets the note when it is back in reach, by syncing."""
MAX_NOTES = 64


class Flying(msgspec.Struct):
    """One note under way. `missing` are those (npub) who have not acknowledged it; `held` which parts of it
    each has said it has."""

    parts: tuple[bytes, ...]
    missing: set[str]
    began: float
    next_at: float
    held: dict[str, int] = msgspec.field(default_factory=dict)
    _turn: int = 0

    def take(self, most: int) -> list[bytes]:
        """The parts to send now: some of those that somebody lacks, in turn."""
        common = -1
        for npub in self.missing:
            common &= self.held.get(npub, 0)
        chosen = in_turn(len(self.parts), common, self._turn, most)
        self._turn = (chosen[-1] + 1) % len(self.parts)
        return [self.parts[n] for n in chosen]


class Flash(msgspec.Struct):
    _flying: dict[bytes, Flying] = msgspec.field(default_factory=dict)

    def begin(self, event_id: bytes, parts: tuple[bytes, ...], to: set[str], now: float) -> None:
        """Due at once. The oldest gives way when there are too many."""
        if not to or event_id in self._flying:
            return
        if len(self._flying) >= MAX_NOTES:
            del self._flying[next(iter(self._flying))]
        self._flying[event_id] = Flying(parts, set(to), now, now)

    def acknowledged(self, event_id: bytes, npub: str) -> None:
        flying = self._flying.get(event_id)
        if flying is not None:
            flying.missing.discard(npub)
            if not flying.missing:
                del self._flying[event_id]

    def holds(self, event_id: bytes, npub: str, held: int) -> None:
        """It has these parts, and perhaps more by now."""
        flying = self._flying.get(event_id)
        if flying is not None and npub in flying.missing:
            flying.held[npub] = flying.held.get(npub, 0) | held

    def under_way(self) -> list[tuple[bytes, Flying]]:
        return list(self._flying.items())

    def due(self, now: float) -> list[Flying]:
        """What to send now."""
        for event_id, flying in list(self._flying.items()):
            if now - flying.began >= GIVEN_UP_S:
                del self._flying[event_id]
        due = [flying for flying in self._flying.values() if now >= flying.next_at]
        for flying in due:
            flying.next_at = now + (REPEAT_S if now - flying.began < OFTEN_S else SELDOM_S)
        return due

    def next_timer(self) -> float | None:
        return min((flying.next_at for flying in self._flying.values()), default=None)

    def hurry(self, now: float) -> None:
        """The network has changed: all that is under way is due, and often again for a while."""
        for flying in self._flying.values():
            flying.began = flying.next_at = now
