"""The entry line at the foot of the desk: what it asks, and what happens with the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.containers import Horizontal

from meshconsole.console.widgets.entry import Entry
from meshconsole.console.widgets.sheet import Sheet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from textual.app import ComposeResult

    from meshconsole.console.ink import Tone


@dataclass(frozen=True, slots=True)
class Question:
    """`submit` gets the text; the line closes if it answers True, and keeps the text otherwise.

    `change` is told every keystroke; `leave` is told when the line is left by Esc. With `path`, Tab
    completes names of files; with `tab`, it is told the text so far and does what `tab_words` says.
    """

    label: str
    submit: Callable[[str], Awaitable[bool]]
    value: str = ""
    placeholder: str = ""
    change: Callable[[str], None] | None = None
    leave: Callable[[], None] | None = None
    path: bool = False
    tab: Callable[[str], None] | None = None
    tab_words: str = "completes"
    tone: Tone = "accent"
    enter: str = "does it"
    """What Enter does, for the key line."""


class _Label(Sheet):
    DEFAULT_CSS = "_Label { height: 1; width: auto; }"

    def get_content_width(self, container: object, viewport: object) -> int:
        return sum(len(text) for line in self._lines for text, _ in line)


class EntryLine(Horizontal):
    def __init__(self) -> None:
        super().__init__(id="entry-line")
        self.question: Question | None = None
        self.busy = False

    def compose(self) -> ComposeResult:
        yield _Label(id="entry-label")
        yield Entry(id="entry")

    @property
    def entry(self) -> Entry:
        return self.query_one(Entry)

    def ask(self, question: Question) -> None:
        self.question = question
        label = self.query_one(_Label)
        label.set_lines([[(f" {question.label} ", question.tone)]])
        label.refresh(layout=True)
        self.display = True
        self.entry.placeholder = question.placeholder
        self.entry.value = question.value
        self.entry.action_end()
        self.entry.focus()

    def close(self) -> None:
        self.question = None
        self.display = False
        with self.entry.prevent(Entry.Changed):
            self.entry.value = ""

    def complete(self, completed: Callable[[str], str]) -> None:
        """Tab."""
        if self.question is not None and self.question.tab is not None:
            self.question.tab(self.entry.value)
        elif self.question is not None and self.question.path:
            self.entry.value = completed(self.entry.value)
            self.entry.action_end()

    async def submit(self) -> bool:
        """Whether the line was closed. While an answer is worked on, another one is not taken."""
        question = self.question
        if question is None or self.busy:
            return False
        self.busy = True
        try:
            done = await question.submit(self.entry.value)
        finally:
            self.busy = False
        if done and self.question is question:
            self.close()
            return True
        return False
