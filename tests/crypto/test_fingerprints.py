"""One fingerprint in three forms: each is read back, and no slip of the tongue or finger gives another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import MeshconsoleError, Refused
from meshconsole.crypto.bundle import fingerprint
from meshconsole.crypto.fingerprints import in_code, in_groups, in_words, read_fingerprint

BITS = st.binary(min_size=20, max_size=20)
KNOWN = bytes(range(20))


def test_the_forms_never_change() -> None:
    """What is printed on paper must be comparable for ever."""
    assert in_groups(KNOWN) == "000G 40R4 0M30 E209 185G R38E 1W81 24GK"
    assert " ".join(in_words(KNOWN)).startswith("academic again category ruin aircraft branch husky adjust")
    assert in_code(KNOWN) == "mcfp1qqqsyqcyq5rqwzqfpg9scrgwpugpzysnf2uv22"


def test_it_is_the_beginning_of_the_bundle_hash() -> None:
    assert read_fingerprint(fingerprint(KNOWN + b"the rest")) == KNOWN


@given(BITS)
def test_every_form_is_read_back(bits: bytes) -> None:
    words = in_words(bits)
    assert len(words) == 16
    spellings = (
        in_groups(bits),
        in_groups(bits).lower().replace(" ", "-"),
        in_groups(bits).replace("0", "o").replace("1", "l"),
        " ".join(words),
        "  ".join(words).upper(),
        "\n".join(word[:4] for word in words),
        in_code(bits),
        in_code(bits).upper(),
    )
    assert {read_fingerprint(text) for text in spellings} == {bits}


@given(BITS, st.integers(0, 159))
def test_one_bit_shows_in_every_form(bits: bytes, at: int) -> None:
    other = (int.from_bytes(bits, "big") ^ 1 << at).to_bytes(20, "big")
    for form in (in_groups, in_words, in_code):
        assert form(bits) != form(other)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "32 characters"),
        ("000G 40R4", "these are 8"),
        ("000G 40R4 0M30 E209 185G R38E 1W81 24GU", "Character 32"),
        (" ".join((*in_words(KNOWN)[:15], "zebra")), "Word 16"),
        (" ".join((*in_words(KNOWN), "again")), "these are 17"),
        (in_code(KNOWN)[:-1] + "3", "typing error"),
        ("mcfp1" + "q" * 40, "typing error"),
        ("x" * 600, "too long"),
        ("\u0627" * 32, "Character 1"),
    ],
)
def test_what_is_none_is_told_so(text: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        read_fingerprint(text)


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert len(read_fingerprint(text)) == 20
    except MeshconsoleError:
        return
