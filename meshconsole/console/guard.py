# ruff: noqa: RUF001 - the signs that look like ASCII are the point
"""The last gate before the terminal: no control character passes, and in ASCII nothing else does.

`ink` makes text safe where it is drawn; this filter sees every line of every widget, also of those
that are not ours, so that one forgotten call cannot reach the terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.segment import Segment
from textual.filter import LineFilter

from meshconsole.core.text import safe

if TYPE_CHECKING:
    from textual.color import Color

    from meshconsole.console.profile import GlyphSet

_ASCII = str.maketrans(
    {
        **dict.fromkeys("─━═╌", "-"),
        **dict.fromkeys("│┃║", "|"),
        **dict.fromkeys("┌┐└┘╭╮╰╯├┤┬┴┼╔╗╚╝", "+"),
        **dict.fromkeys("█▇▆▅▄▃▂▁▀▌▐▊▉▋▍▎▏■", "#"),
        **dict.fromkeys("•●", "*"),
        **dict.fromkeys("·–—", "-"),
        **dict.fromkeys("‘’", "'"),
        **dict.fromkeys("“”„", '"'),
        "…": "~",
        "×": "x",
        "○": "o",
        "›": ">",
        "→": ">",
        "←": "<",
        "↑": "^",
        "↓": "v",
        "\N{REPLACEMENT CHARACTER}": "?",
        "\N{NO-BREAK SPACE}": " ",
    }
)


class Guard(LineFilter):
    def __init__(self, glyph_set: GlyphSet) -> None:
        super().__init__()
        self.only_ascii = glyph_set == "ascii"

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            segment
            if segment.control or (segment.text.isascii() and segment.text.isprintable())
            else Segment(self.clean(segment.text), segment.style)
            for segment in segments
        ]

    def clean(self, text: str) -> str:
        text = safe(text)
        if not self.only_ascii:
            return text
        text = text.translate(_ASCII)
        # As wide as what it stands for, or the line would shift.
        return text if text.isascii() else "".join(c if c.isascii() else "?" * cell_len(c) for c in text)
