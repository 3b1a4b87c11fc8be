"""2 Events: what happened, newest last, refusals with their reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.widgets.lines import Column, Lines
from meshconsole.console.words import clock_in_words, moment_in_words, short_key, size_in_words
from meshconsole.core.kinds import DIRECT_MESSAGE, GIFT_WRAP
from meshconsole.core.status import EventView
from meshconsole.core.text import safe_lines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.console.ink import Span, Tone
    from meshconsole.console.model import Model
    from meshconsole.console.profile import Profile
    from meshconsole.core.status import SentStatus


class Events(Lines[EventView]):
    def __init__(self, profile: Profile) -> None:
        self.dropped = 0
        self.sent: dict[str, SentStatus] = {}
        """What became of the notes of this device, by id."""
        super().__init__(
            [
                Column("TIME", 8, _time),
                Column("FROM", 11, _author, private=True),
                Column("KIND", 10, _kind, rank=2),
                Column("SIZE", 7, lambda event: (size_in_words(event.size), "dim"), 4, right=True),
                Column("VIA", 12, lambda event: (event.via, "dim"), rank=3, private=True),
                Column("VERDICT", 11, self._outcome, rank=1),
                Column("TEXT", 0, _text, private=True),
            ],
            key=lambda event: (event.seq, event.id),
            profile=profile,
            title="2 Events",
            follow=True,
            flexible=26,
            marks=True,
            id="events",
            classes="pane",
        )

    def begin(self, events: Iterable[EventView]) -> None:
        """What the node remembers when the console attaches."""
        first = not self.listing.rows
        self.replace(events)
        if first:
            self.listing.look()
        self._changed()

    def append(self, events: Iterable[EventView], dropped: int) -> None:
        self.dropped += dropped
        if self.dropped:
            self.set_note(f"{self.dropped} not shown, too many at once")
        self.extend(events)

    def show(self, model: Model) -> None:
        sent = {note.id: note for note in model.status.sent} if model.status else {}
        if sent != self.sent:
            self.sent = sent
            self.refresh()

    def _outcome(self, event: EventView) -> Span:
        """The verdict here, or for a note of this device: who has it."""
        sent = self.sent.get(event.id)
        if sent is None or not event.accepted:
            return _verdict(event)
        return sent.state, "good" if sent.state.startswith(("delivered", "read")) else "warn"

    def teach(self) -> list[str]:
        return [
            f"No events yet. In a team, {self.key('note.write')} writes the first note to everybody.",
            "Everything that this node stores, passes on or refuses will be listed here.",
        ]

    def text_of(self, row: EventView) -> str:
        who = f"{row.author} {row.npub} {row.precedence} {row.words}"
        return f"{who} {self._outcome(row)[0]} {row.verdict} {row.via} {row.line} {row.id}"


def in_full(event: EventView, receipt: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Names and values for the detail screen; a value's lines are joined with newlines."""
    return [
        ("text", "\n".join(safe_lines(event.text)) or ("(sealed for others)" if event.sealed else "(none)")),
        ("from", event.author),
        *([("to", event.to)] if event.to else []),
        ("npub", event.npub),
        ("kind", f"{event.words} ({event.kind})"),
        ("verdict", _verdict(event)[0] + (f": {event.verdict}" if event.verdict else "")),
        *(receipt or ([("precedence", event.precedence)] if event.precedence else [])),
        ("created", moment_in_words(event.created_at)),
        ("received", moment_in_words(event.received_at)),
        ("via", event.via),
        ("size", f"{event.size} bytes"),
        ("sealed", _sealed(event)),
        ("id", event.id),
    ]


def _sealed(event: EventView) -> str:
    if event.kind == GIFT_WRAP:
        return "not post-quantum"
    if not event.sealed:
        return "no"
    return "yes, to one device" if event.kind == DIRECT_MESSAGE else "yes, to the team"


def _time(event: EventView) -> Span:
    return clock_in_words(event.received_at), "dim"


def _author(event: EventView) -> Span:
    return (event.author, "strong") if event.author else (short_key(event.npub), "dim")


URGENT: dict[str, Tone] = {"flash": "bad", "immediate": "warn", "priority": "accent"}


def _kind(event: EventView) -> Span:
    return event.words.removeprefix(event.precedence).lstrip(), ""


def _verdict(event: EventView) -> Span:
    if not event.accepted:
        return "refused", "bad"
    return ("known", "dim") if event.verdict.startswith("duplicate") else ("stored", "good")


def _text(event: EventView) -> Span:
    if not event.accepted:
        return event.verdict or "refused", "bad"
    if event.precedence:
        return f"{event.precedence.upper()} {event.line}", URGENT.get(event.precedence, "warn")
    if event.text:
        return event.line, ""
    return ("sealed for others" if event.sealed else event.words), "dim"
