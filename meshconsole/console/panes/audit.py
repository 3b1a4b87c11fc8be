"""7 Audit and 8 Notices: what the node wrote down, and what it told the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.ink import wrap
from meshconsole.console.widgets.lines import Column, Lines
from meshconsole.console.words import clock_in_words
from meshconsole.control.messages import Notice

if TYPE_CHECKING:
    from meshconsole.console.ink import Span, Tone
    from meshconsole.console.model import Model
    from meshconsole.console.profile import Profile

NumberedLine = tuple[int, str]

SEVERITY: dict[str, Tone] = {"info": "dim", "warning": "warn", "critical": "bad"}


class Audit(Lines[NumberedLine]):
    """Asked for when it is opened, and again with `R`: the node does not push it."""

    def __init__(self, profile: Profile) -> None:
        super().__init__(
            [Column("AUDIT LOG, NEWEST LAST", 0, _line, private=True)],
            key=lambda line: line[0],
            profile=profile,
            title="7 Audit",
            follow=True,
            id="audit",
            classes="pane",
        )

    def show_lines(self, lines: tuple[str, ...]) -> None:
        self.replace(enumerate(lines))
        self.to_end()

    def teach(self) -> list[str]:
        return ["The audit log is empty, or it has not come yet."]


class Notices(Lines[Notice]):
    def __init__(self, profile: Profile) -> None:
        super().__init__(
            [
                Column("TIME", 8, lambda notice: (clock_in_words(notice.at), "dim")),
                Column("", 8, _severity),
                Column("WHAT, AND WHAT TO DO", 0, _words, private=True),
            ],
            key=lambda notice: (notice.at, notice.text),
            profile=profile,
            title="8 Notices",
            id="notices",
            classes="pane",
        )

    def show(self, model: Model) -> None:
        health = model.status.health if model.status else ()
        standing = [
            Notice(item.since, item.severity, item.text, f"{item.remedy} {item.hidden_words}".strip())
            for item in health
        ]
        rows = [*standing, *reversed(model.notices)]
        if [(row.text, row.remedy) for row in rows] != [(r.text, r.remedy) for r in self.listing.rows]:
            self.replace(rows)
        self.set_note(f"{len(standing)} standing" if standing else "")

    def footnotes(self) -> list[str]:
        """The one under the cursor, whole: a row is often too narrow for it."""
        current = self.listing.current()
        if current is None:
            return []
        words = [current.text, *([current.remedy] if current.remedy else [])]
        return [line for sentence in words for line in wrap(sentence, max(8, self.size.width - 2))]

    def teach(self) -> list[str]:
        return ["Nothing to report. Warnings and what to do about them are kept here."]


def _line(line: NumberedLine) -> Span:
    return line[1], ""


def _severity(notice: Notice) -> Span:
    return notice.severity, SEVERITY[notice.severity]


def _words(notice: Notice) -> Span:
    return f"{notice.text} {notice.remedy}".strip(), ""


def in_full(notice: Notice) -> list[tuple[str, str]]:
    return [("what", notice.text), ("to do", notice.remedy or "nothing"), ("severity", notice.severity)]
