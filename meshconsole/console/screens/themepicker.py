"""Picking a theme: the one under the cursor is shown at once, on everything. Esc brings the old one back."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from meshconsole.console.screens.dialog import MOVES, Dialog
from meshconsole.console.shell import Shell
from meshconsole.console.widgets.lines import Column, Lines
from meshconsole.console.widgets.sheet import Sheet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from meshconsole.console.ink import Line
    from meshconsole.console.profile import Profile
    from meshconsole.console.themes import Theme

SAMPLES: list[Line] = [
    [("what people wrote  ", ""), ("a name  ", "strong"), ("something to look at  ", "accent")],
    [("up, stored  ", "good"), ("suspect, degraded  ", "warn"), ("down, refused  ", "bad"), ("aside", "dim")],
]


class ThemePicker(Dialog[str | None]):
    """Answers with a theme's name: "keep NAME" if it shall be this home's from now on, or None."""

    hint = "Enter: this console; s: saves it; Esc leaves"

    BINDINGS: ClassVar[list[BindingType]] = [
        *MOVES,
        Binding("enter,space", "choose", show=False),
        Binding("s", "keep", show=False),
    ]

    def __init__(self, themes: Sequence[Theme], now: str, profile: Profile) -> None:
        super().__init__("Theme")
        self.themes = themes
        self.before = now
        self.profile = profile

    def compose_body(self) -> ComposeResult:
        self.lines: Lines[Theme] = Lines(
            [
                Column("", 20, lambda theme: (theme.name, "strong")),
                Column("", 0, lambda theme: (theme.title, "")),
                Column("", 5, lambda theme: ("dark" if theme.dark else "light", "dim"), rank=1),
            ],
            key=lambda theme: theme.name,
            profile=self.profile,
            header=False,
        )
        self.lines.replace(self.themes)
        self.lines.styles.height = min(len(self.themes), 8)
        yield self.lines
        sample = Sheet(classes="sample")
        sample.set_lines(SAMPLES)
        yield sample

    def on_mount(self) -> None:
        names = [theme.name for theme in self.themes]
        self.lines.listing.to(names.index(self.before) if self.before in names else 0)
        self.lines.focus()

    def on_lines_moved(self) -> None:
        self._use(self._chosen)

    def on_lines_chosen(self) -> None:
        self.action_choose()

    def action_choose(self) -> None:
        self.dismiss(self._chosen)

    def action_keep(self) -> None:
        self.dismiss(f"keep {self._chosen}")

    def action_leave(self) -> None:
        self._use(self.before)
        self.dismiss(None)

    @property
    def _chosen(self) -> str:
        current = self.lines.listing.current()
        return current.name if current is not None else self.before

    def _use(self, name: str) -> None:
        if isinstance(self.app, Shell):
            self.app.use_theme(name)
