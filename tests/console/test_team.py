"""People at the desk: notes, messages, the team, its proposals and its guests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from meshconsole.control.guests import AdmitGuest, RemoveGuest
from meshconsole.control.notes import SendDirect, SendNote, SendPlain
from meshconsole.control.team import AgreeToProposal, RemoveMember, SetRole
from meshconsole.core.status import GuestStatus, ProposalStatus
from tests.console.field import INVITE, NOW, npub_of
from tests.console.scripted import ScriptedNode
from tests.console.stage import command, sent, stage, where

if TYPE_CHECKING:
    import pytest

    from meshconsole.control.messages import Command, Reply
    from meshconsole.control.server import Report


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
