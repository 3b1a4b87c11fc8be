"""The palette: every action, found by typing a part of its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from meshconsole.console.actions import Action, key_in_words
from meshconsole.console.screens.dialog import Dialog
from meshconsole.console.widgets.entry import Entry
from meshconsole.console.widgets.lines import Column, Lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult
    from textual.widgets import Input

    from meshconsole.console.profile import Profile


class Palette(Dialog[str | None]):
    """Answers with the id of an action, or None."""

    hint = "Enter does it, Esc leaves"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,ctrl+n", "move(1)", show=False),
        Binding("up,ctrl+p", "move(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
    ]

    def __init__(self, actions: Sequence[Action], profile: Profile) -> None:
        super().__init__("All actions")
        self.actions = actions
        self.profile = profile
        self.add_class("-large")

    def compose_body(self) -> ComposeResult:
        yield Entry(placeholder="what do you want to do?", classes="field")
        self.lines: Lines[Action] = Lines(
            [
                Column("", 0, lambda action: (action.title, "")),
                Column("", 9, lambda action: (action.group, "dim"), rank=1),
                Column("", 14, lambda action: (", ".join(map(key_in_words, action.keys)), "accent")),
            ],
            key=lambda action: action.id,
            profile=self.profile,
            header=False,
            classes="always-cursor",
        )
        self.lines.replace(self.actions)
        yield self.lines

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.lines.set_filter(event.value.lstrip("!"))
        self.lines.to_start()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._choose()

    def on_lines_chosen(self) -> None:
        self._choose()

    def _choose(self) -> None:
        current = self.lines.listing.current()
        if current is not None:
            self.dismiss(current.id)
