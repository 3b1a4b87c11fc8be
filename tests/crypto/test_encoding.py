"""LP is injective, readable back, and never trusts a length; base64 has one spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import LocalError, RemoteError
from meshconsole.crypto.encoding import MAX_PARTS, b64, expand, lp, read_int, unb64, unlp

PARTS = st.lists(st.binary(max_size=40), max_size=8)


@given(PARTS)
def test_parts_come_back(parts: list[bytes]) -> None:
    assert unlp(lp(*parts)) == parts


@given(PARTS, PARTS)
def test_two_lists_never_encode_alike(one: list[bytes], other: list[bytes]) -> None:
    assert (lp(*one) == lp(*other)) == (one == other)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        parts = unlp(data)
    except RemoteError:
        return
    assert lp(*parts) == data


def test_text_and_integers_have_a_fixed_form() -> None:
    assert lp("é", 258, b"") == bytes.fromhex("00000002c3a9 00000008 0000000000000102 00000000")


@pytest.mark.parametrize("number", [0, 1, 2**64 - 1])
def test_integers_come_back(number: int) -> None:
    assert read_int(unlp(lp(number))[0]) == number


@pytest.mark.parametrize("number", [-1, 2**64])
def test_an_integer_out_of_range_is_our_fault(number: int) -> None:
    with pytest.raises(LocalError):
        lp(number)


def test_an_integer_of_another_length_is_refused() -> None:
    with pytest.raises(RemoteError):
        read_int(b"\0" * 7)


@pytest.mark.parametrize(
    "data",
    [b"\0", b"\0\0\0", b"\0\0\0\x01", b"\xff\xff\xff\xff", b"\0\0\0\x01a\0\0\0"],
    ids=["1 byte", "3 bytes", "no body", "4 GiB claimed", "half a length"],
)
def test_lengths_past_the_end_are_refused(data: bytes) -> None:
    with pytest.raises(RemoteError):
        unlp(data)


def test_the_number_of_parts_is_bounded() -> None:
    assert len(unlp(bytes(4 * MAX_PARTS))) == MAX_PARTS
    with pytest.raises(RemoteError):
        unlp(bytes(4 * (MAX_PARTS + 1)))


@given(st.binary(max_size=100))
def test_base64_comes_back(data: bytes) -> None:
    assert unb64(b64(data)) == data


@pytest.mark.parametrize("text", ["QQ", "QR==", "QQ==\n", "QQ= =", "Q-_Q", "é", "QQ==QQ==", "===="])
def test_other_spellings_of_base64_are_refused(text: str) -> None:
    with pytest.raises(RemoteError):
        unb64(text)


@given(st.text(max_size=20))
def test_any_text_is_canonical_base64_or_refused(text: str) -> None:
    try:
        data = unb64(text)
    except RemoteError:
        return
    assert b64(data) == text


def test_expanded_keys_depend_on_use_and_have_the_length_asked_for() -> None:
    key = bytes(32)
    assert len(expand(key, b"a", 76)) == 76
    assert expand(key, b"a") != expand(key, b"b")
    assert expand(key, b"a", 16) == expand(key, b"a", 32)[:16]


def test_a_short_key_is_our_fault() -> None:
    with pytest.raises(LocalError):
        expand(bytes(31), b"a")
