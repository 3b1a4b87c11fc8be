"""Notes that do not get through: a teammate who should have them by now is sent them as datagrams. Pure.

Where much is lost in a row a stream stands still for many seconds, and where more is lost no link is made at
all; datagrams come through now and then. So a note that a teammate has not confirmed after LATE_S goes out
once more in REPEAT_S, to that one alone, the longest waiting first and few at a time, until it is confirmed
or for GIVEN_UP_S; of one in parts those that it lacks, in turn. Whether a teammate is in such trouble the
caller says. Times are in seconds, monotonic.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshconsole.mesh.datagrams.parts import in_turn

if TYPE_CHECKING:
    from collections.abc import Callable

LATE_S = 1.5
REPEAT_S = 2.0
GIVEN_UP_S = 120.0
MAX_NOTES = 256


@dataclass(slots=True)
class _Note:
    """What is told apart by teammate: when it was sent, which parts that one has, which is the next."""

    parts: tuple[bytes, ...]
    began: float
    sent_at: dict[str, float] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    turn: dict[str, int] = field(default_factory=dict)

    def take(self, npub: str, most: int, now: float) -> list[bytes]:
        chosen = in_turn(len(self.parts), self.held.get(npub, 0), self.turn.get(npub, 0), most)
        self.sent_at[npub] = now
        self.turn[npub] = (chosen[-1] + 1) % len(self.parts)
        return [self.parts[n] for n in chosen]


@dataclass(slots=True)
class Late:
    _notes: OrderedDict[bytes, _Note] = field(default_factory=OrderedDict)

    def add(self, event_id: bytes, parts: tuple[bytes, ...], now: float) -> None:
        self._notes[event_id] = _Note(parts, now)
        if len(self._notes) > MAX_NOTES:
            self._notes.popitem(last=False)

    def holds(self, event_id: bytes, npub: str, held: int) -> None:
        """It has these parts, and perhaps more by now."""
        note = self._notes.get(event_id)
        if note is not None:
            note.held[npub] = note.held.get(npub, 0) | held

    def is_waiting(self, now: float) -> bool:
        """Whether a note is young enough to be sent at all."""
        newest = next(reversed(self._notes.values()), None)
        return newest is not None and now - newest.began < GIVEN_UP_S

    def due(self, npub: str, most: int, now: float, has: Callable[[bytes], bool]) -> list[bytes]:
        """At most so many datagrams for the teammate, of notes that it has not got as far as is known."""
        waiting = [
            (note.sent_at.get(npub, note.began), note)
            for event_id, note in self._notes.items()
            if LATE_S <= now - note.began < GIVEN_UP_S
            and now - note.sent_at.get(npub, -REPEAT_S) >= REPEAT_S
            and not has(event_id)
        ]
        due: list[bytes] = []
        for _, note in sorted(waiting, key=lambda each: each[0]):
            if due and len(due) + len(note.parts) > most:
                break
            due += note.take(npub, most - len(due), now)
        return due
