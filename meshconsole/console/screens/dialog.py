"""Dialogs above the desk: a choice, a word to type, a text to read. Esc always leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen

from meshconsole.console.actions import BY_ID
from meshconsole.console.ink import Span, wrap
from meshconsole.console.shell import Shell
from meshconsole.console.widgets.entry import Entry
from meshconsole.console.widgets.lines import Column, Lines
from meshconsole.console.widgets.prose import Prose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events
    from textual.app import ComposeResult
    from textual.widgets import Input

    from meshconsole.console.keymap import Keymap
    from meshconsole.console.profile import Profile

Answer = TypeVar("Answer")

MOVES: list[BindingType] = [
    Binding("j,down", "move(1)", show=False),
    Binding("k,up", "move(-1)", show=False),
    Binding("pagedown,ctrl+f,ctrl+d", "page(1)", show=False),
    Binding("pageup,ctrl+b,ctrl+u", "page(-1)", show=False),
    Binding("g,home", "edge(0)", show=False),
    Binding("G,end", "edge(1)", show=False),
]
"""Every list moves by the same keys."""

REMAPPED = {
    "list.down": "move(1)",
    "list.up": "move(-1)",
    "list.half_down": "page(1)",
    "list.half_up": "page(-1)",
    "list.page_down": "page(1)",
    "list.page_up": "page(-1)",
    "list.start": "edge(0)",
    "list.end": "edge(1)",
    "view.back": "leave",
}
"""What a dialog does for actions of the desk, by the keys that the person gave these."""
KEPT = frozenset({"escape", "up", "down", "pageup", "pagedown", "home", "end"})
"""Keys that work in dialogs whatever else does."""


class Dialog(ModalScreen[Answer]):
    """A box with a title and sentences above whatever the subclass yields in `compose_body`."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", show=False, priority=True)]

    hint = "Esc leaves"
    """The keys, in the border: the desk's own do not work below a dialog."""
    opened_by = ""
    """The action whose keys also leave it."""

    def __init__(self, title: str, sentences: Sequence[str] = ()) -> None:
        super().__init__()
        self.box_title = title
        self.sentences = sentences

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Prose([*self.sentences], title="")
            yield from self.compose_body()

    def compose_body(self) -> ComposeResult:
        yield from ()

    def on_mount(self) -> None:
        self.query_one("#box").border_title = Content(self.box_title)
        if isinstance(self.app, Shell) and self.app.keymap is not None:
            self.take_keys(self.app.keymap)
        self.on_alarm()

    def take_keys(self, keymap: Keymap) -> None:
        """Keys of the person's own in place of ours. Esc, Enter and what a field needs stay as they are."""
        keys = self._bindings.key_to_bindings
        for action_id, act in REMAPPED.items():
            ours, theirs = BY_ID[action_id].keys, keymap.action(action_id).keys
            known = any(binding.action == act for key in ours for binding in keys.get(key, ()))
            if ours == theirs or not known:
                continue
            for key in set(ours) - KEPT:
                keys.pop(key, None)
            for key in theirs:
                keys[key] = [Binding(key, act, show=False)]
        for key in keymap.action(self.opened_by).keys if self.opened_by else ():
            keys.setdefault(key, [Binding(key, "leave", show=False)])

    def on_alarm(self) -> None:
        """The lower border says what waits outside of this dialog."""
        alarm = self.app.alarm if isinstance(self.app, Shell) else ""
        box = self.query_one("#box")
        box.border_subtitle = Content(alarm or self.hint)
        box.set_class(bool(alarm), "-alarm")

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_move(self, rows: int) -> None:
        for lines in self.query(Lines):
            lines.move(rows)

    def action_page(self, pages: int) -> None:
        for lines in self.query(Lines):
            lines.move_page(pages)

    def action_edge(self, end: int) -> None:
        for lines in self.query(Lines):
            (lines.to_end if end else lines.to_start)()


@dataclass(frozen=True, slots=True)
class Choice:
    """`answer` is returned when it is chosen; `key` chooses it at once."""

    answer: str
    words: str
    key: str = ""
    help: str = ""


class Choose(Dialog[str | None]):
    """One of several. The first has the cursor, so it must be the harmless one. Esc answers None."""

    hint = "Enter chooses, Esc leaves"

    BINDINGS: ClassVar[list[BindingType]] = [*MOVES, Binding("enter,space", "choose", show=False)]

    def __init__(
        self, title: str, sentences: Sequence[str], choices: Sequence[Choice], profile: Profile
    ) -> None:
        super().__init__(title, sentences)
        self.choices = choices
        self.profile = profile

    def compose_body(self) -> ComposeResult:
        width = max(len(choice.words) for choice in self.choices) + 2
        lines: Lines[Choice] = Lines(
            [
                Column("", 3, lambda choice: (choice.key, "accent")),
                Column("", width, lambda choice: (choice.words, "strong")),
                Column("", 0, lambda choice: (choice.help, "dim")),
            ],
            key=lambda choice: choice.answer,
            profile=self.profile,
            header=False,
        )
        lines.replace(self.choices)
        lines.styles.height = len(self.choices)
        yield lines

    def on_key(self, event: events.Key) -> None:
        for choice in self.choices:
            if choice.key and choice.key == event.character:
                # Or the screen below would get the key too, as soon as this one is gone.
                event.stop()
                self.dismiss(choice.answer)
                return

    def action_choose(self) -> None:
        current: Choice | None = self.query_one(Lines).listing.current()
        if current is not None:
            self.dismiss(current.answer)

    def on_lines_chosen(self) -> None:
        self.action_choose()


class Ask(Dialog[str | None]):
    """A word. With `must_be`, only that word is an answer: for what cannot be undone."""

    hint = "Enter answers, Esc leaves"

    def __init__(
        self,
        title: str,
        sentences: Sequence[str],
        *,
        value: str = "",
        password: bool = False,
        must_be: str | None = None,
    ) -> None:
        super().__init__(title, sentences)
        self.value = value
        self.password = password
        self.must_be = must_be

    def compose_body(self) -> ComposeResult:
        yield Entry(self.value, password=self.password, classes="field")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self.must_be is None:
            self.dismiss(event.value)
        elif event.value.strip() == self.must_be:
            self.dismiss(event.value.strip())
        else:
            self.query_one(Prose).say([*self.sentences, f'That is not "{self.must_be}". Esc leaves.'])


Fact = tuple[str, str]


class Read(Dialog[None]):
    """Names and values to read in full; a value may have many lines."""

    BINDINGS: ClassVar[list[BindingType]] = [*MOVES, Binding("q,h,enter", "leave", show=False)]

    def __init__(self, title: str, facts: Sequence[Fact], profile: Profile) -> None:
        super().__init__(title)
        self.facts = facts
        self.profile = profile
        self.add_class("-large")

    def compose_body(self) -> ComposeResult:
        label = max((len(name) for name, _ in self.facts), default=0)
        yield Facts(self.facts, label, self.profile)


class Facts(Lines[tuple[int, Span, str]]):
    """Wraps its values again when its width changes."""

    def __init__(self, facts: Sequence[Fact], label_width: int, profile: Profile) -> None:
        self.facts = facts
        self.label_width = label_width
        super().__init__(
            [
                Column("", label_width + 1, lambda row: row[1]),
                Column("", 0, lambda row: (row[2], ""), private=True),
            ],
            key=lambda row: row[0],
            profile=profile,
            header=False,
        )

    def on_resize(self, event: object) -> None:
        width = max(8, self.size.width - self.label_width - 6)
        rows: list[tuple[int, Span, str]] = []
        for name, value in self.facts:
            lines = [line for part in value.split("\n") for line in wrap(part, width)]
            for number, line in enumerate(lines):
                rows.append((len(rows), (name if number == 0 else "", "dim"), line))
        self.replace(rows)
