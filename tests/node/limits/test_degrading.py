"""Under pressure: the published order, nothing flaps, and what was given up comes back by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.node.limits.degrading import AFTER_S, CAUSES, EASE_S, RELIEF, STEPS, Degrading, Pressure

if TYPE_CHECKING:
    from collections.abc import Iterable

TICK_S = 2.0


def run(degrading: Degrading, values: Iterable[float], pressure: Pressure, start: float = 0.0) -> list[str]:
    """What happens when the pressure takes these values, one each tick."""
    return [
        f"{'+' if change.began else '-'}{change.degraded.step.name}"
        for at, value in enumerate(values)
        for change in degrading.look({pressure: value}, start + TICK_S * at)
    ]


def test_memory_gives_up_in_the_published_order_and_takes_back_from_the_other_end() -> None:
    degrading = Degrading()
    rising = [0.70 + 0.005 * at for at in range(80)]
    order = ["copies-wait", "caches-small", "clients-refused", "frames-slowed", "links-refused"]
    assert run(degrading, rising, "memory") == [f"+{name}" for name in order]
    assert [one.step.name for one in degrading.standing()] == order
    falling = run(degrading, reversed(rising), "memory", start=1000.0)
    falling += run(degrading, [0.0] * 20, "memory", start=2000.0)
    assert falling == [f"-{name}" for name in reversed(order)]
    assert not degrading.standing()


@pytest.mark.parametrize("pressure", [name for name in AFTER_S if AFTER_S[name]])
def test_a_short_peak_gives_up_nothing(pressure: Pressure) -> None:
    ticks = int(AFTER_S[pressure] / TICK_S)
    assert not run(Degrading(), ([2.0] * ticks + [0.0]) * 5, pressure)
    assert run(Degrading(), [2.0] * (ticks + 1), pressure)


def test_what_swings_around_the_mark_does_not_flap() -> None:
    degrading, mark = Degrading(), STEPS[-1].marks["storage"]
    assert run(degrading, [mark, mark - RELIEF / 2] * 100, "storage") == ["+copies-wait", "+writes-refused"]


def test_relief_must_last() -> None:
    degrading, ticks = Degrading(), int(EASE_S / TICK_S)
    run(degrading, [1.0], "connections")
    assert not run(degrading, ([0.0] * ticks + [1.0]) * 3, "connections", start=10.0)
    assert run(degrading, [0.0] * (ticks + 1), "connections", start=500.0) == ["-links-refused"]


def test_the_words_name_step_and_cause() -> None:
    degrading = Degrading()
    run(degrading, [1.0], "connections")
    [standing] = degrading.standing()
    assert standing.words == f"links and connections beyond the limits are refused: {CAUSES['connections']}"
    assert "links-refused" in degrading
    assert "copies-wait" not in degrading


@given(st.lists(st.tuples(st.sampled_from(list(AFTER_S)), st.floats(0, 3)), max_size=200))
def test_each_step_begins_and_ends_by_turns(said: list[tuple[Pressure, float]]) -> None:
    degrading = Degrading()
    begun: set[str] = set()
    for at, (pressure, value) in enumerate(said):
        for change in degrading.look({pressure: value}, 3.0 * at):
            name = change.degraded.step.name
            assert change.began == (name not in begun)
            (begun.add if change.began else begun.remove)(name)
        assert begun == {one.step.name for one in degrading.standing()}
