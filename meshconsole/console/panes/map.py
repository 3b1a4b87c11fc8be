"""9 Map: who hears whom, drawn as a table of signs; each row is a device that listens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.ink import HIDDEN, fit, wrap
from meshconsole.console.widgets.sheet import Sheet
from meshconsole.console.words import short_key
from meshconsole.core.mesh_map import mesh_map
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from meshconsole.console.ink import Line, Span
    from meshconsole.console.model import Model
    from meshconsole.console.profile import Profile
    from meshconsole.core.mesh_map import MapRow

NAME = 14
CELL = 4


class Map(Sheet, can_focus=True):
    def __init__(self, profile: Profile) -> None:
        super().__init__(title="9 Map", id="map", classes="pane")
        self.profile = profile
        self.rows: tuple[MapRow, ...] = ()

    def show(self, model: Model) -> None:
        rows = mesh_map(model.status) if model.status is not None else ()
        if rows != self.rows:
            self.rows = rows
            hear_us = sum(rows[0].npub in row.hears for row in rows[1:])
            self.set_border(self.title, f"{hear_us} of {len(rows) - 1} hear us")
            self.update()

    def compose_lines(self, width: int, height: int) -> list[Line]:
        if len(self.rows) < 2:
            lesson = wrap("No other devices yet: who hears whom is drawn here.", max(8, width))
            return [[(line, "dim")] for line in lesson]
        return draw(self.rows, width, height, hiding=self.hiding)


def draw(rows: tuple[MapRow, ...], width: int, height: int, *, hiding: bool = False) -> list[Line]:
    """As many columns as there is room for; that not all are shown is said."""
    columns = rows[: max(1, (width - NAME - 5) // CELL)]
    head: Line = [(fit("WHO HEARS WHOM", NAME + 4), "dim")]
    head += [(fit(str(number), CELL, right=True), "dim") for number in range(1, len(columns) + 1)]
    lines: list[Line] = [head]
    for number, row in enumerate(rows, 1):
        name = HIDDEN if hiding else safe(row.name) or short_key(row.npub)
        line: Line = [(f"{number:>3} ", "dim"), (fit(name, NAME), "strong" if row.here else "")]
        line += [_cell(row, column) for column in columns]
        if row.via:
            via = HIDDEN if hiding else safe(row.via)
            line.append((f"  {row.via if row.via == 'carried' else f'via {via}'}", "dim"))
        lines.append(line)
    room = max(2, height - 2)
    if len(lines) > room:
        lines = [*lines[: room - 1], [(f"and {len(lines) - room} more: meshconsole map", "dim")]]
    words = "yes: hears it. no: does not. Empty: not known here. Numbers are those of the rows."
    lines += [[(line, "dim")] for line in wrap(words, max(8, width))]
    return lines[:height]


def _cell(row: MapRow, column: MapRow) -> Span:
    if row.npub == column.npub:
        word, tone = "-", "dim"
    elif column.npub in row.hears:
        word, tone = "yes", "good"
    elif column.npub in row.deaf_to:
        word, tone = "no", "bad"
    else:
        word, tone = "", ""
    return fit(word, CELL, right=True), tone  # type: ignore[return-value]
