"""A figure: what was measured, in which unit, and how it compares with something bare."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Figure(msgspec.Struct, frozen=True):
    name: str
    value: float
    unit: str
    note: str = ""

    def __str__(self) -> str:
        digits = 0 if abs(self.value) >= 100 else 1 if abs(self.value) >= 10 else 2
        return f"  {self.name:<46} {self.value:>10,.{digits}f} {self.unit:<9} {self.note}".rstrip()


def ratio(name: str, value: float, base: float, note: str) -> Figure:
    return Figure(name, value / base if base else 0.0, "x", note)


def percentiles(name: str, seconds: Sequence[float]) -> list[Figure]:
    """Median and 95th percentile of durations, in milliseconds."""
    ordered = sorted(seconds)
    worst = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return [
        Figure(f"{name}, median", statistics.median(ordered) * 1000, "ms", f"{len(ordered)} samples"),
        Figure(f"{name}, 95th percentile", worst * 1000, "ms"),
    ]


def as_json(groups: Iterable[tuple[str, list[Figure]]]) -> str:
    return json.dumps({name: msgspec.to_builtins(figures) for name, figures in groups}, indent=1)
