from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.content.formats.varint import decode_varint, encode_varint
from meshconsole.core.errors import LocalError, RemoteError


@pytest.mark.parametrize(
    ("number", "encoded"),
    [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (255, "ff01"), (300, "ac02"), (16384, "808001")],
)
def test_known_encodings(number: int, encoded: str) -> None:
    assert encode_varint(number) == bytes.fromhex(encoded)
    assert decode_varint(bytes.fromhex(encoded)) == (number, len(encoded) // 2)


@given(st.integers(0, (1 << 63) - 1), st.binary(max_size=3))
def test_round_trip_leaves_what_follows(number: int, rest: bytes) -> None:
    encoded = encode_varint(number)
    assert decode_varint(b"x" + encoded + rest, 1) == (number, 1 + len(encoded))


@pytest.mark.parametrize(
    "bad",
    [
        "",  # nothing
        "80",  # ends inside
        "8000",  # longer than needed
        "ff8000",
        "ffffffffffffffffff7f",  # over nine bytes
    ],
)
def test_refuses(bad: str) -> None:
    with pytest.raises(RemoteError) as error:
        decode_varint(bytes.fromhex(bad))
    assert error.value.code == "bad-varint"


def test_protobuf_allows_sixty_four_bits_and_no_more() -> None:
    largest = bytes.fromhex("ffffffffffffffffff01")
    assert decode_varint(largest, max_bytes=10) == ((1 << 64) - 1, 10)
    with pytest.raises(RemoteError):
        decode_varint(bytes.fromhex("ffffffffffffffffff02"), max_bytes=10)


@pytest.mark.parametrize("number", [-1, 1 << 64])
def test_our_own_mistakes_are_local(number: int) -> None:
    with pytest.raises(LocalError):
        encode_varint(number)


@given(st.binary(max_size=12))
def test_any_bytes_decode_canonically_or_are_refused(data: bytes) -> None:
    try:
        number, end = decode_varint(data)
    except RemoteError:
        return
    assert encode_varint(number) == data[:end]
