"""One line: the answer to the last thing done, or the last thing the node told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.ink import fit, hidden
from meshconsole.console.widgets.sheet import Sheet

if TYPE_CHECKING:
    from meshconsole.console.ink import Line, Tone


class NoticeLine(Sheet):
    def __init__(self) -> None:
        super().__init__(id="notice")
        self.at = ""
        self.words = ""
        self.tone: Tone = ""
        self.private = True
        """It may name somebody."""

    def say(self, at: str, words: str, tone: Tone, *, private: bool) -> None:
        self.at, self.words, self.tone, self.private = at, words, tone, private
        self.update()

    def compose_lines(self, width: int, height: int) -> list[Line]:
        if not self.words:
            return []
        words = hidden(self.words) if self.hiding and self.private else self.words
        return [[(f"{self.at} ", "dim"), (fit(words, max(1, width - len(self.at) - 1)), self.tone)]]
