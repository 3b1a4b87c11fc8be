"""What a terminal that is too small shows instead of a broken layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.screen import Screen

from meshconsole.console.ink import wrap
from meshconsole.console.profile import too_small
from meshconsole.console.widgets.sheet import Sheet

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from meshconsole.console.ink import Line


class _Sentence(Sheet):
    def compose_lines(self, width: int, height: int) -> list[Line]:
        size = self.app.size
        return [[(line, "")] for line in wrap(too_small(size.width, size.height), max(1, width))]


class TooSmall(Screen[None]):
    BINDINGS = [("ctrl+q,q", "app.leave_small", "Leave")]  # noqa: RUF012 - Textual's own declaration

    def compose(self) -> ComposeResult:
        yield _Sentence()
