"""The console and a node that goes, comes back, is locked, is silent, or drowns it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from meshconsole.console.app import Console
from meshconsole.console.model import SILENCE_S
from meshconsole.console.profile import Profile
from meshconsole.control.keys import Unlock
from meshconsole.control.messages import EventsPush, Notice
from meshconsole.control.server import ControlServer
from meshconsole.core.kinds import TEAM_NOTE
from tests.console.feed import an_event
from tests.console.field import NOW
from tests.console.scripted import ScriptedNode
from tests.console.stage import stage

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_a_node_that_goes_is_said_to_be_gone_and_one_that_returns_to_be_back() -> None:
    async with stage() as play:
        await play.server.stop("The node has stopped.")
        await play.until_shown("What you see is from")
        assert "peers unknown" in play.picture
        assert "5/8" not in play.picture.splitlines()[0]
        assert play.app.desk.query_one("#panes").has_class("-stale")
        await play.press("n")
        await play.type("anyone")
        await play.press("enter")
        await play.until(lambda: "cannot be reached" in play.notice)
        await play.press("escape")
        again = ControlServer(play.server.path, play.node, asyncio.get_running_loop().time)
        await again.start()
        await play.press("R")
        await play.until(lambda: play.app.desk.model.link == "attached")
        assert play.notice == "The node is back."
        assert "peers 5/8 up" in play.picture
        assert not play.app.desk.query_one("#panes").has_class("-stale")
        await again.stop()


async def test_without_a_node_leaving_asks_nothing() -> None:
    async with stage() as play:
        await play.server.stop()
        await play.until(lambda: play.app.desk.model.link == "lost")
        await play.press("q")
        await play.until(lambda: play.app._exit)


async def test_a_silent_node_is_not_taken_for_a_well_one() -> None:
    async with stage() as play:
        desk = play.app.desk
        desk._check_silence()
        assert desk.model.link == "attached"
        desk.clock = lambda: NOW + SILENCE_S + 1
        desk._check_silence()
        await play.until_shown("has not said anything")
        play.server.notice(Notice(NOW, "info", "Here I am."))
        await play.until(lambda: desk.model.link == "attached")


async def test_a_locked_home_is_opened_with_its_passphrase() -> None:
    async with stage(node=ScriptedNode(passphrase="open sesame"), attached=False) as play:
        await play.until_shown("Passphrase")
        await play.type("wrong")
        assert "wrong" not in play.picture
        await play.press("enter")
        await play.until_shown("That is not the passphrase.")
        await play.type("open sesame")
        await play.press("enter")
        await play.until(lambda: play.app.desk.model.link == "attached")
        assert [type(command) for command in play.node.commands[:2]] == [Unlock, Unlock]


async def test_giving_up_on_the_passphrase_leaves() -> None:
    async with stage(node=ScriptedNode(passphrase="x"), attached=False) as play:
        await play.until_shown("Passphrase")
        await play.press("escape")
        await play.until(lambda: play.app._exit)


async def test_notices_are_shown_and_kept() -> None:
    async with stage() as play:
        play.server.notice(Notice(NOW, "critical", "The disk is full.", "Free some space."))
        await play.until_shown("critical: The disk is full. Free some space.")
        await play.press("8")
        await play.until_shown("Free some space")
        assert "altered and set aside" in play.picture
        await play.press("j", "enter")
        await play.until_shown("to do")


async def test_events_that_came_while_attaching_are_not_listed_twice() -> None:
    async with stage() as play:
        rows = len(play.app.desk.events.listing)
        play.server.events_happened([play.node.events[-1]])
        fresh = an_event(999, "medic", TEAM_NOTE, "only once", at=NOW)
        play.server.events_happened([fresh])
        await play.until_shown("only once")
        assert len(play.app.desk.events.listing) == rows + 1


async def test_what_was_left_out_is_counted() -> None:
    async with stage() as play:
        play.app.desk.pushed(EventsPush((), 12))
        await play.until_shown("12 not shown, too many at once")


async def test_a_terminal_that_shrinks_and_grows() -> None:
    async with stage() as play:
        await play.pilot.resize_terminal(20, 5)
        await play.until_shown("Too small")
        assert "20x5" in play.picture
        assert all(len(line) <= 20 for line in play.picture.splitlines())
        await play.pilot.resize_terminal(60, 20)
        await play.until_shown("2 Events")


async def test_a_hundred_thousand_events_are_drawn_and_scrolled() -> None:
    async with stage() as play:
        listing = play.app.desk.events.listing
        listing.capacity = 100_000
        template = play.node.events[0]
        play.app.desk.events.replace([template] * 100_000)
        await play.press("g")
        assert listing.cursor == 0
        for _ in range(20):
            await play.press("pagedown")
        assert listing.top > 50
        await play.press("G")
        assert listing.cursor == 99_999
        assert "following" in play.picture


async def test_what_only_the_start_used_is_let_go_of_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("meshconsole.console.app.SETTLED_S", 0.001)
    told: list[bool] = []
    profile = Profile("true", "unicode", mouse=False, fps=1.0)
    app = Console(tmp_path / "none", profile, theme="field-dark", settled=lambda: told.append(True))
    async with app.run_test() as pilot:
        for _ in range(1000):
            await pilot.pause(0.001)
            if told:
                break
        await pilot.pause()
    assert told == [True]
