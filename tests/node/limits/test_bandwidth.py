"""Bandwidth as the owner allows it: together, and for each link and client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.node.limits import bandwidth
from meshconsole.node.limits.bandwidth import Bandwidth

if TYPE_CHECKING:
    from meshconsole.node.limits.bandwidth import OneBandwidth

KILOBYTE_MBPS = 0.008
"""A thousand bytes a second."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time passes by sleeping alone."""
    now = [0.0]

    async def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(bandwidth, "time", type("", (), {"monotonic": lambda: now[0]}))
    monkeypatch.setattr(bandwidth, "asyncio", type("", (), {"sleep": sleep}))
    return now


def test_what_may_pass_at_once_is_taken_and_counted_and_nothing_else() -> None:
    together = Bandwidth(0.001)  # 125 bytes a second
    for meter in (together, together.of_one()):
        assert meter.try_in(1000) == (meter is together)
        assert not meter.try_in(1)
        assert meter.try_out(2000) == (meter is together)
        assert not meter.try_out(1)
    assert (together.bytes_in, together.bytes_out) == (1000, 2000)


async def pass_all(meter: Bandwidth | OneBandwidth, count: int) -> None:
    for _ in range(count // 100):
        await meter.wait_out(100)
        await meter.wait_in(100)


@pytest.mark.parametrize(
    ("all_mbps", "one_mbps", "seconds"),
    [
        (0, 0, 0.0),
        (KILOBYTE_MBPS, 0, 100.0),
        (0, KILOBYTE_MBPS, 50.0),
        (4 * KILOBYTE_MBPS, KILOBYTE_MBPS, 50.0),
    ],
)
async def test_two_that_take_turns(
    all_mbps: float, one_mbps: float, seconds: float, clock: list[float]
) -> None:
    together = Bandwidth(all_mbps, one_mbps)
    one, other = together.of_one(), together.of_one()
    for _ in range(500):
        await pass_all(one, 100)
        await pass_all(other, 100)
    assert clock[0] == pytest.approx(seconds, abs=1.0)
    assert (together.bytes_in, together.bytes_out) == (100_000, 100_000)


async def test_a_limit_changes_for_what_is_open(clock: list[float]) -> None:
    together = Bandwidth(0)
    one = together.of_one()
    await pass_all(one, 10_000)
    assert clock[0] == 0
    together.set_limits(0, KILOBYTE_MBPS)
    assert one.try_out(1000)
    assert not one.try_out(1)
    assert together.of_one().try_out(1000), "another one's is untouched"
    await pass_all(one, 10_000)
    assert clock[0] == pytest.approx(11.0, abs=1.0)
    together.set_limits(0, 0)
    await pass_all(one, 1_000_000)
    assert clock[0] == pytest.approx(11.0, abs=1.0)
