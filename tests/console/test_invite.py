"""The QR code: what is drawn is what was made, in every glyph set, and where it does not fit it says so."""

from __future__ import annotations

import pytest
import segno

from meshconsole.console.profile import GlyphSet, Profile
from meshconsole.console.screens.invite import QUIET, Code, qr_lines, qr_matrix
from tests.console.field import INVITE
from tests.console.stage import stage

HALVES = {" ": (True, True), "▄": (True, False), "▀": (False, True), "█": (False, False)}


def read_back(lines: list[str], glyphs: GlyphSet) -> list[list[bool]]:
    """Modules, True is dark, as a camera sees them on a dark terminal."""
    if glyphs == "unicode":
        return [[HALVES[sign][half] for sign in line] for line in lines for half in (0, 1)]
    return [[line[x] == " " for x in range(0, len(line), 2)] for line in lines]


@pytest.mark.parametrize("glyphs", ["unicode", "console", "ascii"])
@pytest.mark.parametrize("text", ["MC1", INVITE, INVITE + "A" * 40])
def test_every_module_is_drawn(text: str, glyphs: GlyphSet) -> None:
    made = [
        [bool(module) for module in row]
        for row in segno.make(text, error="l", micro=False, boost_error=False).matrix
    ]
    drawn = read_back(qr_lines(qr_matrix(text), glyphs), glyphs)
    size = len(made)
    inner = [row[QUIET : QUIET + size] for row in drawn[QUIET : QUIET + size]]
    assert inner == made
    assert not any(any(row) for row in drawn[:QUIET])
    assert not any(row[side] for row in drawn[: size + 2 * QUIET] for side in (0, 1, size + 2, size + 3))


def test_an_invite_fits_beside_its_text_in_eighty_columns() -> None:
    code = Code(INVITE, Profile("true", "unicode", mouse=False, fps=4.0))
    columns, lines = code.need
    assert columns + 26 <= 80
    assert lines <= 24


async def test_a_terminal_without_room_shows_the_text_and_what_the_code_needs() -> None:
    async with stage(60, 20) as play:
        await play.press("i")
        await play.until_shown("The QR code needs")
        assert "█" not in play.picture
        assert INVITE[:20] in play.picture
        await play.pilot.resize_terminal(100, 30)
        await play.until_shown("█▀")
        await play.press("escape")
