"""Privacy mode: at once nothing that people wrote, no name, no address. And copying, with a way around."""

from __future__ import annotations

import msgspec
import pytest

from meshconsole.console import clipboard
from meshconsole.console.actions import PANES
from meshconsole.console.clipboard import MOST_BYTES, copy_text, way
from meshconsole.control.team import RemoveMember
from meshconsole.core.kinds import TEAM_NOTE
from meshconsole.core.status import ProposalStatus, RollCallStatus, RollStatus
from tests.console.feed import an_event
from tests.console.field import NAMES, NOW, npub_of
from tests.console.scripted import ScriptedNode
from tests.console.stage import stage
from tests.console.test_goldens import compare

SECRETS = (
    *NAMES,
    "falcon-3",
    "alpha",
    "192.0.2",
    "198.51",
    "stretcher",
    "geojson",
    "water rises",
    "radio check",
)


def telling() -> ScriptedNode:
    node = ScriptedNode()
    flash = an_event(901, "medic", TEAM_NOTE, "water rises", at=NOW, precedence="flash")
    node.events.append(flash)
    node.status_now = msgspec.structs.replace(node.status_now, unread=(flash,))
    return node


@pytest.mark.parametrize("size", [(50, 16), (160, 48)])
async def test_nothing_is_told_in_any_pane(size: tuple[int, int]) -> None:
    async with stage(*size, node=telling()) as play:
        await play.press("P")
        await play.until_shown("PRIVACY MODE")
        for number in range(1, len(PANES) + 1):
            await play.press(str(number))
            if PANES[number - 1] == "audit":
                await play.until(lambda: len(play.app.desk.audit.listing) == 4)
            await play.until(lambda: not any(secret in play.picture for secret in SECRETS))
        assert "A FLASH note has come." in play.picture
        await play.press("2", "enter")
        await play.until_shown("verdict")
        await play.until(lambda: not any(secret in play.picture for secret in SECRETS))
        await play.press("escape", "P")
        assert "Everything is shown." in play.notice
        await play.until_shown("water rises")


async def test_nothing_is_told_in_any_dialog() -> None:
    node = telling()
    call = RollCallStatus(
        "07" * 32,
        npub_of("medic"),
        "medic",
        "radio check",
        NOW - 60,
        board=(RollStatus(npub_of("hub"), "hub", "silent"),),
    )
    proposal = ProposalStatus("0a1b2c3d", npub_of("falcon-1"), "falcon-1", "remove base", int(NOW))
    team = node.status_now.team
    assert team is not None
    team = msgspec.structs.replace(team, proposals=(proposal,))
    node.status_now = msgspec.structs.replace(node.status_now, roll_call=call, team=team)
    async with stage(node=node) as play:
        desk = play.app.desk

        def told() -> list[str]:
            picture = play.picture.replace("WebRTC hub", "")
            return [secret for secret in SECRETS if secret in picture]

        await play.press("P")
        for keys, shown, leave in (
            (("6", "g", "r"), "Role of ######", "escape"),
            (("X",), "Remove ######?", "escape"),
            (("A",), "agree: ######", "escape"),
            (("b",), "silent", "escape"),
            (("C",), "roll call of ######", "escape"),
            (("n",), "note to ######", "escape"),
            (("s",), "Listens on", "escape"),
            (("5", "g", "f"), "save as", "escape"),
            (("2", "slash", *"medic", "enter"), "filter /######", "escape"),
        ):
            await play.press(*keys)
            await play.until_shown(shown)
            assert told() == [], play.picture
            await play.press(leave)
        await play.press("i")
        assert "P first" in play.notice
        assert play.app.screen is desk
        await play.press("6", "g", "X")
        await play.until_shown("Type remove to do it.")
        await play.type("remove")
        await play.press("enter")
        await play.until(lambda: any(isinstance(one, RemoveMember) for one in node.commands))


async def test_how_it_looks() -> None:
    async with stage(glyphs="ascii") as play:
        await play.press("P")
        await play.until_shown("P shows them")
        await play.until(lambda: "falcon" not in play.picture)
        compare("privacy", play.picture)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-256color"}, "osc52"),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/tmux-0/default,1,0"}, "tmux"),
        ({"TERM": "screen"}, "none"),
        ({"TERM": "linux"}, "none"),
    ],
)
def test_how_a_text_is_copied(environment: dict[str, str], expected: str) -> None:
    assert way(environment) == expected


async def test_what_cannot_be_copied_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage() as play:
        assert "too long" in await copy_text(play.app, "x" * (MOST_BYTES + 1))
        monkeypatch.setenv("TERM", "linux")
        monkeypatch.delenv("TMUX", raising=False)
        assert "no clipboard" in await copy_text(play.app, "x")
        assert play.app.clipboard == ""

        async def refuses(_: str) -> bool:
            return False

        monkeypatch.setenv("TMUX", "here")
        monkeypatch.setattr(clipboard, "_into_tmux", refuses)
        assert "if it allows that" in await copy_text(play.app, "some id")
        assert play.app.clipboard == "some id"


async def test_what_is_copied_can_be_shown() -> None:
    async with stage() as play:
        row = play.app.desk.events.listing.current()
        assert row is not None
        await play.press("Y")
        await play.until_shown("To select")
        assert row.id[:40] in play.picture
        await play.press("escape")
