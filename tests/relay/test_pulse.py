from __future__ import annotations

from typing import Any

from meshconsole.core.sections import LimitsSection
from meshconsole.core.verdict import Verdict
from meshconsole.relay.pulse import PING, Pulse, Signs

LIMITS = LimitsSection(idle_timeout_s=600, ping_interval_s=20, ping_timeout_s=60, write_timeout_s=30)
QUIET = Signs(bytes_in=100, messages=1, drained=0, owes=False, is_held=False, is_busy=True)


def look(pulse: Pulse, now: float, limits: LimitsSection = LIMITS, **signs: Any) -> str | None:  # noqa: ANN401
    seen = pulse.look(QUIET._replace(**signs), limits, now)
    return seen.message if isinstance(seen, Verdict) else seen


def test_a_silent_client_is_pinged_once_and_then_let_go() -> None:
    pulse = Pulse(0)
    assert look(pulse, 0) is None
    assert look(pulse, 19) is None
    assert look(pulse, 20) == PING
    assert look(pulse, 79) is None
    assert look(pulse, 80) == "error: no answer to a ping for 60 s"


def test_whatever_is_heard_is_a_sign_of_life() -> None:
    pulse = Pulse(0)
    look(pulse, 0)
    assert look(pulse, 20) == PING
    assert look(pulse, 79, bytes_in=106) is None
    assert look(pulse, 80, bytes_in=106) is None
    assert look(pulse, 99, bytes_in=106) == PING


def test_one_that_is_not_read_cannot_be_heard() -> None:
    """A client that waits for bandwidth is not read, so its pongs are late."""
    pulse = Pulse(0)
    assert look(pulse, 0) is None
    assert [look(pulse, now, is_held=True) for now in (50, 100, 500, 5000)] == [None] * 4
    assert look(pulse, 5010) is None
    assert look(pulse, 5020) == PING


def test_idle_means_no_subscription_and_no_message() -> None:
    pulse = Pulse(0)
    look(pulse, 0, is_busy=False)
    for now in range(10, 600, 10):
        assert look(pulse, now, is_busy=False, bytes_in=100 + now) is None
    assert look(pulse, 600, is_busy=False, bytes_in=1) == (
        "error: idle: no subscription and no message for 600 s"
    )


def test_messages_and_subscriptions_keep_a_client() -> None:
    pulse = Pulse(0)
    look(pulse, 0, is_busy=False)
    look(pulse, 500, is_busy=False, messages=2, bytes_in=101)
    assert look(pulse, 1000, is_busy=False, messages=2, bytes_in=102) is None
    look(pulse, 1050, is_busy=True, messages=2, bytes_in=103)
    assert look(pulse, 1600, is_busy=False, messages=2, bytes_in=104) is None
    assert look(pulse, 1650, is_busy=False, messages=2, bytes_in=105) is not None


def test_one_that_takes_nothing_is_let_go() -> None:
    pulse = Pulse(0)
    look(pulse, 0)
    assert look(pulse, 10, owes=True, bytes_in=1) is None
    assert pulse.owing_for(15) == 15
    assert look(pulse, 29, owes=True, bytes_in=2) is None
    assert look(pulse, 30, owes=True, bytes_in=3) == "error: too slow: nothing was read for 30 s"


def test_one_that_catches_up_now_and_then_may_stay() -> None:
    pulse = Pulse(0)
    for number in range(20):
        assert look(pulse, number * 29, owes=True, drained=number, bytes_in=number) is None
    assert look(pulse, 19 * 29 + 30, owes=False, drained=19, bytes_in=99) is None
    assert look(pulse, 19 * 29 + 59, owes=True, drained=19, bytes_in=100) is None


def test_every_limit_can_be_switched_off() -> None:
    pulse = Pulse(0)
    never = LimitsSection(idle_timeout_s=0, ping_interval_s=0, write_timeout_s=0)
    assert look(pulse, 0, never) is None
    assert look(pulse, 1e6, never, owes=True, is_busy=False) is None
