"""Words that cannot be overlooked, across the whole width: there while there is something to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.ink import fit, wrap
from meshconsole.console.widgets.sheet import Sheet

if TYPE_CHECKING:
    from meshconsole.console.ink import Line


class Banner(Sheet):
    """`most` lines; what does not fit is cut, but the last sentence, `what to do`, always stays."""

    def __init__(self, *, id: str, most: int = 4) -> None:  # noqa: A002 - Textual's own word
        super().__init__(id=id, classes="banner")
        self.most = most
        self.words = ""
        self.remedy = ""
        self.private = ""

    def say(self, words: str, remedy: str = "", *, private: str = "") -> None:
        """No words hide it. `private` ones stand there instead while the console hides what people wrote."""
        self.words, self.remedy, self.private = words, remedy, private
        self.lay_out()

    def lay_out(self) -> None:
        """For the width that the screen has now."""
        width = max(8, self.app.size.width - 2)
        words = self.private if self.words and self.private and self.hiding else self.words
        lines = _lines(words, self.remedy, width, self.most) if words else []
        self.set_lines([_line(line) for line in lines])
        self.styles.height = len(lines)
        self.display = bool(lines)


def _lines(words: str, remedy: str, width: int, most: int) -> list[str]:
    whole = wrap(f"{words} {remedy}".strip(), width)
    if len(whole) <= most:
        return whole
    tail = wrap(remedy, width) if remedy else []
    head = wrap(words, width)[: max(1, most - len(tail))]
    head[-1] = fit(f"{head[-1]} …" if len(head[-1]) < width - 1 else f"{head[-1]}…", width).rstrip()
    return [*head, *tail]


def _line(words: str) -> Line:
    return [(f" {words}", "")]
