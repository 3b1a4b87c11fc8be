"""Text with a tone, and how it becomes a line of the terminal.

The chokepoint of everything drawn: `Inked.strip` passes every text through `core.text.safe`, and never
reads markup. A tone is a meaning; the theme gives it a colour, the profile may take it away, and
so the words must say the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from meshconsole.console.keymap import Keymap
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.style import Style
    from textual.geometry import Region

Tone = Literal["", "dim", "strong", "accent", "good", "warn", "bad"]
Span = tuple[str, Tone]
Line = list[Span]

TONES: tuple[Tone, ...] = ("dim", "strong", "accent", "good", "warn", "bad")


HIDDEN = "######"
HIDING = "-hiding"
"""The app's class while what others could read over a shoulder or in a picture is hidden."""


class Inked(Widget):
    """A widget that draws with tones.

    Textual works a widget's style out anew, from all of its ancestors, each time it is asked. Once for
    each painting is enough.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {*(f"ink--{tone}" for tone in TONES), "ink--cursor"}

    def render_lines(self, crop: Region) -> list[Strip]:
        self._inks: dict[str, Style] = {"": self.rich_style}
        return super().render_lines(crop)

    @property
    def hiding(self) -> bool:
        return self.app.has_class(HIDING)

    def key(self, action_id: str) -> str:
        """What this person presses for an action."""
        keymap = getattr(self.app, "keymap", None)
        return (keymap if isinstance(keymap, Keymap) else Keymap()).key(action_id)

    @property
    def pointer(self) -> str:
        """Before the title of what has the focus, where colours do not tell."""
        colourless = self.app.has_class("-colour-16") or self.app.has_class("-colour-mono")
        return "> " if self.has_focus and colourless else ""

    def ink(self, tone: str) -> Style:
        """The style of a tone, or of "cursor", which is laid over others."""
        if tone not in self._inks:
            partial = self.get_component_rich_style(f"ink--{tone}", partial=True)
            self._inks[tone] = partial if tone == "cursor" else self._inks[""] + partial
        return self._inks[tone]

    def blank(self, width: int) -> Strip:
        return Strip.blank(width, self.ink(""))

    def strip(self, spans: Iterable[Span], width: int, over: Style | None = None) -> Strip:
        """One line of exactly `width` cells. `over` is laid over every tone."""
        segments = []
        for text, tone in joined(spans):
            style = self.ink(tone)
            segments.append(Segment(safe(text), style + over if over is not None else style))
        base = self.ink("")
        return Strip(segments).adjust_cell_length(width, base + over if over is not None else base)


def joined(spans: Iterable[Span]) -> Line:
    """The same to see in fewer parts: each change of tone is some forty bytes to the terminal, and a blank
    looks alike in all of them."""
    line: Line = []
    for text, tone in spans:
        last, before = line[-1] if line else ("", "")
        if line and (tone == before or text.isspace()):
            line[-1] = (last + text, before)
        elif line and last.isspace():
            line[-1] = (last + text, tone)
        else:
            line.append((text, tone))
    return line


def hidden(text: str) -> str:
    """Nothing of `text`, not even how long it is."""
    return HIDDEN if text.strip() else ""


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
