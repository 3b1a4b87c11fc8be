"""What must not be overlooked: flash notes, emission control; and what became of one's own notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from meshconsole.control.config import SetConfig
from meshconsole.control.notes import MarkRead, SendNote
from meshconsole.core.kinds import TEAM_NOTE
from meshconsole.core.status import SentStatus
from tests.console.feed import an_event
from tests.console.field import NOW, npub_of
from tests.console.scripted import ScriptedNode
from tests.console.stage import sent, stage
from tests.console.test_goldens import SIZES, compare

if TYPE_CHECKING:
    from meshconsole.core.status import EventView

HOSTILE = "m\x1b]52;c;SGVsbG8=\x07edic\u202e[@click=app.quit]x[/]"


def a_flash(seq: int, author: str, text: str) -> EventView:
    return an_event(seq, author, TEAM_NOTE, text, at=NOW, precedence="flash", words="flash team note")


def alarmed(*notes: EventView) -> ScriptedNode:
    node = ScriptedNode()
    node.events += notes
    node.status_now = msgspec.structs.replace(node.status_now, unread=notes)
    return node


async def test_a_note_is_written_with_its_precedence() -> None:
    async with stage() as play:
        for key, precedence in (("F", "flash"), ("I", "immediate")):
            await play.press(key)
            await play.until_shown(f"{precedence.upper()} note to alpha")
            await play.type("run")
            await play.press("enter")
            await play.until(lambda: play.app.desk.entry_line.entry.value == "")
            assert sent(play, SendNote)[-1] == SendNote("run", precedence)  # type: ignore[arg-type]
            # The next one is routine unless it is said again.
            await play.until(
                lambda: " FLASH note" not in play.picture and "IMMEDIATE note" not in play.picture
            )
            await play.press("escape")
        await play.press("n")
        await play.type("ab")
        for word in ("PRIORITY note", "IMMEDIATE note", "FLASH note", " note to alpha"):
            await play.press("tab")
            await play.until_shown(word)
            assert play.app.desk.entry_line.entry.value == "ab"
        await play.press("tab", "enter")
        await play.until(lambda: sent(play, SendNote)[-1] == SendNote("ab", "priority"))
        await play.press("escape")
        for word, precedence in (("flash", "flash"), ("immediate", "immediate"), ("priority", "priority")):
            await play.press("colon")
            await play.type(f"{word} go now")
            await play.press("enter")
            await play.until(
                lambda precedence=precedence: sent(play, SendNote)[-1] == SendNote("go now", precedence)  # type: ignore[misc]
            )


async def test_a_precedence_is_a_word_in_the_list() -> None:
    notes = [
        an_event(901, "medic", TEAM_NOTE, "now", at=NOW, precedence="immediate", words="immediate team note"),
        a_flash(902, "medic", "leave"),
    ]
    node = ScriptedNode()
    node.events += notes
    async with stage(50, 16, node=node) as play:
        await play.until_shown("FLASH leave")
        await play.until_shown("IMMEDIATE now")


@pytest.mark.parametrize("size", SIZES)
async def test_a_flash_note_stands_above_everything_until_it_is_acknowledged(size: tuple[int, int]) -> None:
    first, second = a_flash(901, HOSTILE, "Leave the bridge. Water rises. " * 12), a_flash(902, "hub", "two")
    async with stage(*size, node=alarmed(first, second), glyphs="ascii") as play:
        await play.until_shown("(1 more)")
        assert "FLASH from m" in play.picture
        assert "! acknowledges it." in play.picture
        assert "\x1b" not in play.picture
        assert "\u202e" not in play.picture
        compare(f"flash-{size[0]}x{size[1]}", play.picture)
        await play.press("exclamation_mark")
        await play.until(lambda: sent(play, MarkRead))
        assert sent(play, MarkRead) == [MarkRead(first.id)]
        await play.until_shown("FLASH from hub")
        await play.press("colon")
        await play.type("ack")
        await play.press("enter")
        await play.until(lambda: "acknowledges it" not in play.picture)
        assert sent(play, MarkRead) == [MarkRead(first.id), MarkRead(second.id)]


async def test_a_flash_note_rings_once_and_is_said_in_dialogs_too() -> None:
    async with stage() as play:
        rung: list[int] = []
        play.app.bell = lambda: rung.append(1)  # type: ignore[method-assign]
        await play.press("question_mark")
        await play.until_shown("WHAT IT DOES")
        flash = a_flash(901, "medic", "leave")
        play.node.status_now = msgspec.structs.replace(play.node.status_now, unread=(flash,))
        play.server.status_changed()
        await play.until_shown("FLASH note: Esc")
        play.server.status_changed()
        await play.press("escape", "s")
        await play.until_shown("FLASH note: Esc")
        await play.press("escape")
        assert rung == [1]
        play.node.status_now = msgspec.structs.replace(play.node.status_now, unread=())
        play.server.status_changed()
        await play.until(lambda: "FLASH from" not in play.picture)
        await play.press("question_mark")
        await play.until_shown("Esc leaves")


async def test_the_note_under_the_cursor_can_be_told_as_read() -> None:
    async with stage() as play:
        events = play.app.desk.events.listing
        theirs = next(at for at in range(len(events)) if events.row(at).author == "medic")
        mine = next(at for at in range(len(events)) if events.row(at).author == "falcon-3")
        events.to(mine)
        await play.press("exclamation_mark")
        assert "Only a teammate's note" in play.notice
        events.to(theirs)
        await play.press("exclamation_mark")
        await play.until(lambda: sent(play, MarkRead))
        assert sent(play, MarkRead) == [MarkRead(events.row(theirs).id)]
        await play.press("1", "exclamation_mark")
        assert "No flash note waits" in play.notice


async def test_receipts_stand_beside_ones_own_notes() -> None:
    node = ScriptedNode()
    words = ("queued", "carried 2/5", "at hub", "delivered", "read 3/5")
    notes = [an_event(950 + at, "falcon-3", TEAM_NOTE, f"note {at}", at=NOW) for at in range(len(words))]
    node.events += notes
    receipts = tuple(
        SentStatus(note.id, NOW, "routine", word, 5, has=(npub_of("medic"),), lacks=(npub_of("base"),))
        for note, word in zip(notes, words, strict=True)
    )
    node.status_now = msgspec.structs.replace(node.status_now, sent=receipts[::-1])
    async with stage(node=node) as play:
        await play.until_shown("read 3/5")
        for note, word in zip(notes, words, strict=True):
            row = next(line for line in play.picture.splitlines() if note.text in line)
            assert f" {word} " in row
        await play.press("enter")
        await play.until_shown("not yet with  base")
        await play.press("escape", "colon")
        await play.type("receipts")
        await play.press("enter")
        await play.until_shown("read 3/5")
        assert "note 4" in play.picture
        await play.press("escape")


@pytest.mark.parametrize("size", SIZES)
async def test_emission_control_is_one_key_and_a_banner(size: tuple[int, int]) -> None:
    async with stage(*size, glyphs="ascii") as play:
        assert "EMCON" not in play.picture
        await play.press("e")
        await play.until_shown("Emission control")
        await play.press("enter")
        await play.until(lambda: "as it was" in play.notice)
        await play.press("e")
        await play.until_shown("Emission control")
        await play.press("d")
        await play.until_shown("EMCON DARK")
        assert sent(play, SetConfig) == [SetConfig({"privacy": {"emcon": "dark"}})]
        await play.until_shown("e changes it.")
        compare(f"emcon-{size[0]}x{size[1]}", play.picture)
        await play.press("colon")
        await play.type("emcon open")
        await play.press("enter")
        await play.until(lambda: "EMCON" not in play.picture)
        await play.press("colon")
        await play.type("emcon loud")
        await play.press("enter")
        await play.until(lambda: "There is no level loud" in play.notice)


async def test_a_watcher_sees_the_alarm_and_cannot_acknowledge_it() -> None:
    async with stage(node=alarmed(a_flash(901, "medic", "leave")), read_only=True) as play:
        await play.until_shown("FLASH from medic")
        assert "acknowledges" not in play.picture
        await play.press("exclamation_mark", "e")
        assert "read-only" in play.notice
        assert not sent(play, MarkRead)
