"""The last gate before the terminal, against any text; and that the light parts load no Textual."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color

from meshconsole.console.guard import Guard
from meshconsole.console.profile import GLYPHS

TEXTS = st.text() | st.text("\x1b\x9b\x07\u202e\u2066\x00[]m;é中●─ a", max_size=30)


@given(TEXTS)
def test_no_control_character_passes(text: str) -> None:
    (segment,) = Guard("unicode").apply([Segment(text)], Color(0, 0, 0))
    assert not any(unicodedata.category(sign) in ("Cc", "Cf", "Cs") for sign in segment.text)


@given(TEXTS)
def test_in_ascii_nothing_else_passes_and_nothing_shifts(text: str) -> None:
    guard = Guard("ascii")
    (segment,) = guard.apply([Segment(text)], Color(0, 0, 0))
    assert segment.text.isascii()
    assert segment.text.isprintable()
    assert len(segment.text) == sum(cell_len(sign) for sign in Guard("unicode").clean(text))


def test_what_is_safe_already_is_handed_on_untouched() -> None:
    segments = [Segment("plain words")]
    assert Guard("unicode").apply(segments, Color(0, 0, 0))[0] is segments[0]


def test_our_own_signs_have_words_in_ascii() -> None:
    guard = Guard("ascii")
    for name in GLYPHS["unicode"].__slots__:
        sign = getattr(GLYPHS["unicode"], name)
        assert "?" not in guard.clean(sign) or name == "suspect"
    assert guard.clean("┌─┐│╭╮╰╯…") == "+-+|++++~"


def test_the_light_parts_load_no_textual() -> None:
    names = ("run", "profile", "words", "actions", "choices", "themes")
    imports = ", ".join(f"meshconsole.console.{name}" for name in names)
    code = f"import sys, {imports}; print({{'textual', 'rich', 'asyncio'}} & sys.modules.keys())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
