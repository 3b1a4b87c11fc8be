"""A meter: how much of an allowance is used, as a bar, a number and a word. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshconsole.console.ink import Line, Tone
    from meshconsole.console.profile import Glyphs

HIGH, FULL = 0.75, 0.90
SHORTEST_BAR = 4


@dataclass(frozen=True, slots=True)
class Meter:
    """`tail` is the use in numbers. An allowance of 0 is unlimited."""

    label: str
    used: float
    allowed: float
    tail: str


def level(used: float, allowed: float) -> tuple[str, Tone]:
    """The word and tone for a use."""
    if allowed <= 0:
        return "no limit", "dim"
    share = used / allowed
    if share >= 1:
        return "full", "bad"
    if share >= FULL:
        return "nearly full", "bad"
    return ("high", "warn") if share >= HIGH else ("ok", "good")


def draw_meters(meters: Sequence[Meter], width: int, glyphs: Glyphs) -> list[Line]:
    """One line of `width` cells each, their bars aligned; the words are there when they matter."""
    tails = [_tail(meter) for meter in meters]
    label_width = max(len(meter.label) for meter in meters)
    bar_width = width - label_width - max(map(len, tails)) - 2
    return [
        _draw(meter, tail, label_width, bar_width, width, glyphs)
        for meter, tail in zip(meters, tails, strict=True)
    ]


def _tail(meter: Meter) -> str:
    word, _ = level(meter.used, meter.allowed)
    return meter.tail if word in ("ok", "no limit") else f"{meter.tail} {word}"


def _draw(meter: Meter, tail: str, label_width: int, bar_width: int, width: int, glyphs: Glyphs) -> Line:
    _, tone = level(meter.used, meter.allowed)
    label = meter.label.ljust(label_width)
    if bar_width < SHORTEST_BAR:
        return [(f"{label} ", "dim"), (tail, "" if tone in ("good", "dim") else tone)]
    line: Line = [(f"{label} ", "dim")]
    if meter.allowed <= 0:
        line.append((" " * bar_width, ""))
    else:
        full = _cells(meter.used / meter.allowed, bar_width)
        line += [(glyphs.bar * full, tone), (glyphs.rest * (bar_width - full), "dim")]
    rest = width - label_width - bar_width - 2
    return [*line, (f" {tail:>{rest}}", "" if tone in ("good", "dim") else tone)]


def _cells(share: float, width: int) -> int:
    """Something is never drawn as nothing, nor nearly all as all."""
    if share <= 0:
        return 0
    return width if share >= 1 else min(max(1, round(share * width)), width - 1)
