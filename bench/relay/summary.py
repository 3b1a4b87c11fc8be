"""Medians over rounds, ratios within rounds, and what the figures are held against. Pure.

A ratio is taken between two relays in the same round and then the median over the rounds: what else the
machine does in that minute weighs on both.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Metrics = dict[str, float]
"""Values of one relay in one round, by name."""


def median(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else math.nan


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of all lie (nearest rank)."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def medians(rounds: Sequence[Metrics]) -> Metrics:
    names = dict.fromkeys(name for metrics in rounds for name in metrics)
    return {name: median([metrics[name] for metrics in rounds if name in metrics]) for name in names}


def ratio(name: str, ours: Sequence[Metrics], theirs: Sequence[Metrics]) -> float:
    """Ours to theirs; NaN where they never met."""
    return median(
        [
            mine[name] / other[name]
            for mine, other in zip(ours, theirs, strict=True)
            if other.get(name) and name in mine
        ]
    )


class Goal(NamedTuple):
    metric: str
    bound: float
    least: bool = True
    """Whether the bound is the least that is wanted, or the most."""
    modes: tuple[str, ...] = ("saver", "balanced", "full")
    beside: str = ""
    """A relay whose value is 1, or nothing: then the value itself counts."""

    def is_met(self, value: float) -> bool:
        return value >= self.bound if self.least else value <= self.bound


GOALS = (
    Goal("ingest", 1.0, beside="strfry", modes=("balanced",)),
    Goal("ingest", 1.2, beside="strfry", modes=("full",)),
    Goal("CPU per event", 0.9, least=False, beside="strfry", modes=("balanced", "full")),
    Goal("ingest beside 500 idle, to without", 0.9),
    Goal("REQ mix", 1.8, beside="strfry"),
    Goal("wrong answers", 0, least=False),
    Goal("fan-out to 100", 2.4, beside="strfry"),
    Goal("fan-out to 500", 2.8, beside="strfry"),
    Goal("live to 100, p50", 5, least=False),
    Goal("live to 100, p99", 10, least=False),
    Goal("durable OK, p50", 0.5, least=False, beside="strfry"),
    Goal("slowest class, grown", 1.5, least=False),
    Goal("RSS idle", 40, least=False),
    Goal("RSS loaded", 70, least=False, modes=("balanced", "full")),
    Goal("RSS loaded", 50, least=False, modes=("saver",)),
    Goal("ingest", 20, beside="nostr-relay"),
    Goal("REQ mix", 6, beside="nostr-relay"),
)
"""For `meshconsole`, in the modes named. Times in ms, memory in MB."""


class Judged(NamedTuple):
    goal: Goal
    value: float

    def __str__(self) -> str:
        goal = self.goal
        sign = ">=" if goal.least else "<="
        what = f"{goal.metric}, to {goal.beside}" if goal.beside else goal.metric
        verdict = "met" if goal.is_met(self.value) else "NOT met"
        return f"  {what:<46} {self.value:>10,.2f}   {sign} {goal.bound:g}   {verdict}"


def judge(mode: str, ours: Sequence[Metrics], others: Mapping[str, Sequence[Metrics]]) -> list[Judged]:
    """Every goal that this mode has and that was measured."""
    own = medians(ours)
    judged = []
    for goal in GOALS:
        if mode not in goal.modes:
            continue
        if goal.beside:
            value = ratio(goal.metric, ours, others[goal.beside]) if goal.beside in others else math.nan
        else:
            value = own.get(goal.metric, math.nan)
        if not math.isnan(value):
            judged.append(Judged(goal, value))
    return judged


def table(names: Sequence[str], rounds: Mapping[str, Sequence[Metrics]], units: Mapping[str, str]) -> str:
    """One line per metric: each relay's median, and the first one's ratio to each of the others."""
    first, *others = names
    all_medians = {name: medians(rounds[name]) for name in names}
    lines = [f"  {'':<40}" + "".join(f"{name[:20]:>21}" for name in names)]
    lines[0] += "".join(f"{'to ' + name[:16]:>20}" for name in others)
    metrics = dict.fromkeys(metric for name in names for metric in all_medians[name])
    for metric in metrics:
        label = f"{metric} ({units[metric]})" if units.get(metric) else metric
        line = f"  {label:<40}" + "".join(f"{_number(all_medians[name].get(metric)):>21}" for name in names)
        for name in others:
            compared = ratio(metric, rounds[first], rounds[name])
            line += f"{'' if math.isnan(compared) else f'{compared:.2f}x':>20}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.1f}" if abs(value) >= 10 else f"{value:.2f}"
