"""One line: the answer to the last thing done, or the last thing the node told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.ink import fit
from meshconsole.console.widgets.sheet import Sheet

if TYPE_CHECKING:
    from meshconsole.console.ink import Line, Tone


class NoticeLine(Sheet):
    def __init__(self) -> None:
        super().__init__(id="notice")
        self.at = ""
        self.words = ""
        self.tone: Tone = ""

    def say(self, at: str, words: str, tone: Tone) -> None:
        self.at, self.words, self.tone = at, words, tone
        self.update()

    def compose_lines(self, width: int, height: int) -> list[Line]:
        if not self.words:
            return []
        return [[(f"{self.at} ", "dim"), (fit(self.words, max(1, width - len(self.at) - 1)), self.tone)]]
