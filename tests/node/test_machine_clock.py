"""What the kernel says of the clock, read from its own structure."""

from __future__ import annotations

import pytest

from meshconsole.core.status import CLOCK_QUALITIES, ClockQuality
from meshconsole.node import machine_clock
from meshconsole.node.machine_clock import MachineClock


def test_this_machine_has_a_clock_of_some_quality() -> None:
    assert MachineClock().quality() in CLOCK_QUALITIES


@pytest.mark.parametrize(("status", "quality"), [(0x0001, "ntp"), (0x2101, "gps"), (0x0000, "ntp")])
def test_who_keeps_it_is_in_the_status(
    status: int, quality: ClockQuality, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_clock, "_kernel_status", lambda: status)
    assert MachineClock().quality() == quality


def test_a_clock_that_nobody_keeps_or_that_cannot_be_asked_is_at_best_a_battery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for status in (0x0040, None):
        monkeypatch.setattr(machine_clock, "_kernel_status", lambda status=status: status)
        assert MachineClock().quality() in ("none", "device")


def test_the_kernel_is_asked_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def status() -> int:
        asked.append(1)
        return 0

    monkeypatch.setattr(machine_clock, "_kernel_status", status)
    clock = MachineClock()
    assert [clock.quality() for _ in range(5)] == ["ntp"] * 5
    assert len(asked) == 1
