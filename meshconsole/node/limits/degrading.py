"""What the node gives up under pressure, step by step, and takes back by itself. Pure; time is an argument.

Laws:
- The order is published and the same for every pressure: what people miss least goes first.
- A step begins when its pressure has been above the mark for AFTER_S or the step's own time, and ends when
  it has been below the mark by RELIEF for EASE_S without a break, so that nothing flaps.
- A step that stands has a name and a cause. What is refused for it is told to whoever asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

Pressure = Literal["storage", "memory", "processor", "connections"]
"""Each as a share of what is allowed; 0 where there is no limit."""

StepName = Literal[
    "copies-wait", "caches-small", "clients-refused", "frames-slowed", "links-refused", "writes-refused"
]

AFTER_S: dict[Pressure, float] = {"storage": 0.0, "memory": 0.0, "processor": 20.0, "connections": 0.0}
EASE_S = 20.0
RELIEF = 0.05


class Step(msgspec.Struct, frozen=True):
    name: StepName
    words: str
    marks: Mapping[Pressure, float]
    after_s: Mapping[Pressure, float] = msgspec.field(default_factory=dict)
    """Where it is not AFTER_S: what costs the team more waits longer."""


STEPS: tuple[Step, ...] = (
    Step(
        "copies-wait", "no new copies of files for others", {"storage": 0.95, "memory": 0.8, "processor": 0.9}
    ),
    Step("caches-small", "as in saver mode: small caches, so that questions take longer", {"memory": 0.85}),
    Step("clients-refused", "no new Nostr clients", {"memory": 0.9}),
    Step("frames-slowed", "consoles are drawn once a second", {"memory": 0.95, "processor": 0.95}),
    Step(
        "links-refused",
        "links and connections beyond the limits are refused",
        {"memory": 1.0, "connections": 1.0},
        {"memory": 4.0},
    ),
    Step("writes-refused", "what finds no room is refused", {"storage": 1.0}),
)
"""In the order in which they are given up."""


def mark(name: StepName, pressure: Pressure) -> float:
    """From which pressure on the step holds."""
    return next(step.marks[pressure] for step in STEPS if step.name == name)


CAUSES: dict[Pressure, str] = {
    "storage": "limits.max_storage_mb or the disk is nearly full",
    "memory": "the memory that it may use is nearly used",
    "processor": "the processor has no time left",
    "connections": "limits.max_connections is reached",
}


class Degraded(msgspec.Struct, frozen=True):
    step: Step
    pressure: Pressure

    @property
    def words(self) -> str:
        return f"{self.step.words}: {CAUSES[self.pressure]}"


class Change(msgspec.Struct, frozen=True):
    """`began` False: the pressure is over."""

    degraded: Degraded
    began: bool


class Degrading(msgspec.Struct):
    _over: dict[tuple[StepName, Pressure], float] = msgspec.field(default_factory=dict)
    """Since when a pressure is above the mark of a step that has not begun."""
    _eased: dict[StepName, float] = msgspec.field(default_factory=dict)
    """Since when nothing keeps a step that stands."""
    _standing: dict[StepName, Degraded] = msgspec.field(default_factory=dict)

    def look(self, pressures: Mapping[Pressure, float], now: float) -> list[Change]:
        """What has changed. `now` is monotonic."""
        changes = []
        for step in STEPS:
            change = self._look_at(step, pressures, now)
            if change is not None:
                changes.append(change)
        return changes

    def standing(self) -> tuple[Degraded, ...]:
        """In the published order."""
        return tuple(self._standing[step.name] for step in STEPS if step.name in self._standing)

    def __contains__(self, name: StepName) -> bool:
        return name in self._standing

    def _look_at(self, step: Step, pressures: Mapping[Pressure, float], now: float) -> Change | None:
        stands = self._standing.get(step.name)
        if stands is None:
            return self._begin(step, pressures, now)
        if any(pressures.get(name, 0.0) >= mark - RELIEF for name, mark in step.marks.items()):
            self._eased.pop(step.name, None)
            return None
        if now - self._eased.setdefault(step.name, now) < EASE_S:
            return None
        del self._standing[step.name], self._eased[step.name]
        return Change(stands, began=False)

    def _begin(self, step: Step, pressures: Mapping[Pressure, float], now: float) -> Change | None:
        for name, mark in step.marks.items():
            if pressures.get(name, 0.0) < mark:
                self._over.pop((step.name, name), None)
            elif now - self._over.setdefault((step.name, name), now) >= step.after_s.get(name, AFTER_S[name]):
                self._standing[step.name] = degraded = Degraded(step, name)
                self._over = {key: since for key, since in self._over.items() if key[0] != step.name}
                return Change(degraded, began=True)
        return None
