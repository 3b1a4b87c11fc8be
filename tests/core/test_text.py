"""Nothing that a stranger wrote can drive a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.text import REPLACEMENT, safe, safe_lines

any_text = st.text(st.characters(exclude_categories=()))
DANGEROUS = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


@given(any_text)
def test_no_dangerous_character_passes(text: str) -> None:
    assert not [char for char in safe(text) if unicodedata.category(char) in DANGEROUS]


@given(any_text)
def test_it_is_one_line_of_the_same_length(text: str) -> None:
    shown = safe(text)
    assert len(shown) == len(text)
    assert len(shown.splitlines()) <= 1


@given(any_text)
def test_safe_text_stays_as_it_is(text: str) -> None:
    assert safe(safe(text)) == safe(text)


@given(any_text, st.integers(1, 50))
def test_the_limit_holds_and_a_cut_is_seen(text: str, limit: int) -> None:
    shown = safe(text, limit)
    assert len(shown) <= limit
    assert (shown == safe(text)) if len(text) <= limit else shown.endswith("~")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("all set", "all set"),
        ("na\u00efve \u5199\u771f \U0001f985", "na\u00efve \u5199\u771f \U0001f985"),
        ("two\nlines\tand\rmore", "two lines and more"),
        ("\x1b[31mred", f"{REPLACEMENT}[31mred"),
        ("\x1b]52;c;aGk=\x07", f"{REPLACEMENT}]52;c;aGk={REPLACEMENT}"),
        ("\x9b31m", f"{REPLACEMENT}31m"),
        ("abc\u202edef", f"abc{REPLACEMENT}def"),
        ("zero\u200bwidth\ufeff", f"zero{REPLACEMENT}width{REPLACEMENT}"),
        ("\u2028line", f"{REPLACEMENT}line"),
        ("\ud800 half", f"{REPLACEMENT} half"),
        ("\x00\x7f", REPLACEMENT * 2),
        ("[@click=app.quit]press[/]", "[@click=app.quit]press[/]"),
    ],
)
def test_examples(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_lines_are_kept_apart_and_each_is_safe() -> None:
    assert safe_lines("one\n\x1btwo\r\nthree") == ["one", f"{REPLACEMENT}two", "three"]
