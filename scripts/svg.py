"""A screen of the console as an SVG picture: its cells, with the colours that Textual gave them.

One run of cells is one text of a stated length, so that columns stay where they are whatever font shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from rich.cells import cell_len
from rich.style import Style

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.segment import Segment

FONT = "DejaVu Sans Mono"
FONT_SIZE = 20
# The font's advance and line height, so that lines of box characters meet.
CELL_WIDTH, CELL_HEIGHT, BASELINE = FONT_SIZE * 0.602, FONT_SIZE * 1.164, FONT_SIZE * 0.928
MARGIN = 14


def draw(lines: Sequence[Iterable[Segment]], columns: int, background: str, *, title: str) -> str:
    """`background`: the colour that is not drawn again behind each cell."""
    width, height = columns * CELL_WIDTH + 2 * MARGIN, len(lines) * CELL_HEIGHT + 2 * MARGIN
    shapes, texts = [], []
    for y, line in enumerate(lines):
        for x, cells, text, style in _runs(line):
            left, top = MARGIN + x * CELL_WIDTH, MARGIN + y * CELL_HEIGHT
            ink, paper = _colours(style)
            if paper and paper != background:
                size = f'width="{cells * CELL_WIDTH + 0.3:.2f}" height="{CELL_HEIGHT + 0.3:.2f}"'
                shapes.append(f'<rect x="{left:.2f}" y="{top:.2f}" {size} fill="{paper}"/>')
            if text.strip():
                weight = ' font-weight="bold"' if style.bold else ""
                faint = ' opacity="0.6"' if style.dim else ""
                long = f' textLength="{cells * CELL_WIDTH:.2f}"' if cells > 1 else ""
                place = f'x="{left:.2f}" y="{top + BASELINE:.2f}"{long} fill="{ink}"'
                texts.append(f"<text {place}{weight}{faint}>{escape(text)}</text>")
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}"'
        f' width="{width:.0f}" height="{height:.0f}" font-family="{FONT}, monospace"'
        f' font-size="{FONT_SIZE}" xml:space="preserve">'
    )
    frame = f'<rect width="100%" height="100%" rx="10" fill="{background}"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>", frame, *shapes, *texts, "</svg>\n"])


def _runs(line: Iterable[Segment]) -> Iterator[tuple[int, int, str, Style]]:
    """Column, cells, text and style of neighbours that look alike."""
    x, run, look = 0, "", Style()
    start = 0
    for text, style, control in line:
        if control:
            continue
        style = style or Style()
        if style != look and run:
            yield start, cell_len(run), run, look
            start, run = x, ""
        look, run = style, run + text
        x += cell_len(text)
    if run:
        yield start, cell_len(run), run, look


def _colours(style: Style) -> tuple[str, str]:
    ink = style.color.get_truecolor().hex if style.color else "#dddddd"
    paper = style.bgcolor.get_truecolor().hex if style.bgcolor else ""
    return (paper or "#000000", ink) if style.reverse else (ink, paper)
