"""Help: every action with its keys and its word, made from the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from meshconsole.console.actions import PANES, Action, key_in_words
from meshconsole.console.screens.dialog import MOVES, Dialog
from meshconsole.console.widgets.lines import Column, Lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from meshconsole.console.profile import Profile

HelpRow = tuple[int, str, str, str]
"""Number, keys, words, command. A row without keys and command is a heading."""

ADVICE = (
    "To select text with the mouse, start with --no-mouse, or hold Shift in most terminals.",
    "Every pane is also a plain command: peers, events, storage, limits, blobs, team, audit, notices, map.",
    "The node runs on its own: closing this console does not stop it unless you say so.",
)


class Help(Dialog[None]):
    opened_by = "app.help"
    BINDINGS: ClassVar[list[BindingType]] = [*MOVES, Binding("q,h,enter", "leave", show=False)]

    def __init__(self, actions: Sequence[Action], profile: Profile) -> None:
        super().__init__("Help")
        self.actions = actions
        self.profile = profile
        self.add_class("-large")

    def compose_body(self) -> ComposeResult:
        lines: Lines[HelpRow] = Lines(
            [
                Column("KEYS", 14, lambda row: (row[1], "accent")),
                Column("WHAT IT DOES", 0, lambda row: (row[2], "" if row[1] or row[3] else "strong")),
                Column("COMMAND", 14, lambda row: (row[3], "dim")),
            ],
            key=lambda row: row[0],
            profile=self.profile,
        )
        lines.replace(help_rows(self.actions))
        yield lines


def help_rows(actions: Sequence[Action]) -> list[HelpRow]:
    rows: list[tuple[str, str, str]] = []
    for group in dict.fromkeys(action.group for action in actions):
        rows += [("", "", ""), ("", group, "")] if rows else [("", group, "")]
        for action in actions:
            if action.group == group:
                keys = ", ".join(key_in_words(key) for key in action.keys)
                command = f":{action.command} {action.argument}".strip() if action.command else ""
                where = f" (in {PANES.index(action.pane) + 1})" if action.pane else ""
                rows.append((keys + where, action.title, command))
    rows += [("", "", ""), ("", "Good to know", "")]
    return [
        *((number, *row) for number, row in enumerate(rows)),
        *((len(rows) + number, "-", advice, "") for number, advice in enumerate(ADVICE)),
    ]
