"""A few lines of facts that are drawn whole, and only when they changed."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from textual.content import Content
from textual.geometry import Region

from meshconsole.console.ink import Inked, Line

if TYPE_CHECKING:
    from textual import events
    from textual.strip import Strip


class Sheet(Inked):
    """Subclasses say in `compose_lines` what fits into a size; `update` asks them again."""

    DEFAULT_CSS = "Sheet { width: 1fr; height: 1fr; }"

    def __init__(
        self,
        *,
        title: str = "",
        id: str | None = None,  # noqa: A002 - Textual's own word
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.title = title
        self._lines: list[Line] = []
        self._border = ("", "")

    def compose_lines(self, width: int, height: int) -> list[Line]:
        return self._lines

    def set_lines(self, lines: list[Line]) -> None:
        """Redraws the lines that are others now, and nothing around them."""
        before, self._lines = self._lines, lines
        pairs = enumerate(zip_longest(before, lines))
        changed = [Region(0, y, self.size.width, 1) for y, (old, new) in pairs if old != new]
        if changed:
            self.refresh(*changed)

    def update(self) -> None:
        lines = self.compose_lines(self.size.width, self.size.height)
        if lines != self._lines:
            self.set_lines(lines)

    def set_border(self, title: str, subtitle: str) -> None:
        if (title, subtitle) != self._border:
            self._border = (title, subtitle)
            # Content, not str: a str would be read as markup.
            self.border_title, self.border_subtitle = Content(self.pointer + title), Content(subtitle)

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        if self._border[0]:
            self.border_title = Content(self.pointer + self._border[0])

    def on_mount(self) -> None:
        if self.title:
            self.set_border(self.title, "")

    def on_resize(self, _: events.Resize) -> None:
        self.update()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y >= len(self._lines):
            return self.blank(width)
        return self.strip(self._lines[y], width)
