"""The one list of the console: a header, rows of columns, a cursor, and an empty state that teaches.

It draws only the lines that are visible and holds plain rows, so its cost does not grow with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from meshconsole.console.ink import Inked, Span, fit, hidden, wrap
from meshconsole.console.widgets.listing import Listing, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from textual import events

    from meshconsole.console.profile import Profile


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """`width` in cells, 0 for the one column that takes what is left.

    Columns of a higher `rank` are left out first where the list is narrow; rank 0 always stays.
    """

    title: str
    width: int
    draw: Callable[[Row], Span]
    rank: int = 0
    right: bool = False
    private: bool = False
    """What people wrote, names, keys and addresses: not shown while the console hides them."""

    @property
    def gap(self) -> int:
        """Cells after it. Numbers stand clear of the words that follow."""
        return 2 if self.right else 1


class Lines(Inked, Generic[Row], can_focus=True):
    """`marks`: rows that came since the last look carry a "*".

    `flexible` is the least width of the column that takes what is left; columns of rank 3 and above
    also leave it `pleasant` cells.
    """

    DEFAULT_CSS = "Lines { width: 1fr; height: 1fr; }"

    class Chosen(Message):
        """Enter or a second click on a row."""

        def __init__(self, lines: Lines[Any], row: object) -> None:
            super().__init__()
            self.lines = lines
            self.row = row

    class Moved(Message):
        """The cursor stands on another row."""

        def __init__(self, lines: Lines[Any]) -> None:
            super().__init__()
            self.lines = lines

    def __init__(
        self,
        columns: Sequence[Column[Row]],
        *,
        key: Callable[[Row], Hashable],
        profile: Profile,
        title: str = "",
        header: bool = True,
        follow: bool = False,
        marks: bool = False,
        flexible: int = 12,
        pleasant: int = 0,
        capacity: int = 5000,
        id: str | None = None,  # noqa: A002 - Textual's own word
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.columns = columns
        self.profile = profile
        self.title = title
        self.header = header
        self.marks = marks
        self.flexible = flexible
        self.pleasant = max(pleasant, flexible)
        self.listing: Listing[Row] = Listing(key, self.text_of, capacity=capacity, follow=follow)
        self.note = ""
        """What the border says besides the title: counts, for example."""
        self._layout: tuple[int, list[tuple[Column[Row], int]]] = (-1, [])

    # What the subclasses say.

    def teach(self) -> list[str]:
        """Sentences for a list that has nothing to show yet."""
        return ["Nothing here yet."]

    def footnotes(self) -> list[str]:
        """Lines for the foot of a list that leaves room."""
        return []

    def text_of(self, row: Row) -> str:
        """What a filter looks in."""
        return " ".join(column.draw(row)[0] for column in self.columns)

    # What the panes call.

    def extend(self, rows: Iterable[Row]) -> None:
        self.listing.extend(rows)
        if self.has_focus and self.listing.follow:
            self.listing.look()
        self._changed()

    def replace(self, rows: Iterable[Row]) -> None:
        self.listing.replace(rows)
        self._changed()

    def set_filter(self, text: str) -> None:
        self.listing.set_filter(text)
        self._changed()

    def toggle_pause(self) -> None:
        (self.listing.resume if self.listing.paused else self.listing.pause)()
        self._changed()

    def move(self, rows: int) -> None:
        self.listing.move(rows)
        self._moved()

    def move_page(self, pages: float) -> None:
        self.move(int(pages * max(1, self.listing.height - 1)))

    def to_start(self) -> None:
        self.listing.to_start()
        self._moved()

    def to_end(self) -> None:
        self.listing.to_end()
        self.listing.look()
        self._moved()

    def choose(self) -> None:
        row = self.listing.current()
        if row is not None:
            self.post_message(self.Chosen(self, row))

    def redraw(self) -> None:
        """All of it."""
        self._title()
        self.refresh()

    def set_note(self, note: str) -> None:
        if note != self.note:
            self.note = note
            self._title()

    # What Textual calls.

    def on_mount(self) -> None:
        self._title()

    def on_resize(self, _: events.Resize) -> None:
        self.listing.resize(self.size.height - self.header)
        self.refresh()

    def watch_has_focus(self, has_focus: bool) -> None:
        # Not on_focus and on_blur: those come before `has_focus` is what they say.
        super().watch_has_focus(has_focus)
        if not has_focus:
            self.listing.look()
        self._title()
        self.refresh()

    def on_mouse_scroll_down(self) -> None:
        self.move(3)

    def on_mouse_scroll_up(self) -> None:
        self.move(-3)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        position = self.listing.top + (offset.y - self.header if offset else -1)
        if not 0 <= position < len(self.listing) or (offset and offset.y < self.header):
            return
        if position == self.listing.cursor and self.has_focus:
            self.choose()
        self.listing.to(position)
        self._moved()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if self.header and y == 0:
            return self._head(width)
        if not self.listing:
            return self._lesson(y - self.header, width)
        position = self.listing.top + y - self.header
        if position >= len(self.listing):
            return self._footnote(y, width)
        return self._row(position, y, width)

    # How it looks.

    def _row(self, position: int, y: int, width: int) -> Strip:
        row = self.listing.row(position)
        new = self.marks and self.listing.is_new(position)
        hiding = self.hiding
        spans: list[Span] = [("*" if new else " ", "accent")]
        for column, cells in self._columns(width):
            text, tone = column.draw(row)
            if hiding and column.private:
                text = hidden(text)
            spans += [(fit(text, cells, right=column.right), tone), (" " * column.gap, "")]
        chosen = position == self.listing.cursor and self.has_focus
        line = self.strip(spans, width - 1, self.ink("cursor") if chosen else None)
        return Strip([*line, *self.strip([self._thumb(y)], 1)], width)

    def _head(self, width: int) -> Strip:
        spans: list[Span] = [(" ", "")]
        for column, cells in self._columns(width):
            spans += [(fit(column.title, cells, right=column.right), "dim"), (" " * column.gap, "")]
        return self.strip(spans, width)

    def _lesson(self, y: int, width: int) -> Strip:
        sentences = self.teach()
        if self.listing.filter and self.listing.rows:
            wanted = hidden(self.listing.filter) if self.hiding else self.listing.filter
            sentences = [f'Nothing matches "{wanted}". Esc shows everything again.']
        lines = [line for sentence in sentences for line in [*wrap(sentence, max(8, width - 2)), ""]]
        return self.strip([(f" {lines[y]}" if 0 <= y < len(lines) else "", "dim")], width)

    def _footnote(self, y: int, width: int) -> Strip:
        """At the foot, and only if an empty line stays between the rows and the first note."""
        notes = [] if self.hiding else self.footnotes()
        at = y - (self.size.height - len(notes))
        if at < 0 or self.listing.height - len(self.listing) <= len(notes):
            return self.blank(width)
        return self.strip([(f" {fit(notes[at], max(1, width - 2))}", "dim")], width)

    def _thumb(self, y: int) -> Span:
        """The right edge: where the window is, if not everything is in it."""
        total, height = len(self.listing), self.listing.height
        if total <= height:
            return " ", ""
        size = max(1, height * height // total)
        start = round(self.listing.top / (total - height) * (height - size))
        at = y - self.header
        return (self.profile.glyphs.thumb, "dim") if start <= at < start + size else (" ", "")

    def _columns(self, width: int) -> list[tuple[Column[Row], int]]:
        if self._layout[0] != width:
            # The mark at the left, the window's place at the right, a space after each column.
            room = width - 2 - 1
            shown: list[Column[Row]] = []
            for column in sorted(self.columns, key=lambda column: column.rank):
                least = self.pleasant if column.rank > 2 else self.flexible
                if column.rank and column.width + column.gap + least > room:
                    break
                shown.append(column)
                room -= column.width + column.gap if column.width else 0
            rest = max(1, room)
            kept = [column for column in self.columns if column in shown]
            self._layout = (width, [(column, column.width or rest) for column in kept])
        return self._layout[1]

    def _moved(self) -> None:
        self._changed()
        self.post_message(self.Moved(self))

    def _changed(self) -> None:
        """The rows, and not the border and the head around them: on a slow line those are a third."""
        self._title()
        width, height = self.size
        self.refresh(Region(0, self.header, width, max(0, height - self.header)))

    def _title(self) -> None:
        listing = self.listing
        title = f"{self.pointer}{self.title}"
        parts = [self.note] if self.note else []
        if self.marks and listing.new:
            parts.append(f"{listing.new} new")
        if listing.filter:
            parts.append(f"filter /{hidden(listing.filter) if self.hiding else listing.filter}")
        if listing.paused:
            parts.append(f"paused +{listing.held}" if listing.held else "paused")
        elif listing.tailing:
            follows = "following" if listing.follow else f"not following ({self.key('list.end')} follows)"
            parts.append(follows)
        self._set_border(title, " · ".join(parts))

    def _set_border(self, title: str, subtitle: str) -> None:
        """Only what changed: setting a border text repaints the whole widget."""
        for name, text in (("border_title", title), ("border_subtitle", subtitle)):
            if self.__dict__.get(f"_shown_{name}") != text:
                self.__dict__[f"_shown_{name}"] = text
                # Content, not str: a str would be read as markup.
                setattr(self, name, Content(fit(text, min(len(text), 60)).rstrip()))
