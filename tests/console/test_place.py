"""The desk is as it was left: pane, filter, and the row under the cursor."""

from __future__ import annotations

from meshconsole.control.desk import KeepDesk
from tests.console.field import npub_of
from tests.console.scripted import ScriptedNode
from tests.console.stage import stage


async def test_a_new_console_goes_on_where_the_last_one_was() -> None:
    node = ScriptedNode()
    async with stage(node=node) as play:
        await play.press("6", "slash")
        await play.type("falcon")
        await play.press("enter", "j")
        await play.app._keep_place()
        assert node.desk == KeepDesk("team", True, "falcon", npub_of("falcon-2"))
        asked = len(node.commands)
        await play.app._keep_place()
        assert len(node.commands) == asked
    async with stage(node=node) as play:
        desk = play.app.desk
        assert (desk.current, desk.single) == ("team", "team")
        assert desk.team.listing.filter == "falcon"
        member = desk.team.listing.current()
        assert member is not None
        assert member.name == "falcon-2"


async def test_an_event_is_found_again_and_what_is_followed_is_followed() -> None:
    node = ScriptedNode()
    node.desk = KeepDesk("events", False, "", node.events[10].id)
    async with stage(node=node) as play:
        row = play.app.desk.events.listing.current()
        assert row is not None
        assert row.id == node.events[10].id
        await play.press("G")
        await play.app._keep_place()
    assert node.desk == KeepDesk("events")
    async with stage(node=node) as play:
        assert play.app.desk.events.listing.follow


async def test_what_is_not_there_any_more_is_passed_over() -> None:
    node = ScriptedNode()
    node.desk = KeepDesk("attic", True, "x", "gone")
    async with stage(node=node) as play:
        assert play.app.desk.current == "events"
    node.desk = KeepDesk("peers", True, "", "gone")
    async with stage(node=node) as play:
        assert (play.app.desk.current, play.app.desk.single) == ("peers", "peers")


async def test_a_read_only_console_keeps_nothing() -> None:
    node = ScriptedNode()
    async with stage(node=node, read_only=True) as play:
        await play.press("1")
        await play.app._keep_place()
    assert node.desk is None
