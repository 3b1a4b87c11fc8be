"""A list of settings with the explanation of the one under the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Vertical

from meshconsole.console.choices import Setting, in_words, value_of
from meshconsole.console.ink import hidden
from meshconsole.console.widgets.lines import Column, Lines
from meshconsole.console.widgets.prose import Prose
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from meshconsole.console.ink import Span
    from meshconsole.console.profile import Profile
    from meshconsole.core.config import Values

Row = tuple[Setting, object]


class Form(Vertical):
    """Shows `values`; whoever owns it changes them and calls `show`."""

    DEFAULT_CSS = "Form { height: 1fr; } Form Prose { margin-top: 1; padding: 0 1; min-height: 4; }"

    def __init__(self, settings: Sequence[Setting], profile: Profile) -> None:
        super().__init__()
        self.settings = settings
        self.waiting: frozenset[str] = frozenset()
        width = max(len(setting.title) for setting in settings) + 1
        self.lines: Lines[Row] = Lines(
            [
                Column("SETTING", width, lambda row: (row[0].title, "strong")),
                Column("VALUE", 0, self._value),
                Column("", 16, self._note),
            ],
            key=lambda row: row[0].key,
            profile=profile,
        )
        self.help = Prose([])

    def compose(self) -> ComposeResult:
        yield self.lines
        yield self.help

    def show(self, values: Values, waiting: Sequence[str] = ()) -> None:
        self.waiting = frozenset(waiting)
        self.lines.replace((setting, value_of(values, setting)) for setting in self.settings)
        self._explain()

    @property
    def current(self) -> Row | None:
        return self.lines.listing.current()

    def on_lines_moved(self, event: Lines.Moved) -> None:
        event.stop()
        self._explain()

    def _explain(self) -> None:
        row = self.current
        self.help.say(row[0].help.split("\n") if row else [])

    def _value(self, row: Row) -> Span:
        """Without the names and addresses among them, while such are hidden."""
        setting, value = row
        words = in_words(setting, value)
        if isinstance(value, bool):
            return words, "good" if value else "dim"
        free = setting.kind in (str, tuple)
        return (hidden(words) if free and self.lines.hiding else safe(words)), ""

    def _note(self, row: Row) -> Span:
        return ("next start" if row[0].key in self.waiting else "", "warn")
