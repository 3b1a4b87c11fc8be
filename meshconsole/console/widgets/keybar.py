"""The last line: the keys that matter now, as many as fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.ink import length
from meshconsole.console.widgets.sheet import Sheet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshconsole.console.ink import Line

Key = tuple[str, str]


class KeyBar(Sheet):
    """Keys earlier in the list are kept longer; the last two always stay."""

    def __init__(self) -> None:
        super().__init__(id="keys")
        self.keys: Sequence[Key] = ()

    def show(self, keys: Sequence[Key]) -> None:
        if keys != self.keys:
            self.keys = keys
            self.update()

    def compose_lines(self, width: int, height: int) -> list[Line]:
        keys = list(self.keys)
        while keys:
            line: Line = []
            for key, label in keys:
                if line:
                    line.append(("  ", ""))
                line += [(key, "accent"), (f" {label}", "")]
            if length(line) <= width:
                return [line]
            del keys[-3 if len(keys) > 2 else 0]
        return []
