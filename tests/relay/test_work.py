"""NIP-13: bits are counted, not digits, and a commitment is a promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.core.sections import RelaySection
from meshconsole.relay.judging import judge_event
from meshconsole.relay.policy import Client, House
from meshconsole.relay.work import committed_target, difficulty
from tests.relay.making import NOW, Public, unsigned

if TYPE_CHECKING:
    from meshconsole.core.event import Event, Tags


@pytest.mark.parametrize(
    ("event_id", "bits"),
    [
        ("f" * 64, 0),
        ("7" + "f" * 63, 1),
        ("1" + "0" * 63, 3),
        ("0" + "8" + "0" * 62, 4),
        ("002f" + "0" * 60, 10),  # the example of NIP-13
        ("000000000e9d97a1ab09fc381030b346cdd7a142ad57e6df0b46dc9bef6c7e2d", 36),
        ("0" * 64, 256),
    ],
)
def test_bits_are_counted(event_id: str, bits: int) -> None:
    assert difficulty(event_id) == bits


@pytest.mark.parametrize(
    ("tags", "target"),
    [
        ((), None),
        ((("nonce", "1"),), None),
        ((("nonce", "1", "21"),), 21),
        ((("nonce", "1", "-1"),), None),
        ((("nonce", "1", "²"),), None),
        ((("nonce", "1", "9" * 5000),), None),
        ((("nonce",), ("nonce", "1", "2")), None),
        ((("t", "1", "2"), ("nonce", "", "0")), 0),
    ],
)
def test_the_committed_target_is_the_third_entry(tags: Tags, target: int | None) -> None:
    assert committed_target(unsigned(tags=tags)) == target


def mined(bits: int, target: str | None) -> Event:
    """An event with exactly that difficulty."""
    for attempt in range(100_000):
        commitment = () if target is None else (target,)
        event = unsigned(tags=(("nonce", str(attempt), *commitment),))
        if difficulty(event.id) == bits:
            return event
    raise AssertionError("no luck")


@pytest.mark.parametrize(
    ("bits", "target", "code"),
    [
        (6, "6", ""),
        (9, "6", ""),
        (6, None, ""),
        (6, "20", ""),
        (5, "6", "pow"),
        (0, None, "pow"),
        (7, "5", "pow"),  # luck is no work
    ],
)
def test_too_little_work_is_refused(bits: int, target: str | None, code: str) -> None:
    client = Client(House(Public(), RelaySection(min_pow_difficulty=6)))
    event = mined(bits, target)
    assert judge_event(event, client, NOW).code == code
    assert judge_event(event, Client(client.house, trusted=True), NOW).accepted, "history is not mined again"
    assert judge_event(event, Client(House(Public())), NOW).accepted


def test_a_refusal_tells_how_much_is_needed() -> None:
    client = Client(House(Public(), RelaySection(min_pow_difficulty=6)))
    assert (
        judge_event(mined(2, None), client, NOW).message
        == "pow: too little work: difficulty 2 is less than 6"
    )
