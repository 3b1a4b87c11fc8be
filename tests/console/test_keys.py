"""A walk over the desk by keyboard: every action, by its keys or its command, and what it leaves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from textual.events import Paste

from meshconsole.console.actions import ACTIONS, DASHBOARD, PANES
from meshconsole.control.config import SetConfig
from meshconsole.control.files import AddBlob, ExportCar, FetchBlob, GetBlob, PauseFetch, Pin, Unpin
from meshconsole.control.guests import AdmitGuest, RemoveGuest
from meshconsole.control.messages import Stop
from meshconsole.control.notes import SendDirect, SendNote, SendPlain
from meshconsole.control.team import AgreeToProposal, CreateTeam, JoinTeam, RemoveMember, RotateKey, SetRole
from meshconsole.core.kinds import TEAM_NOTE
from meshconsole.core.status import GuestStatus, ProposalStatus
from tests.console.feed import an_event
from tests.console.field import INVITE, NOW, npub_of
from tests.console.scripted import ScriptedNode
from tests.console.stage import Stage, stage

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from meshconsole.control.messages import Command, Reply
    from meshconsole.control.server import Report
    from meshconsole.core.status import EventView


def sent(play: Stage, command: type) -> list[object]:
    return [one for one in play.node.commands if isinstance(one, command)]


def where(play: Stage) -> tuple[str, str | None]:
    """The current pane and the one that is shown alone."""
    return play.app.desk.current, play.app.desk.single


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


async def test_notes() -> None:
    async with stage() as play:
        await play.press("n")
        await play.type("on the net")
        await play.press("enter")
        await play.until_shown("on the net")
        assert sent(play, SendNote) == [SendNote("on the net")]
        await play.until(lambda: play.app.desk.entry_line.entry.value == "")
        play.node.refuse = "The quota is full."
        await play.type("again")
        await play.press("enter")
        await play.until_shown("The quota is full.")
        assert play.app.desk.entry_line.entry.value == "again"
        await play.press("escape")
        assert not play.app.desk.entry_line.display
        await play.press("c", "enter", "escape")
        assert len(sent(play, SendNote)) == 2


async def test_a_line_that_was_left_while_its_note_is_sent_stays_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    goes_on = asyncio.Event()
    async with stage() as play:
        handle = play.node.handle

        async def slow(command: Command, report: Report) -> Reply:
            if isinstance(command, SendNote):
                await goes_on.wait()
            return await handle(command, report)

        monkeypatch.setattr(play.node, "handle", slow)
        await play.press("n", "x", "enter")
        await play.press("escape")
        goes_on.set()
        await play.until(lambda: "Sent" in play.notice)
        await play.press("3")
        assert not play.app.desk.entry_line.display
        assert where(play) == ("storage", None)


async def test_no_file_is_named_to_a_node_on_another_machine() -> None:
    """It would open a file of its own by that name: not the one that is meant, and perhaps a private one."""
    async with stage(no_paths="The node is elsewhere.") as play:
        desk = play.app.desk
        play.app.on_paste(Paste("/etc/hostname"))
        assert (play.notice, desk.entry_line.question) == ("The node is elsewhere.", None)
        await play.press("5", "g", "j", "j")
        for typed in ("add", "add /etc/hostname", "get", "get /tmp/out", "car", "car /tmp/out.car"):
            desk.say("")
            await play.press("colon")
            desk.entry_line.entry.value = typed
            await play.press("enter")
            await play.until(lambda: play.notice == "The node is elsewhere.")
            assert desk.entry_line.question is None, typed
        assert [*sent(play, AddBlob), *sent(play, GetBlob), *sent(play, ExportCar)] == []


async def test_files(tmp_path: Path) -> None:
    (tmp_path / "plan.pdf").write_text("plan")
    async with stage() as play:
        await play.press("a")
        entry = play.app.desk.entry_line.entry
        entry.value = str(tmp_path / "pl")
        await play.press("tab")
        assert entry.value == str(tmp_path / "plan.pdf")
        await play.press("enter")
        await play.until_shown("Added plan.pdf.")
        assert sent(play, AddBlob) == [AddBlob(str(tmp_path / "plan.pdf"))]
        await play.press("a")
        entry.value = str(tmp_path / "absent")
        await play.press("enter")
        await play.until_shown("There is no ")
        await play.press("escape", "5", "g", "j", "j", "enter")
        await play.until(lambda: play.app.desk.entry_line.question is not None)
        assert entry.value.endswith("/blood-list.pdf")
        entry.value = str(tmp_path / "out.pdf")
        await play.press("enter")
        await play.until_shown("Saved")
        (fetched,) = sent(play, GetBlob)
        assert isinstance(fetched, GetBlob)
        assert fetched.destination == str(tmp_path / "out.pdf")
        await play.until(lambda: play.node.blobs[fetched.cid].state == "here")
        assert play.app.desk.model.transfers == {}
        await play.press("f")
        entry.value = str(tmp_path / "plan.pdf")
        await play.press("enter")
        await play.until(lambda: "is there already" in play.notice)
        await play.press("p")
        await play.until(lambda: sent(play, Pin))
        await play.until(lambda: play.app.desk.model.blobs[fetched.cid].pinned)
        await play.press("p")
        await play.until(lambda: sent(play, Unpin))
        await play.press("y")
        assert play.app.clipboard == fetched.cid


async def test_a_file_is_read_paused_carried_away_and_dropped_on_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "a b.txt").write_text("plan")
    async with stage() as play:
        desk = play.app.desk
        await play.press("5", "g", "v")
        await play.until_shown("water at the north well")
        assert "\x1b]52" not in play.picture
        await play.press("escape", "g", "j", "j", "w")
        await play.until(lambda: sent(play, FetchBlob))
        (begun,) = sent(play, FetchBlob)
        assert isinstance(begun, FetchBlob)
        await play.until(lambda: desk.model.blobs[begun.cid].state == "fetching")
        await play.press("w")
        await play.until(lambda: sent(play, PauseFetch))
        await play.press("x")
        desk.entry_line.entry.value = str(tmp_path / "out.car")
        await play.press("enter")
        await play.until(
            lambda: sent(play, ExportCar) == [ExportCar((begun.cid,), str(tmp_path / "out.car"))]
        )
        await play.until(lambda: desk.entry_line.question is None)
        play.app.post_message(Paste(f"'{tmp_path}/a b.txt' "))
        await play.until(lambda: desk.entry_line.question is not None)
        assert desk.entry_line.entry.value == str(tmp_path / "a b.txt")
        await play.press("enter")
        await play.until(lambda: sent(play, AddBlob) == [AddBlob(str(tmp_path / "a b.txt"))])


async def test_how_fast_a_file_comes_and_when_it_will_be_here() -> None:
    async with stage() as play:
        desk = play.app.desk
        blob = next(blob for blob in desk.model.files() if blob.state == "fetching")
        for second in range(6):
            now = desk.clock() - 5 + second
            held = msgspec.structs.replace(blob, present_bytes=second * 1000, sealed_size=65_000)
            desk.model.take_blobs((held,), now)
        desk.files.show(desk.model, desk.clock())
        await play.press("5")
        await play.until_shown("1.0 kB/s 1m")


async def test_what_waits_for_a_second_admin() -> None:
    node = ScriptedNode()
    team = node.status_now.team
    assert team is not None
    waiting = ProposalStatus("ab" * 32, npub_of("falcon-1"), "falcon-1", "admit [red]x as admin", int(NOW))
    node.status_now = msgspec.structs.replace(
        node.status_now, team=msgspec.structs.replace(team, proposals=(waiting,))
    )
    async with stage(node=node) as play:
        await play.press("6")
        await play.until_shown("1 to agree to")
        await play.press("A")
        await play.until_shown("agree: admit [red]x as admin")
        assert not sent(play, AgreeToProposal)
        await play.press("j", "enter")
        await play.until(lambda: sent(play, AgreeToProposal))
        assert sent(play, AgreeToProposal) == [AgreeToProposal("ab" * 32)]


async def command(play: Stage, words: str) -> None:
    await play.press("colon")
    await play.type(words)
    await play.press("enter")


async def test_a_browser_that_asks_is_let_in_by_its_code() -> None:
    node = ScriptedNode()
    asks = GuestStatus("cd" * 32, "An[b]na", "waiting", NOW, code="048213")
    here = GuestStatus("ef" * 32, "Ben", "here", NOW, until=NOW + 3600)
    async with stage(node=node) as play:
        await command(play, "guest")
        assert "meshconsole guest open" in play.notice
    node.status_now = msgspec.structs.replace(node.status_now, guests=(asks, here))
    async with stage(node=node) as play:
        await command(play, "guest")
        await play.until_shown("let in 048 213")
        await play.until_shown("An[b]na")
        await play.until_shown("send away Ben")
        await play.press("j", "enter")
        await play.until(lambda: sent(play, AdmitGuest))
        assert sent(play, AdmitGuest) == [AdmitGuest("048213")]
        await command(play, "guest")
        await play.press("G", "enter")
        await play.until(lambda: sent(play, RemoveGuest))
        assert sent(play, RemoveGuest) == [RemoveGuest("ef" * 32)]


async def test_the_team() -> None:
    async with stage() as play:
        await play.press("X")
        assert "in the team pane (key 6)" in play.notice
        await play.press("6", "r")
        await play.until_shown("leave it as it is")
        await play.press("j", "enter")
        await play.until(lambda: sent(play, SetRole))
        assert sent(play, SetRole) == [SetRole(npub_of("falcon-1"), "member")]
        await play.press("j", "X")
        await play.until_shown("cannot be undone")
        await play.type("hub")
        await play.press("enter")
        await play.until_shown("That is not")
        assert not sent(play, RemoveMember)
        await play.press("backspace", "backspace", "backspace")
        await play.type("falcon-2")
        await play.press("enter")
        await play.until(lambda: sent(play, RemoveMember))
        assert sent(play, RemoveMember) == [RemoveMember(npub_of("falcon-2"))]
        await play.press("j", "X")
        assert play.notice == "That is this device."
        await play.press("enter")
        await play.until_shown("fingerprint")
        await play.press("escape", "i")
        await play.until_shown("INVITE")
        await play.press("y")
        assert play.app.clipboard == INVITE
        await play.press("escape")


async def test_a_message_to_one_device() -> None:
    async with stage() as play:
        team = play.node.status().team
        assert team is not None
        member = next(member for member in team.members if member.name == "medic")
        for words in ("to medic two bags", f"to {member.npub[:8]} two bags"):
            await play.press("colon")
            await play.type(words)
            await play.press("enter")
            await play.until(lambda: sent(play, SendDirect))
            assert sent(play, SendDirect)[-1] == SendDirect(member.npub, "two bags")
            await play.until(lambda: "Sent to medic" in play.notice)
        for words, why in (("to medic", "to whom and what"), ("to nobody hello", "no member")):
            await play.press("colon")
            await play.type(words)
            await play.press("enter")
            await play.until(lambda why=why: why in play.notice)  # type: ignore[misc]
        assert len(sent(play, SendDirect)) == 2


async def test_a_message_to_a_plain_key_says_what_it_is_not() -> None:
    async with stage() as play:
        for words, why in (("plain npub1x", "not post-quantum"), ("plain npub1x two bags", "Sent, not")):
            await play.press("colon")
            await play.type(words)
            await play.press("enter")
            await play.until(lambda why=why: why in play.notice)  # type: ignore[misc]
        assert sent(play, SendPlain) == [SendPlain("npub1x", "two bags")]


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
