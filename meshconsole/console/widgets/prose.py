"""Sentences in a box: of a dialog, of a setting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.ink import wrap
from meshconsole.console.widgets.sheet import Sheet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshconsole.console.ink import Line


class Prose(Sheet):
    """Sentences, wrapped to the width they get; as high as they need."""

    DEFAULT_CSS = "Prose { height: auto; }"

    def __init__(self, sentences: Sequence[str], *, title: str = "") -> None:
        super().__init__(title=title)
        self.sentences = list(sentences)

    def say(self, sentences: Sequence[str]) -> None:
        self.sentences = list(sentences)
        self.update()
        self.refresh(layout=True)

    def compose_lines(self, width: int, height: int) -> list[Line]:
        return [[(line, "")] for sentence in self.sentences for line in wrap(sentence, max(1, width))]

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        return len(self.compose_lines(width, 0))
