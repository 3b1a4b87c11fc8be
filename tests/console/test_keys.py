"""A walk over the desk by keyboard: every action, by its keys or its command, and what it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.actions import ACTIONS, DASHBOARD, PANES
from meshconsole.control.config import SetConfig
from meshconsole.control.messages import Stop
from meshconsole.control.notes import SendNote
from meshconsole.control.team import CreateTeam, JoinTeam, RotateKey
from meshconsole.core.kinds import TEAM_NOTE
from tests.console.feed import an_event
from tests.console.field import NOW
from tests.console.scripted import ScriptedNode
from tests.console.stage import Stage, sent, stage, where

if TYPE_CHECKING:
    from meshconsole.core.status import EventView


def fresh(count: int) -> list[EventView]:
    return [an_event(900 + number, "medic", TEAM_NOTE, "new", at=NOW) for number in range(count)]


async def test_moving_about() -> None:
    async with stage() as play:
        desk = play.app.desk
        assert where(play) == ("events", None)
        for number, name in enumerate(PANES, 1):
            await play.press(str(number))
            assert where(play) == (name, None if name in DASHBOARD else name)
            assert desk.pane(name).has_focus
        await play.press("7")
        await play.until(lambda: len(desk.audit.listing) == 4)
        await play.press("escape")
        assert where(play) == ("events", None)
        seen = []
        for _ in range(4):
            await play.press("tab")
            seen.append(where(play)[0])
        assert seen == ["storage", "limits", "peers", "events"]
        await play.press("1", "shift+tab")
        assert where(play) == ("limits", None)
        await play.press("z")
        assert where(play) == ("limits", "limits")
        assert "1 Peers" not in play.picture
        await play.press("z")
        assert "1 Peers" in play.picture
        await play.press("1", "z", "h")
        assert where(play) == ("peers", None)


async def test_the_keys_of_a_list() -> None:
    async with stage() as play:
        events = play.app.desk.events.listing
        last = len(events) - 1
        assert " following " in play.picture
        for keys, cursor in (
            (("g",), 0),
            (("j", "down"), 2),
            (("k",), 1),
            (("up",), 0),
            (("G",), last),
            (("home",), 0),
            (("end",), last),
        ):
            await play.press(*keys)
            assert events.cursor == cursor
        await play.press("g", "pagedown")
        page = events.cursor
        assert page > 3
        await play.press("ctrl+f", "pageup", "ctrl+b")
        assert events.cursor == 0
        await play.press("ctrl+d")
        assert 0 < events.cursor < page
        await play.press("ctrl+u")
        assert events.cursor == 0
        assert "not following" in play.picture
        await play.press("enter")
        await play.until_shown("verdict")
        await play.press("j", "G", "g", "q")
        await play.press("l")
        await play.until_shown("verdict")
        await play.press("escape")
        await play.press("y")
        assert play.app.clipboard == events.row(0).id


async def test_a_filter_is_live_kept_by_enter_and_cleared_by_escape() -> None:
    async with stage() as play:
        events = play.app.desk.events.listing
        everything = len(events)
        await play.press("slash")
        await play.type("refused")
        assert 0 < len(events) < everything
        await play.press("enter")
        assert events.filter == "refused"
        assert "filter /refused" in play.picture
        await play.press("escape")
        assert len(events) == everything
        await play.press("slash")
        await play.type("!stored")
        kept = len(events)
        assert 0 < kept < everything
        await play.press("escape")
        assert len(events) == everything
        await play.press("slash")
        await play.type("zzz")
        assert 'Nothing matches "zzz"' in play.picture
        await play.press("escape", "3", "slash")
        assert "no list" in play.notice


async def test_a_pause_holds_the_picture() -> None:
    async with stage() as play:
        events = play.app.desk.events.listing
        rows = len(events)
        await play.press("space")
        play.server.events_happened(fresh(3))
        await play.until_shown("paused +3")
        assert len(events) == rows
        await play.press("space")
        assert len(events) == rows + 3


async def test_new_events_are_marked_until_they_were_looked_at() -> None:
    async with stage() as play:
        await play.press("1")
        play.server.events_happened(fresh(2))
        await play.until_shown("2 new")
        assert "│*" in play.picture
        await play.press("2", "1")
        assert "2 new" not in play.picture


async def test_commands() -> None:
    async with stage(node=ScriptedNode(team=False)) as play:
        for command, expected in (
            ("create alpha", CreateTeam("alpha")),
            ("join MC1ABC", JoinTeam("MC1ABC")),
            ("note hello", SendNote("hello")),
        ):
            await play.press("colon")
            await play.type(command)
            await play.press("enter")
            await play.until(lambda expected=expected: expected in play.node.commands)  # type: ignore[misc]
        await play.press("colon")
        await play.type("fly")
        await play.press("enter")
        await play.until(lambda: "no command fly" in play.notice)
        await play.press("escape", "colon")
        await play.type("rotate")
        await play.press("enter")
        await play.until_shown("Turn the team's key?")
        await play.press("r")
        await play.until(lambda: RotateKey() in play.node.commands)
        for command, asks in (("create", "name of the new team"), ("join", "invite"), ("filter", "filter")):
            await play.press("colon")
            await play.type(command)
            await play.press("enter")
            await play.until(
                lambda asks=asks: (question := play.app.desk.entry_line.question) and question.label == asks  # type: ignore[misc]
            )
            await play.press("escape")


async def test_palette_help_and_theme() -> None:
    async with stage() as play:
        await play.press("ctrl+p")
        await play.until_shown("what do you want")
        await play.type("storage")
        await play.press("down", "up", "enter")
        await play.until(lambda: play.app.desk.current == "storage")
        await play.press("question_mark")
        await play.until_shown("WHAT IT DOES")
        shown = ""
        for _ in range(8):
            shown += play.picture
            await play.press("pagedown")
        missing = [action.title for action in ACTIONS if action.title[:30] not in shown]
        assert missing == []
        await play.press("escape")
        before = play.app.theme
        await play.press("t")
        await play.until_shown("saves it")
        await play.press("j")
        picked = play.app.theme
        assert picked != before
        await play.press("escape")
        assert play.app.theme == before
        await play.press("t")
        await play.until_shown("saves it")
        await play.press("j", "enter")
        await play.until(lambda: "On this console only" in play.notice)
        assert play.app.theme == picked
        assert not sent(play, SetConfig)
        await play.press("t")
        await play.until_shown("saves it")
        await play.press("s")
        await play.until(lambda: "from now on" in play.notice)
        assert sent(play, SetConfig) == [SetConfig({"console": {"theme": picked.removeprefix("mc-")}})]
        await play.press("colon")
        await play.type("theme field-red")
        await play.press("enter")
        await play.until(lambda: play.app.theme == "mc-field-red")
        await play.press("R")
        assert "attached" in play.notice


async def test_settings() -> None:
    async with stage(height=40) as play:
        await play.press("s")
        await play.until_shown("Listens on")
        await play.press("enter")
        await play.until(lambda: len(play.app.screen_stack) == 3)
        await play.press("2", "enter")
        await play.until_shown("next start")
        await play.press("j", "j", "enter")
        await play.until_shown("Nostr relay: saved.")
        assert sent(play, SetConfig)[1:] == [SetConfig({"capabilities": {"nostr_relay": False}})]
        await play.press("j", "j", "j", "space")
        await play.until_shown("most that events and files")
        await play.press("backspace", "backspace", "backspace", "4", "0", "enter")
        await play.until(lambda: play.node.config.limits.max_storage_mb == 40)
        await play.until_shown("40 MB")
        await play.press("enter")
        await play.until(lambda: len(play.app.screen_stack) == 3)
        await play.press("x", "enter")
        await play.until_shown("does not fit")
        assert play.node.config.limits.max_storage_mb == 40
        for _ in range(9):
            await play.press("j")
        await play.press("enter")
        await play.until(lambda: play.node.config.console.theme != "field-dark")
        await play.until(lambda: play.app.theme == f"mc-{play.node.config.console.theme}")
        await play.press("j", "j", "enter")
        await play.until_shown("Less is less traffic")
        await play.press("backspace", "backspace", "backspace", "2", "enter")
        await play.until(lambda: play.node.config.console.frames_per_second == 2)
        await play.press("escape")


async def test_leaving_asks_and_the_harmless_answer_has_the_cursor() -> None:
    async with stage() as play:
        await play.press("q")
        await play.until_shown("Keep it running")
        await play.press("escape")
        assert play.app.is_running
        await play.press("q")
        await play.until_shown("Keep it running")
        await play.press("c")
        assert play.app.is_running
        await play.press("ctrl+c")
        assert "q asks" in play.notice
        await play.press("ctrl+q")
        await play.until_shown("Keep it running")
        await play.press("enter")
        await play.until(lambda: play.app._exit)
        assert not play.node.stopped
        assert play.app.return_code == 0


async def test_stopping_the_node_on_leaving() -> None:
    async with stage() as play:
        await play.press("q")
        await play.until_shown("Stop the node")
        await play.press("s")
        await play.until(lambda: play.app._exit)
        assert sent(play, Stop) == [Stop()]


async def test_a_read_only_console_changes_nothing() -> None:
    async with stage(read_only=True) as play:
        assert "read-only" in play.picture
        assert "n Note" not in play.picture
        before = list(play.node.commands)
        for action in ACTIONS:
            if action.changes:
                play.app.desk.current = action.pane or "events"
                play.app.desk.action_do(action.id, "x")
                await play.pilot.pause()
                assert "read-only" in play.notice
        assert play.node.commands == before
        await play.press("s")
        await play.until_shown("Listens on")
        await play.press("j", "j", "enter")
        await play.until_shown("This console is read-only.")
        assert play.node.commands[len(before) :] == play.node.commands[-1:]
        await play.press("escape", "q")
        await play.until(lambda: play.app._exit)


def look(play: Stage) -> tuple[object, ...]:
    """What a person sees of the console, colours and cursors included."""
    lines = play.app.desk.active_list
    cursor = (lines.listing.cursor, lines.listing.paused) if lines else None
    return play.picture, cursor, play.app.focused, play.app.screen, play.app.theme, play.app.clipboard


async def test_every_action_answers() -> None:
    """By its first key where it has one. Something on the screen changes, or a sentence says why not."""
    async with stage() as play:
        desk = play.app.desk
        for action in ACTIONS:
            if action.id in ("app.quit", "view.back", "view.events"):
                continue
            desk.go_to(action.pane or "events")
            desk.events.to_start()
            desk.events.move(3)
            desk.say("", "")
            await play.settle()
            before = look(play)
            if action.keys:
                await play.press(action.keys[0])
            else:
                desk.action_do(action.id)
            await play.until(lambda before=before: look(play) != before)  # type: ignore[misc]
            while play.app.screen is not desk:
                await play.press("escape")
            desk.entry_line.close()


async def test_keys_that_come_in_a_bunch_are_taken_one_after_the_other() -> None:
    """Over a slow line "n", the words and Enter arrive at once; none of them may become a command."""
    async with stage() as play:
        await play.press("n", *"quit", "space", *"saxz", "enter")
        await play.until(lambda: sent(play, SendNote))
        assert sent(play, SendNote) == [SendNote("quit saxz")]
        assert play.app.screen is play.app.desk
        await play.press("escape", "slash", *"medic", "enter", "1", "z")
        await play.until(lambda: where(play) == ("peers", "peers"))
        assert play.app.desk.events.listing.filter == "medic"
