"""A sparkline: the recent past of one number in one line. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def spark(values: Iterable[float], width: int, steps: str) -> str:
    """The newest `width` values, the newest at the right, scaled to the largest among them."""
    shown = list(values)[-width:] if width > 0 else []
    top = max(shown, default=0.0)
    if top <= 0:
        return (steps[0] * len(shown)).rjust(width)
    last = len(steps) - 1
    # A value above nothing is drawn above nothing.
    signs = (steps[max(1, round(value / top * last)) if value > 0 else 0] for value in shown)
    return "".join(signs).rjust(width)
