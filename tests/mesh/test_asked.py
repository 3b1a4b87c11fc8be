"""Who else is asked for an event, and when: not while the first that was asked still sends."""

from __future__ import annotations

from meshconsole.mesh.asked import ASKED_S, LIMIT, LONGEST_S, Asked, Progress

ONE = b"\x01" * 32


def test_another_is_asked_when_the_first_has_sent_nothing_for_a_while() -> None:
    asked, first, other = Asked(), Progress(), Progress()
    assert asked.claim(ONE, 10.0, first)
    assert not asked.claim(ONE, 10.0 + ASKED_S - 0.1, other)
    assert asked.claim(ONE, 10.0 + ASKED_S, other)
    assert not asked.claim(ONE, 10.0 + ASKED_S, first)


def test_nobody_else_is_asked_while_the_first_still_sends_but_not_for_ever() -> None:
    asked, first, other = Asked(), Progress(), Progress()
    assert asked.claim(ONE, 10.0, first)
    now = 10.0
    while now + 1.0 < 10.0 + LONGEST_S:
        now += 1.0
        first.at = now
        other.at = now
        assert not asked.claim(ONE, now, other)
    assert asked.claim(ONE, 10.0 + LONGEST_S, other)


def test_what_was_released_is_asked_for_at_once_and_the_oldest_are_forgotten() -> None:
    asked, first, other = Asked(), Progress(), Progress()
    assert asked.claim(ONE, 10.0, first)
    asked.release([ONE])
    assert asked.claim(ONE, 10.0, other)
    for number in range(LIMIT):
        asked.claim(number.to_bytes(32, "big"), 10.0, first)
    assert asked.claim(ONE, 10.0, first)
