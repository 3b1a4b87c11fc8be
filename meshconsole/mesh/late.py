"""The notes of this device that one teammate has not confirmed, and which of them go as datagrams now. Pure.

A stream waits for what is lost, so a note on it waits a few round trips where one in twenty packets is lost,
and many seconds where much is lost in a row; where more is lost no link is made at all. Datagrams come
through by themselves. The laws:

1. On a link that keeps up nothing is sent twice: the kernel says how far the other end's kernel has
   acknowledged (`Standing`), and only a note that is not acknowledged after a round trip and a little goes
   out once more, as a datagram, to that teammate alone.
2. A link that stands still for STALLED_S, or that repeats much for a note, is poor for POOR_S: there notes go
   as datagrams at once, and the log (`carries`) holds them back for CARRIED_S, so that they are not sent by
   both ways.
3. Where the system does not tell, or there is no link, a note is late after LATE_S.
4. The more urgent and then the longest waiting goes first, at the pace that the way has shown (`Pace`),
   again and again until the teammate has confirmed it or for GIVEN_UP_S; of one in parts those that it lacks,
   in turn.

Times are in seconds, monotonic.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.precedence import Precedence
from meshconsole.mesh.datagrams.pacing import Pace
from meshconsole.mesh.datagrams.parts import in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from meshconsole.mesh.links.pipe import Standing

LATE_S = 1.5
PATIENT_TIMES, PATIENT_S = 2.0, 0.03
"""Beyond the round trip: of what it varies by, and at the least, since acknowledgements may be delayed."""
STALLED_S, STALLED_MOST_S = 0.6, 2.0
LOSSY_S, LOSSY_PACKETS = 0.3, 3
"""A note that is not acknowledged for so long, while so many packets were sent again."""
POOR_S = 10.0
CARRIED_S = 6.0
PARTS_AT_ONCE = 4
GIVEN_UP_S = 120.0
MAX_NOTES = 256


class _Note(msgspec.Struct):
    parts: tuple[bytes, ...]
    began: float
    precedence: Precedence
    handed_on: int | None = None
    """Bytes of the link up to its end; None while it is not known to be on the link."""
    repeated: int = 0
    """What the link had sent again by then."""
    has_arrived: bool = False
    """At the other end's kernel."""
    handed_on_at: float = 0.0
    times: int = 0
    sent_at: float = 0.0
    held: int = 0
    turn: int = 0

    def take(self, now: float) -> list[bytes]:
        chosen = in_turn(len(self.parts), self.held, self.turn, PARTS_AT_ONCE)
        self.times, self.sent_at, self.turn = self.times + 1, now, (chosen[-1] + 1) % len(self.parts)
        return [self.parts[n] for n in chosen]


class Late(msgspec.Struct):
    """One teammate's."""

    pace: Pace = msgspec.field(default_factory=Pace)
    _notes: OrderedDict[bytes, _Note] = msgspec.field(default_factory=OrderedDict)
    _link: object = None
    _standing: Standing | None = None
    _acked: int = 0
    _stands_since: float | None = None
    _poor_until: float = 0.0
    _is_mute: bool = False

    def __bool__(self) -> bool:
        return bool(self._notes)

    def add(
        self,
        event_id: bytes,
        parts: tuple[bytes, ...],
        now: float,
        precedence: Precedence = Precedence.ROUTINE,
    ) -> None:
        self._notes[event_id] = _Note(parts, now, precedence)
        if len(self._notes) > MAX_NOTES:
            self._notes.popitem(last=False)

    def waiting(self) -> Iterable[bytes]:
        return tuple(self._notes)

    def confirmed(self, event_id: bytes) -> None:
        """By whatever way, and however it came."""
        self._notes.pop(event_id, None)

    def answered(self, event_id: bytes, now: float) -> bool:
        """The teammate says by datagram that it has the note. Whether it was waited for."""
        note = self._notes.pop(event_id, None)
        if note is None:
            return False
        if note.times:
            is_sure = note.times == 1 and len(note.parts) == 1
            self.pace.heard(now - note.sent_at, now, sum(map(len, note.parts)), is_sure=is_sure)
        return True

    def holds(self, event_id: bytes, held: int, now: float) -> None:
        """It has these parts, and perhaps more by now."""
        note = self._notes.get(event_id)
        if note is not None:
            note.held |= held
            self.pace.heard(None, now)

    def look(
        self,
        link: object,
        standing: Standing | None,
        is_on_it: Callable[[bytes], bool],
        now: float,
        *,
        is_mute: bool = False,
    ) -> None:
        """How the link stands now, None for none, and which notes are on it. `is_mute`: nothing is heard on
        it, which has to do where there is no `standing`."""
        if link is None and self._link is not None:
            self._poor_until = now + POOR_S
        if link is not self._link:
            self._link, self._stands_since, self._acked = link, None, 0
            for note in self._notes.values():
                note.handed_on, note.has_arrived = None, False
        self._is_mute, self._standing = is_mute, standing
        for event_id, note in list(self._notes.items()):
            if now - note.began >= GIVEN_UP_S:
                del self._notes[event_id]
            elif standing is not None and not note.has_arrived:
                if note.handed_on is None and is_on_it(event_id):
                    note.handed_on, note.repeated, note.handed_on_at = (
                        standing.handed_on,
                        standing.repeated,
                        now,
                    )
                note.has_arrived = note.handed_on is not None and standing.acked >= note.handed_on
        self._judge(standing, now)

    def _judge(self, standing: Standing | None, now: float) -> None:
        """Does the link stand still?"""
        if standing is None:
            self._stands_since = None
            return
        if standing.acked != self._acked or standing.acked >= standing.handed_on:
            self._acked, self._stands_since = standing.acked, None
        if standing.acked < standing.handed_on and self._stands_since is None:
            self._stands_since = now
        is_still = self._stands_since is not None and now - self._stands_since >= self._stalled_s(standing)
        if is_still or any(self._is_lossy_for(note, standing, now) for note in self._notes.values()):
            self._poor_until = now + POOR_S

    @staticmethod
    def _is_lossy_for(note: _Note, standing: Standing, now: float) -> bool:
        is_under_way = note.handed_on is not None and not note.has_arrived
        has_waited = is_under_way and now - note.handed_on_at >= LOSSY_S
        return has_waited and standing.repeated - note.repeated >= LOSSY_PACKETS

    @staticmethod
    def _stalled_s(standing: Standing) -> float:
        return max(STALLED_S, min(STALLED_MOST_S, 2 * standing.rtt_s + STALLED_S / 2))

    def is_poor(self, now: float) -> bool:
        return now < self._poor_until

    def carries(self, event_id: bytes, now: float) -> bool:
        """Whether the log may leave the note to datagrams for now."""
        note = self._notes.get(event_id)
        return note is not None and now - note.began < CARRIED_S and self.is_poor(now)

    def due(self, now: float) -> Iterator[bytes]:
        """What to send now. Each that is taken has been sent."""
        notes = self._notes
        ready = sorted((notes[each].precedence, at, each) for each, at in self._times(now) if at <= now)
        for *_, event_id in ready:
            note = notes.get(event_id)
            if note is None:
                continue  # confirmed while others were sent
            if not self.pace.may_send(now):
                return
            for payload in note.take(now):
                self.pace.sent(len(payload), now)
                yield payload

    def next_timer(self, now: float) -> float | None:
        """When to look again, if nothing happens before."""
        first = min((at for _, at in self._times(now)), default=None)
        if first is None:
            return None
        if self._stands_since is not None and self._standing is not None and not self.is_poor(now):
            first = min(first, self._stands_since + self._stalled_s(self._standing))
        return max(first, self.pace.free_at)

    def _times(self, now: float) -> Iterator[tuple[bytes, float]]:
        first_s, otherwise_s = self._first_s(now), 2 * self._patience_s()
        for event_id, note in self._notes.items():
            if note.has_arrived:
                continue
            if note.times:
                again_at = note.sent_at + self.pace.again_s(note.times, otherwise_s, now)
                lost_at = self.pace.lost_at(note.sent_at)
                yield event_id, again_at if lost_at is None else min(lost_at, again_at)
            elif first_s is not None:
                yield event_id, note.began + first_s

    def _first_s(self, now: float) -> float | None:
        """How old a note is when it goes out first; None for never, as things stand."""
        if self.is_poor(now):
            return 0.0
        if self._standing is not None or self._link is None or self._is_mute:
            return self._patience_s()
        return None

    def _patience_s(self) -> float:
        if self._standing is None:
            return LATE_S
        rtt_s, varies_s = self._standing.rtt_s, self._standing.varies_s
        return min(LATE_S, rtt_s + max(PATIENT_S, PATIENT_TIMES * varies_s))
