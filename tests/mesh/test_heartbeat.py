"""Heartbeat: two of them over a wire with a clock of its own."""

from __future__ import annotations

from meshconsole.mesh.links.heartbeat import GONE_S, PING_S, SUSPECT_S, Heartbeat


def run(
    a: Heartbeat, b: Heartbeat, start: float, seconds: float, *, to_a: bool = True, to_b: bool = True
) -> float:
    """Both sides ping for a while; a direction that is False loses everything. Answers take 20 ms."""
    now = start
    while now < start + seconds:
        for me, other, there, back in ((a, b, to_b, to_a), (b, a, to_a, to_b)):
            number = me.ping_due(now)
            if number is not None and there:
                other.ping_received(number, me.newest_heard, now + 0.01)
                if back:
                    me.pong_received(number, now + 0.02)
        now += 0.5
    return now


def test_both_hear_and_measure_each_other() -> None:
    a, b = Heartbeat(0.0), Heartbeat(0.0)
    now = run(a, b, 0.0, 20.0)
    assert a.hears_us(now)
    assert b.hears_us(now)
    assert a.rtt_s is not None
    assert abs(a.rtt_s - 0.02) < 1e-6
    assert not a.is_suspect(now)


def test_nothing_is_claimed_before_it_is_known() -> None:
    a = Heartbeat(100.0)
    assert a.hears_us(101.0) is None
    assert a.rtt_s is None
    assert not a.is_suspect(101.0)


def test_a_one_way_link_is_seen_from_the_side_that_still_hears() -> None:
    a, b = Heartbeat(0.0), Heartbeat(0.0)
    now = run(a, b, 0.0, 10.0)
    now = run(a, b, now, SUSPECT_S + 2 * PING_S, to_b=False)
    assert not a.is_suspect(now), "A still hears B"
    assert a.hears_us(now) is False, "but B says that it has not heard A"
    assert b.is_suspect(now)


def test_silence_is_suspect_and_then_gone() -> None:
    a = Heartbeat(0.0)
    assert not a.is_suspect(SUSPECT_S - 0.1)
    assert a.is_suspect(SUSPECT_S)
    assert not a.is_gone(GONE_S - 0.1)
    assert a.is_gone(GONE_S)
    a.heard(GONE_S)
    assert not a.is_suspect(GONE_S + 1)


def test_pings_come_at_their_interval_or_at_once_when_asked() -> None:
    a = Heartbeat(0.0)
    assert a.ping_due(0.0) == 1
    assert a.ping_due(0.1) is None
    assert a.next_timer() == PING_S
    a.ping_soon(1.0)
    assert a.ping_due(1.0) == 2
    assert a.ping_due(1.0 + PING_S) == 3


def test_invented_numbers_change_nothing() -> None:
    a = Heartbeat(0.0)
    a.ping_due(0.0)
    a.pong_received(99, 1.0)
    a.ping_received(7, 99, 1.0)
    assert a.rtt_s is None
    assert a.hears_us(SUSPECT_S + 1) is False


def test_loss_shows_as_pings_that_were_not_answered_in_time() -> None:
    a, b = Heartbeat(0.0), Heartbeat(0.0)
    said, now = [], 0.0
    for seconds, to_a in ((9.5, True), (3.0, True), (12.0, False), (60.0, True)):
        now = run(a, b, now, seconds, to_a=to_a)
        said.append(a.loss_percent)
    assert said[:2] == [None, 0.0]
    assert 25 <= (said[2] or 0) <= 60
    assert said[3] == 0.0


def test_a_late_answer_counts_as_loss_and_a_hurried_ping_does_not() -> None:
    a = Heartbeat(0.0)
    for round_ in range(6):
        number = a.ping_due(3.0 * round_)
        assert number is not None
        if number != 3:
            a.pong_received(number, 3.0 * round_ + 2.9)
    assert a.loss_percent == 20.0
    a.ping_soon(15.1)
    assert a.ping_due(15.1)
    assert a.loss_percent == 20.0
