"""Bech32 against the examples of BIP-173 and NIP-19, and against typing errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import Refused
from meshconsole.crypto import bech32

PREFIXES = st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8)
ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


@given(PREFIXES, st.binary(max_size=80))
def test_data_come_back_in_either_case(prefix: str, data: bytes) -> None:
    text = bech32.encode(prefix, data)
    assert bech32.decode(text) == (prefix, data)
    assert bech32.decode(text.upper()) == (prefix, data)


@given(st.binary(min_size=32, max_size=32), st.data())
def test_every_single_typing_error_is_found(seed: bytes, data: st.DataObject) -> None:
    text = bech32.encode("mcseed", seed)
    at = data.draw(st.integers(len("mcseed1"), len(text) - 1))
    wrong = data.draw(st.sampled_from([char for char in ALPHABET if char != text[at]]))
    with pytest.raises(Refused, match="checksum"):
        bech32.decode(text[:at] + wrong + text[at + 1 :])


@given(st.text(max_size=100))
def test_any_text_is_canonical_or_refused(text: str) -> None:
    try:
        prefix, data = bech32.decode(text)
    except Refused:
        return
    assert bech32.encode(prefix, data) == text.lower()


@pytest.mark.parametrize("text", ["A12UEL5L", "a12uel5l"])
def test_the_empty_example_of_bip173(text: str) -> None:
    assert bech32.decode(text) == ("a", b"")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "incomplete"),
        ("npub", "incomplete"),
        ("npub1qqq", "incomplete"),
        ("1qzzfhee", "incomplete"),
        ("A1G7SGD8", "checksum"),
        ("a12UEL5L", "mixes"),
        ("x1b4n0q5v", "position 3"),
        ("\x7f1axkwrx", "does not belong"),
        ("q" * 1001, "too long"),
    ],
)
def test_what_is_wrong_is_named(text: str, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        bech32.decode(text)


@pytest.mark.parametrize("text", ["a1lmyple6", "a1q3g6mn3"], ids=["set bits", "a whole spare group"])
def test_stray_bits_at_the_end_are_refused(text: str) -> None:
    with pytest.raises(Refused, match="stray bits"):
        bech32.decode(text)
