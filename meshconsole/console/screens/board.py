"""The board of the newest roll call. It goes on while it is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from meshconsole.console.screens.dialog import MOVES, Dialog
from meshconsole.console.urgent import ROLL_TONES, ROLL_WORDS, roll_rows, roll_summary
from meshconsole.console.widgets.lines import Column, Lines
from meshconsole.console.widgets.prose import Prose
from meshconsole.console.words import ago_in_words

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from meshconsole.console.desk import Desk
    from meshconsole.core.status import RollState

Row = tuple[str, "RollState", str]

REFRESH_S = 1.0


class RollBoard(Dialog[None]):
    opened_by = "roll.board"
    BINDINGS: ClassVar[list[BindingType]] = [*MOVES, Binding("q,h,enter", "leave", show=False)]

    def __init__(self, desk: Desk) -> None:
        super().__init__("Roll call", self._sentences(desk))
        self.desk = desk
        self.add_class("-large")

    def compose_body(self) -> ComposeResult:
        self.lines: Lines[Row] = Lines(
            [
                Column("STATE", 14, lambda row: (ROLL_WORDS[row[1]], ROLL_TONES[row[1]])),
                Column("NAME", 0, lambda row: (row[0], "strong"), private=True),
                Column("ANSWERED", 12, lambda row: (row[2], "dim")),
            ],
            key=lambda row: row[0],
            profile=self.desk.profile,
        )
        yield self.lines

    def on_mount(self) -> None:
        self.look()
        self.set_interval(REFRESH_S, self.look)

    def look(self) -> None:
        status = self.desk.model.status
        if status is None or status.roll_call is None:
            return
        rows = roll_rows(status.roll_call, status.now)
        if rows != self.lines.listing.rows:
            self.query_one(Prose).say(self._sentences(self.desk))
            self.lines.replace(rows)

    @staticmethod
    def _sentences(desk: Desk) -> list[str]:
        status = desk.model.status
        if status is None or status.roll_call is None:
            return []
        call = status.roll_call
        words, ago = desk.shown(call.words, 400), ago_in_words(call.at, status.now)
        by = f"{words} from {desk.shown(call.author)}, {ago}."
        return [by, roll_summary(call)]
