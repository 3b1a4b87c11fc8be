"""Pictures of the desk as text. A change of one is read in the diff.

To take new ones:  UPDATE_GOLDENS=1 pytest tests/console/test_goldens.py
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from meshconsole.console.actions import PANES
from tests.console.scripted import ScriptedNode
from tests.console.stage import stage

if TYPE_CHECKING:
    from meshconsole.console.actions import PaneName
    from meshconsole.console.profile import GlyphSet

GOLDENS = Path(__file__).parent / "goldens"
SIZES = ((50, 16), (80, 24), (160, 48))
ABOVE: dict[str, tuple[tuple[str, ...], str]] = {
    "help": (("question_mark",), "WHAT IT DOES"),
    "settings": (("s",), "Listens on"),
    "quit": (("q",), "Keep it running"),
    "invite": (("i",), "INVITE"),
    "event": (("2", "enter"), "verdict"),
    "palette": (("ctrl+p",), "what do you want"),
    "theme": (("t",), "saves it"),
    "files": (("5",), "5 Files"),
    "team": (("6",), "FINGERPRINT"),
    "limits": (("4", "z"), "requests/s"),
    "map": (("9",), "WHO HEARS WHOM"),
    "storage": (("3", "z"), "more within"),
    "peers": (("1", "z"), "discovery"),
    "peer": (("1", "j", "j", "j", "j", "enter"), "round trips"),
}
"""The keys that open it, and what it shows then."""


def compare(name: str, picture: str) -> None:
    path = GOLDENS / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDENS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(picture)
    assert picture == path.read_text()


@pytest.mark.parametrize("content", ["busy", "empty"])
@pytest.mark.parametrize("glyphs", ["unicode", "ascii"])
async def test_the_desk(glyphs: GlyphSet, content: str) -> None:
    async with stage(node=ScriptedNode(team=content == "busy"), glyphs=glyphs) as play:
        for width, height in SIZES:
            await play.resize(width, height)
            lines = play.picture.splitlines()
            assert len(lines) == height
            assert max(map(len, lines)) <= width
            assert glyphs == "unicode" or play.picture.isascii()
            compare(f"desk-{content}-{width}x{height}-{glyphs}", play.picture)


async def test_a_wall_of_300x80_is_filled_and_the_smallest_terminal_comes_back() -> None:
    async with stage(node=ScriptedNode(team=True)) as play:
        await play.resize(300, 80)
        lines = play.picture.splitlines()
        assert len(lines) == 80
        assert max(map(len, lines)) == 300
        assert sum("─" * 40 in line for line in lines) >= 4, "panes side by side"
        await play.resize(50, 16)
        compare("desk-busy-50x16-unicode", play.picture)


@pytest.mark.parametrize("content", ["busy", "empty"])
@pytest.mark.parametrize("glyphs", ["unicode", "ascii"])
async def test_each_pane_alone(glyphs: GlyphSet, content: str) -> None:
    """A golden has the pane at all three sizes."""
    pictures: dict[PaneName, list[str]] = {name: [] for name in PANES}
    async with stage(node=ScriptedNode(team=content == "busy"), glyphs=glyphs) as play:
        await play.press("6", "7")
        await play.until(lambda: play.app.desk.audit.listing.rows)
        await play.until(lambda: content == "empty" or play.app.desk.team.invites)
        for width, height in SIZES:
            await play.resize(width, height)
            for name, taken in pictures.items():
                play.app.desk.go_to(name, zoom=True)
                await play.settle()
                assert glyphs == "unicode" or play.picture.isascii()
                taken.append(f"{width}x{height}\n{play.picture}")
    for name, taken in pictures.items():
        compare(f"panes/{name}-{content}-{glyphs}", "\n".join(taken))


async def test_what_stands_above_the_desk() -> None:
    async with stage() as play:
        for name, (keys, shows) in ABOVE.items():
            await play.press(*keys)
            await play.until_shown(shows)
            compare(name, play.picture)
            await play.press("escape")


async def test_the_linux_console_gets_only_signs_that_its_fonts_have() -> None:
    async with stage(glyphs="console", colour="16") as play:
        compare("desk-busy-80x24-console", play.picture)
        ours = {character for character in play.picture if not character.isascii()}
        assert ours <= set("█░●○°\N{MULTIPLICATION SIGN}·…┌┐└┘│─═║╔╗╚╝")
