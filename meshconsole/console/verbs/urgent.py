"""What is urgent: notes with precedence, acknowledging, receipts, emission control."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from meshconsole.console.screens.dialog import Choice, Choose, Read
from meshconsole.console.urgent import LEVELS
from meshconsole.console.verbs.registry import attempt, verb
from meshconsole.console.widgets.entryline import Question
from meshconsole.console.words import moment_in_words, receipt_facts
from meshconsole.console.work import start
from meshconsole.control.config import SetConfig
from meshconsole.control.notes import MarkRead, SendNote
from meshconsole.core.kinds import TEAM_NOTE
from meshconsole.core.status import EventView
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from meshconsole.console.desk import Desk
    from meshconsole.core.precedence import PrecedenceName

PRECEDENCES: tuple[PrecedenceName, ...] = ("routine", "priority", "immediate", "flash")
"""As Tab turns them while a note is written."""


def _writes(action_id: str, precedence: PrecedenceName) -> None:
    @verb(action_id)
    def write(desk: Desk, text: str) -> None:
        if text:
            start(desk, partial(_send, desk, precedence, text), "note")
        elif desk.model.status is None or desk.model.status.team is None:
            desk.say("There is no team to write to yet. :create NAME, or :join INVITE.", "warn")
        else:
            compose(desk, desk.shown(desk.model.status.team.name), precedence)


_writes("note.write", "routine")
_writes("note.priority", "priority")
_writes("note.immediate", "immediate")
_writes("note.flash", "flash")


def compose(desk: Desk, team: str, precedence: PrecedenceName, value: str = "") -> None:
    """The entry line for a note; Tab turns its precedence."""

    async def send(text: str) -> bool:
        if not text.strip():
            return False
        if await _send(desk, precedence, text) and desk.entry_line.question is question:
            # Unless it was left meanwhile, the line stays open for the next note, which is routine again.
            entry = desk.entry_line.entry
            rest = "" if entry.value == text else entry.value
            compose(desk, team, "routine", rest)
        return False

    def turn(text: str) -> None:
        at = PRECEDENCES.index(precedence)
        compose(desk, team, PRECEDENCES[(at + 1) % len(PRECEDENCES)], text)

    urgent = precedence != "routine"
    question = Question(
        f"{precedence.upper()} note to {team}" if urgent else f"note to {team}",
        send,
        value=value,
        placeholder="what everybody should know",
        enter="sends",
        tab=turn,
        tab_words="precedence",
        tone="bad" if precedence == "flash" else "warn" if urgent else "accent",
    )
    desk.ask(question)


async def _send(desk: Desk, precedence: PrecedenceName, text: str) -> bool:
    return await attempt(desk, SendNote(text, precedence), "Sent.") is not None


@verb("note.acknowledge")
async def acknowledge(desk: Desk, _: str) -> None:
    """The oldest flash note that waits; with none, the note under the cursor."""
    status = desk.model.status
    waiting = status.unread if status else ()
    row = desk.events.listing.current() if desk.current == "events" else None
    note = waiting[0] if waiting else row
    if not isinstance(note, EventView) or status is None:
        desk.say("No flash note waits to be acknowledged.", "dim")
    elif not waiting and (note.kind != TEAM_NOTE or note.npub == status.npub or not note.accepted):
        desk.say("Only a teammate's note can be told as read.", "warn")
    else:
        await attempt(desk, MarkRead(note.id), f"{safe(note.author, 24)} is told that it was read.")


@verb("note.receipts")
def receipts(desk: Desk, _: str) -> None:
    status = desk.model.status
    if status is None or not status.sent:
        desk.say("No note was sent from here since the node started.", "dim")
        return
    names = {member.npub: member.name for member in status.team.members} if status.team else {}
    texts = {event.id: event.line for event in desk.events.listing.rows if event.npub == status.npub}
    facts: list[tuple[str, str]] = []
    for sent in status.sent:
        if facts:
            facts.append(("", ""))
        facts.append((moment_in_words(sent.at), safe(texts.get(sent.id, sent.id[:8]), 200)))
        facts += receipt_facts(sent, names)
    desk.app.push_screen(Read("Receipts", facts, desk.profile))


@verb("node.emcon")
async def emission_control(desk: Desk, wanted: str) -> None:
    levels = [level for level, _, _ in LEVELS]
    now = desk.model.status.emcon if desk.model.status else "open"
    if not wanted:
        # Cursor and Enter leave it as it is; each level has a key.
        ordered = sorted(LEVELS, key=lambda level: level[0] != now)
        choices = [Choice(level, level, key, words) for level, key, words in ordered]
        sentences = [
            f"It is {now} now. It holds at once, and programs on this machine are served all the same."
        ]
        answer = await desk.app.push_screen_wait(Choose("Emission control", sentences, choices, desk.profile))
        wanted = answer or now
    if wanted not in levels:
        desk.say(f"There is no level {safe(wanted, 24)}. There are: {', '.join(levels)}.", "warn")
    elif wanted == now:
        desk.say(f"Emission control is {now}, as it was.", "dim")
    else:
        done = f"Emission control is {wanted}."
        reply = await attempt(desk, SetConfig({"privacy": {"emcon": wanted}}))
        if reply is not None:
            desk.say(done, "good" if wanted == "open" else "warn")
