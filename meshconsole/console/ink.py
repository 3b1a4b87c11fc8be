"""Text with a tone, and how it becomes a line of the terminal.

The chokepoint of everything drawn: `strip` passes every text through `core.text.safe`, and never
reads markup. A tone is a meaning; the theme gives it a colour, the profile may take it away, and
so the words must say the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.strip import Strip

from meshconsole.core.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.style import Style
    from textual.widget import Widget

Tone = Literal["", "dim", "strong", "accent", "good", "warn", "bad"]
Span = tuple[str, Tone]
Line = list[Span]

TONES: tuple[Tone, ...] = ("dim", "strong", "accent", "good", "warn", "bad")


class Inks:
    """A widget's styles by tone; mix into a Widget."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*(f"ink--{tone}" for tone in TONES), "ink--cursor"}


def style_of(widget: Widget, tone: Tone) -> Style:
    base = widget.rich_style
    return base + widget.get_component_rich_style(f"ink--{tone}", partial=True) if tone else base


def strip(widget: Widget, spans: Iterable[Span], width: int, over: Style | None = None) -> Strip:
    """One line of exactly `width` cells. `over` is laid over every tone: the cursor's style."""
    segments = []
    for text, tone in spans:
        style = style_of(widget, tone)
        segments.append(Segment(safe(text), style + over if over is not None else style))
    base = widget.rich_style
    return Strip(segments).adjust_cell_length(width, base + over if over is not None else base)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """`text`, safe, in exactly `width` cells; what does not fit is cut with a "…"."""
    text = safe(text, 4 * width)
    if text.isascii() and len(text) <= width:
        return text.rjust(width) if right else text.ljust(width)
    cells = cell_len(text)
    if cells > width:
        return set_cell_size(text, max(0, width - 1)) + "…" if width > 0 else ""
    gap = " " * (width - cells)
    return gap + text if right else text + gap


def length(line: Iterable[Span]) -> int:
    """Cells."""
    return sum(cell_len(safe(text)) for text, _ in line)


def wrap(text: str, width: int) -> list[str]:
    """Words into lines of at most `width` cells; a word that is too long is broken."""
    lines: list[str] = []
    current = ""
    for word in safe(text).split(" "):
        candidate = f"{current} {word}" if current else word
        if cell_len(candidate) <= width:
            current = candidate
            continue
        if current:
            lines.append(current)
        while cell_len(word) > width > 0:
            head = set_cell_size(word, width).rstrip() or word[0]
            lines.append(head)
            word = word[len(head) :]
        current = word
    lines.append(current)
    return lines
