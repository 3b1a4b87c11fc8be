"""Notes beside the links: nothing twice where a link keeps up, everything soon where it does not."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import TYPE_CHECKING

import pytest

from meshconsole.core.precedence import Precedence
from meshconsole.mesh.datagrams.got import (
    EVERY_S,
    MAX_ADDRESSES,
    SPARSE_S,
    Owed,
    ids_in,
    is_genuine,
    make_got,
    short,
)
from meshconsole.mesh.datagrams.messages import GOT_ID, MAX_GOT, Got, decode_datagram
from meshconsole.mesh.datagrams.pacing import (
    FIXED_AGAIN_S,
    HEADERS,
    LEAST,
    MOST,
    MOST_AGAIN_S,
    UNHEARD_S,
    Pace,
)
from meshconsole.mesh.datagrams.sealing import SIZES, Sealer
from meshconsole.mesh.late import (
    CARRIED_S,
    GIVEN_UP_S,
    LATE_S,
    MAX_NOTES,
    PARTS_AT_ONCE,
    PATIENT_S,
    PATIENT_TIMES,
    POOR_S,
    STALLED_MOST_S,
    Late,
)
from meshconsole.mesh.links.pipe import Standing
from meshconsole.mesh.messages import encode
from tests.mesh.devices import identity
from tests.netlab.impairment import LADDER, Way

if TYPE_CHECKING:
    from collections.abc import Callable

ID = b"i" * 32
LINK = object()
RTT = 0.05
VARIES = 0.02
PATIENCE = RTT + PATIENT_TIMES * VARIES


def number(n: int) -> bytes:
    return n.to_bytes(32, "big")


def look(late: Late, now: float, handed_on: int, acked: int, rtt_s: float = RTT) -> None:
    late.look(LINK, Standing(handed_on, acked, rtt_s, VARIES), lambda _: True, now)


def test_what_the_other_end_has_acknowledged_is_not_sent_again() -> None:
    late = Late()
    late.add(ID, (b"note",), 0.0)
    look(late, 0.0, 1000, 0)
    assert late.next_timer(0.0) == pytest.approx(PATIENCE)
    look(late, PATIENCE, 3000, 1000)
    assert list(late.due(PATIENCE)) == []
    assert late.next_timer(PATIENCE) is None
    assert late, "it is not confirmed yet"


def test_what_is_not_acknowledged_after_a_round_trip_goes_as_a_datagram_until_it_is() -> None:
    late = Late()
    late.add(ID, (b"note",), 0.0)
    look(late, 0.0, 1000, 0)
    assert list(late.due(PATIENCE - 0.01)) == []
    assert list(late.due(PATIENCE)) == [b"note"]
    assert list(late.due(PATIENCE)) == []
    assert list(late.due(PATIENCE + 2 * PATIENCE)) == [b"note"], "no answer yet tells how long answers take"
    look(late, PATIENCE + 3 * PATIENCE, 1000, 1000)
    assert list(late.due(60.0)) == []


def test_a_note_that_is_not_on_the_link_counts_as_late() -> None:
    late = Late()
    late.add(ID, (b"note",), 0.0)
    late.look(LINK, Standing(500, 500, RTT, 0.0), lambda _: False, 0.0)
    assert list(late.due(RTT + PATIENT_S)) == [b"note"]


def test_what_was_on_a_link_that_is_gone_was_not_brought() -> None:
    late = Late()
    late.add(ID, (b"note",), 0.0)
    look(late, 0.0, 1000, 1000)
    late.look(None, None, lambda _: False, 1.0)
    assert list(late.due(1.0)) == [b"note"], "a link that goes makes the way poor"
    again = Late()
    again.add(ID, (b"note",), 0.0)
    again.look(None, None, lambda _: False, 0.0)
    assert list(again.due(LATE_S - 0.1)) == [], "there never was a link"
    assert list(again.due(LATE_S)) == [b"note"]


def test_where_the_system_does_not_tell_silence_does() -> None:
    late = Late()
    late.add(ID, (b"note",), 0.0)
    late.look(LINK, None, lambda _: True, 9.0)
    assert list(late.due(9.0)) == []
    assert late.next_timer(9.0) is None
    late.look(LINK, None, lambda _: True, 9.0, is_mute=True)
    assert list(late.due(9.0)) == [b"note"]


def test_a_link_that_stands_still_is_poor_for_a_while_and_one_that_moves_is_not() -> None:
    late = Late()
    for tenth in range(50):
        look(late, tenth / 10, 1000 + tenth, tenth)
        assert not late.is_poor(tenth / 10), "something is acknowledged all the time"
    late.add(ID, (b"note",), 5.0)
    look(late, 5.0, 2000, 49)
    stalled = late.next_timer(5.0 + PATIENCE)
    assert stalled is not None
    look(late, 5.0 + STALLED_MOST_S, 2000, 49)
    now = 5.0 + STALLED_MOST_S
    assert late.is_poor(now)
    assert late.carries(ID, now)
    assert not late.carries(b"another", now)
    late.add(number(1), (b"fresh",), now)
    assert b"fresh" in list(late.due(now)), "at once"
    assert not late.carries(ID, 5.0 + CARRIED_S)
    look(late, now + POOR_S, 2000, 2000)
    assert not late.is_poor(now + POOR_S)


def test_a_link_that_repeats_much_for_a_note_is_poor() -> None:
    for repeated, is_poor in ((2, False), (3, True)):
        late = Late()
        late.add(ID, (b"note",), 0.0)
        for tenth in range(4):
            standing = Standing(1000 + tenth, tenth, RTT, VARIES, 7 + min(repeated, tenth))
            late.look(LINK, standing, lambda _: True, tenth / 10)
            assert late.is_poor(tenth / 10) == (is_poor and tenth == 3)


def test_a_far_link_does_not_stand_still() -> None:
    late = Late()
    look(late, 0.0, 1000, 0, rtt_s=0.7)
    look(late, 1.0, 1000, 0, rtt_s=0.7)
    assert not late.is_poor(1.0)


def test_the_more_urgent_and_then_the_longest_waiting_go_first_and_as_many_as_the_pace_allows() -> None:
    late = Late()
    for n in range(100):
        late.add(number(n), (bytes([n]) * 1000,), n / 1000)
    late.add(ID, (b"p" * 1000,), 0.2, Precedence.PRIORITY)
    late.look(None, None, lambda _: False, 0.0)
    sent = list(late.due(LATE_S + 1))
    assert [each[0] for each in sent] == [ord("p"), *range(len(sent) - 1)]
    assert 1 < len(sent) < 10
    after = late.next_timer(LATE_S + 1)
    assert after is not None
    assert after > LATE_S + 1
    assert next(late.due(after))[0] == len(sent) - 1


def test_notes_are_bounded_repeated_and_given_up() -> None:
    late = Late()
    for n in range(3 * MAX_NOTES):
        late.add(number(n), (b"x",), 0.0)
    assert len(tuple(late.waiting())) == MAX_NOTES
    alone, now, times = Late(), 0.0, []
    alone.add(ID, (b"x",), 0.0)
    while alone:
        alone.look(None, None, lambda _: False, now)
        times += [now for _ in alone.due(now)]
        now = max(now + 0.01, alone.next_timer(now) or 0.0)
    assert times[-1] < GIVEN_UP_S
    assert times[1] - times[0] == pytest.approx(MOST_AGAIN_S)
    assert times[-1] - times[-2] == pytest.approx(FIXED_AGAIN_S), "as a way that is dead for now"


def test_of_a_note_in_parts_those_that_are_lacking_go_in_turn() -> None:
    late, parts = Late(), tuple(bytes([n]) for n in range(12))
    late.add(ID, parts, 0.0)
    late.look(None, None, lambda _: False, 0.0)
    sent, now = [], LATE_S
    for _ in range(3):
        sent += [*late.due(now)]
        now += 2 * LATE_S
    assert sent == list(parts)
    assert len(sent) == 3 * PARTS_AT_ONCE
    late.holds(ID, 0b0111_1111_0111, now)
    assert sorted(late.due(now)) == [parts[3], parts[11]]


def test_an_answer_ends_it_and_what_was_not_waited_for_is_nothing() -> None:
    late = Late()
    late.add(ID, (b"x",), 0.0)
    assert late.answered(ID, 1.0)
    assert not late.answered(ID, 1.0)
    assert not late


# Pace.


def test_what_was_sent_before_something_that_was_answered_goes_again_without_waiting() -> None:
    late = Late()
    for n in range(3):
        late.add(number(n), (bytes([n]),), float(n))
    late.look(None, None, lambda _: False, 0.0)
    for n in range(3):
        assert list(late.due(n + LATE_S)) == [bytes([n])]
    late.answered(number(1), 1 + LATE_S + 0.1)
    assert list(late.due(2 + LATE_S + 0.1)) == [bytes([0])]


def test_the_rate_grows_while_answers_are_quick_and_falls_when_they_queue() -> None:
    pace, now = Pace(), 0.0
    first = pace.rate
    for _ in range(100):
        while pace.may_send(now):
            pace.sent(1000, now)
        now += 0.2
        pace.heard(0.1, now)
    assert first < pace.rate <= MOST
    for _ in range(9):
        pace.heard(1.0, now := now + 0.2)
    assert pace.rate > LEAST, "hardly anything was sent: what was slow was something else"
    high = pace.rate
    for _ in range(12):
        while pace.may_send(now):
            pace.sent(1000, now)
        now += 1.5
        pace.heard(1.5, now, 10_000)
        pace.heard(0.1, now)
    assert 4_000 < pace.rate < high, "so much came through"
    for _ in range(24):
        while pace.may_send(now):
            pace.sent(1000, now)
        now += 1.5
        pace.heard(1.5, now)
        pace.heard(0.1, now)
    assert pace.rate == LEAST


def test_what_a_way_was_like_is_forgotten() -> None:
    pace = Pace()
    pace.sent(1000, 0.0)
    pace.heard(0.02, 0.02)
    assert pace.again_s(1, 9.0, 0.02) < 0.1
    assert pace.again_s(4, 9.0, 0.02) == pytest.approx(8 * pace.again_s(1, 9.0, 0.02))
    pace.sent(1000, 60.0)
    assert pace.again_s(1, 1.2, 60.0) == 1.2
    assert pace.again_s(1, 1.2, 63.0) == FIXED_AGAIN_S, "nothing is answered"


def test_where_nobody_answers_little_is_sent() -> None:
    pace, now, sent = Pace(), 0.0, 0
    while now < UNHEARD_S + 10:
        if pace.may_send(now):
            pace.sent(1000, now)
            sent += now >= UNHEARD_S
        now += 0.01
    assert sent * (1000 + HEADERS) <= 10 * LEAST * 1.2


# Words about what was got.


def test_what_was_got_is_said_at_once_then_now_and_then_and_the_newest_again() -> None:
    owed = Owed()
    owed.owe("here", number(0), 0.0)
    assert owed.due(0.0) == [("here", short(number(0)))]
    for n in range(1, 3 * MAX_GOT):
        owed.owe("here", number(n << 200), 0.01)
    assert owed.due(EVERY_S / 2) == []
    assert owed.next_timer() == EVERY_S
    ((_, ids),) = owed.due(EVERY_S)
    assert len(ids) == GOT_ID * MAX_GOT
    assert ids.endswith(short(number((3 * MAX_GOT - 1) << 200)))
    assert owed.due(9.0) == []
    owed.owe("here", ID, 9.0)
    assert owed.due(9.0) == [("here", ids[GOT_ID:] + short(ID))]
    owed.owe("here", number(1), 9.0 + 2 * SPARSE_S)
    assert owed.due(9.0 + 2 * SPARSE_S), "notes come far apart"
    assert owed.next_timer() is None
    for n in range(3 * MAX_ADDRESSES):
        owed.owe(f"address {n}", ID, 10.0)
    assert len(owed.due(99.0)) == MAX_ADDRESSES


def test_a_word_is_signed_and_the_longest_fits_the_second_size() -> None:
    got = make_got(identity("bob"), b"a" * GOT_ID + b"b" * GOT_ID * (MAX_GOT - 1))
    assert is_genuine(got)
    assert ids_in(got) == {b"a" * GOT_ID, b"b" * GOT_ID}
    assert len(Sealer((b"k" * 32,)).seal(encode(got))) == SIZES[1]
    assert decode_datagram(encode(got)) == got
    assert not is_genuine(Got(got.npub, got.ids[GOT_ID:], got.sig))
    assert not is_genuine(Got(bytes.fromhex(identity("eve").npub), got.ids, got.sig))


# On a way as in the lab.


@dataclass
class Ends:
    """Two nodes that write notes to each other at once, over nothing but datagrams on a poor way."""

    rung: str
    seed: int
    now: float = 0.0
    took: list[float] = field(default_factory=list)
    datagrams: int = 0
    _things: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: count[int] = field(default_factory=count)

    def at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._things, (when, next(self._order), do))

    def run(self, notes: int, over_s: float, until: float) -> None:
        ends = [End(self, Way(Random(2 * self.seed + n), LADDER[self.rung])) for n in range(2)]
        for end, other in (ends, ends[::-1]):
            end.other = other
            for n in range(notes):
                self.at(over_s * n / notes, lambda end=end, n=n: end.write(n))  # type: ignore[misc]
        while self._things and len(self.took) < 2 * notes and self.now < until:
            self.now, _, do = heapq.heappop(self._things)
            do()


@dataclass
class End:
    ends: Ends
    way: Way
    late: Late = field(default_factory=Late)
    owed: Owed = field(default_factory=Owed)
    written: dict[bytes, float] = field(default_factory=dict)
    other: End = field(init=False)
    has: set[bytes] = field(default_factory=set)
    looks_at: float = float("inf")

    def write(self, n: int) -> None:
        event_id, now = n.to_bytes(2, "big") + b"e" * 30, self.ends.now
        self.written[event_id] = now
        self.late.add(event_id, (event_id,), now)
        self.look()

    def look(self) -> None:
        now = self.ends.now
        self.late.look(None, None, lambda _: False, now)
        for event_id in self.late.due(now):
            self.ends.datagrams += 1
            self.send(1242, lambda event_id=event_id: self.other.take(event_id))  # type: ignore[misc]
        timer = self.late.next_timer(now)
        if timer is not None and (timer < self.looks_at or self.looks_at <= now):
            self.looks_at = max(timer, now + 0.02)
            self.ends.at(self.looks_at, self.look)

    def send(self, size: int, arrives: Callable[[], None]) -> None:
        for due, _ in self.way.carry(bytes(size), self.ends.now):
            self.ends.at(due, arrives)

    def take(self, event_id: bytes) -> None:
        if event_id not in self.has:
            self.has.add(event_id)
            self.ends.took.append(self.ends.now - self.other.written[event_id])
        self.owed.owe("", event_id, self.ends.now)
        self.say()

    def say(self) -> None:
        for _, ids in self.owed.due(self.ends.now):
            self.send(426, lambda ids=ids: self.other.hear(ids))  # type: ignore[misc]
        timer = self.owed.next_timer()
        if timer is not None:
            self.ends.at(max(timer, self.ends.now + 0.01), self.say)

    def hear(self, ids: bytes) -> None:
        for event_id in self.late.waiting():
            if short(event_id) in ids:
                self.late.answered(event_id, self.ends.now)


@pytest.mark.parametrize(("rung", "within_s", "times"), [("absurd", 15.0, 3.5), ("barely-usable", 6.0, 2.5)])
def test_all_notes_come_over_a_poor_way_and_not_many_times(rung: str, within_s: float, times: float) -> None:
    """40 a second are more than it carries of them. At 25 % loss each goes out 1.3 times at the least."""
    for seed in range(3):
        ends = Ends(rung, seed)
        ends.run(100, 2.5, 60.0)
        took = sorted(ends.took)
        assert len(took) == 200
        assert took[190] <= within_s
        assert ends.datagrams <= 200 * times
