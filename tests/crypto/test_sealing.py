"""A sealed box opens whole, under its own key and context, or not at all."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshconsole.core.errors import LocalError, RemoteError, Unavailable
from meshconsole.crypto.sealing import (
    CHUNK_LEN,
    HEADER_LEN,
    MAX_PLAIN_SIZE,
    OVERHEAD,
    PADDING_FLOOR,
    TAG_LEN,
    StreamOpener,
    StreamSealer,
    open_stream,
    pad,
    padded_size,
    reseal,
    salt_of,
    seal,
    seal_stream,
    sealed_size,
    unpad,
    unseal,
)

from .cobblestone import seal_with_salt
from .vectors import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = b"k" * 32
CONTEXT = b"mc/obj/v1"
STEP = CHUNK_LEN + TAG_LEN

# Sizes around every border: nothing, the padding's floor, one chunk of what is padded, several.
SIZES = [0, 1, 503, 504, 505, 16375, 16376, 16377, 32760, 40_000, 200_000]


def cut(data: bytes, step: int) -> Iterator[bytes]:
    return (data[at : at + step] for at in range(0, len(data), step))


def sealed_stream(plain: bytes, step: int = 5000) -> bytes:
    return b"".join(seal_stream(KEY, CONTEXT, cut(plain, step), len(plain)))


def opened_stream(sealed: bytes, step: int = 7001, key: bytes = KEY, context: bytes = CONTEXT) -> bytes:
    return b"".join(open_stream(key, context, cut(sealed, step)))


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_a_box_opens(plain: bytes, context: bytes) -> None:
    sealed = seal(KEY, context, plain)
    assert len(sealed) == len(plain) + OVERHEAD
    assert unseal(KEY, context, sealed) == plain


@pytest.mark.parametrize("size", [CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 3 * CHUNK_LEN])
def test_boxes_of_several_chunks_open(size: int) -> None:
    plain = os.urandom(size)
    sealed = seal(KEY, CONTEXT, plain)
    assert len(sealed) == size + HEADER_LEN + TAG_LEN * (size // CHUNK_LEN + 1)
    assert unseal(KEY, CONTEXT, sealed) == plain


def test_two_boxes_of_the_same_differ() -> None:
    assert seal(KEY, CONTEXT, b"x") != seal(KEY, CONTEXT, b"x")


def does_not_open(sealed: bytes, key: bytes = KEY, context: bytes = CONTEXT) -> None:
    with pytest.raises(RemoteError) as caught:
        unseal(key, context, sealed)
    assert caught.value.code == "bad-seal"


def test_a_wrong_key_or_context_does_not_open() -> None:
    sealed = seal(KEY, CONTEXT, b"secret")
    does_not_open(sealed, key=b"K" * 32)
    does_not_open(sealed, context=CONTEXT + b"x")
    does_not_open(sealed, context=b"")


def test_no_flipped_bit_passes() -> None:
    sealed = seal(KEY, CONTEXT, b"secret")
    for at in range(len(sealed)):
        for bit in (0, 7):
            changed = bytearray(sealed)
            changed[at] ^= 1 << bit
            does_not_open(bytes(changed))


def test_nothing_can_be_cut_off() -> None:
    sealed = seal(KEY, CONTEXT, b"secret")
    for length in range(len(sealed)):
        does_not_open(sealed[:length])


@pytest.mark.parametrize("chunks", [1, 2])
def test_whole_chunks_cannot_be_cut_off(chunks: int) -> None:
    does_not_open(seal(KEY, CONTEXT, bytes(3 * CHUNK_LEN + 5))[: HEADER_LEN + chunks * STEP])


def test_nothing_can_be_appended() -> None:
    sealed = seal(KEY, CONTEXT, bytes(100))
    for more in (b"\0", bytes(16), bytes(20), sealed, bytes(STEP)):
        does_not_open(sealed + more)


def test_chunks_cannot_be_swapped_repeated_or_left_out() -> None:
    sealed = seal(KEY, CONTEXT, os.urandom(3 * CHUNK_LEN))
    head = sealed[:HEADER_LEN]
    chunks = [*cut(sealed[HEADER_LEN:], STEP)]
    assert b"".join([head, *chunks]) == sealed
    for order in ((1, 0, 2, 3), (0, 0, 1, 2, 3), (0, 2, 3), (0, 1, 3), (3,), (0, 1, 2, 3, 3)):
        does_not_open(b"".join([head, *(chunks[number] for number in order)]))


def test_a_chunk_of_another_box_does_not_fit() -> None:
    one, other = (seal(KEY, CONTEXT, bytes(2 * CHUNK_LEN)) for _ in range(2))
    does_not_open(one[: HEADER_LEN + STEP] + other[HEADER_LEN + STEP :])
    does_not_open(one[:HEADER_LEN] + other[HEADER_LEN:])


@given(st.binary(max_size=400))
def test_any_bytes_are_refused(data: bytes) -> None:
    does_not_open(data)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_our_fault(length: int) -> None:
    for call in (
        lambda: seal(bytes(length), CONTEXT, b""),
        lambda: unseal(bytes(length), CONTEXT, b""),
        lambda: StreamSealer(bytes(length), CONTEXT, 0),
        lambda: StreamOpener(bytes(length), CONTEXT),
    ):
        with pytest.raises(LocalError):
            call()


def test_the_format_is_the_published_one() -> None:
    """Against our frozen answers, and against a second implementation of the specification."""
    answers = load("own-cobblestone256-kat.json")
    for answer in answers:
        key, salt = bytes.fromhex(answer["key"]), bytes.fromhex(answer["salt"])
        plain = bytes(7 * i & 255 for i in range(answer["len"]))
        sealed = seal_with_salt(key, answer["context"].encode(), salt, plain)
        assert hashlib.sha256(sealed).hexdigest() == answer["ciphertext_sha256"]
        assert sealed[24:HEADER_LEN].hex() == answer["commitment"]
        assert unseal(key, answer["context"].encode(), sealed) == plain
    assert len(answers) == 6


@given(st.binary(max_size=600))
def test_padding_comes_off(data: bytes) -> None:
    padded = pad(data)
    assert len(padded) == padded_size(len(data))
    assert unpad(padded) == data


@given(st.integers(0, MAX_PLAIN_SIZE))
def test_padding_hides_the_size_at_a_bounded_price(size: int) -> None:
    padded = padded_size(size)
    assert padded >= max(PADDING_FLOOR, size + 8)
    assert padded == PADDING_FLOOR or padded <= (size + 8) * 1.12
    # PADMÉ: of an n-bit length only the top log2(n) + 1 bits or so may differ from zero.
    assert padded == PADDING_FLOOR or padded.bit_length() - (padded & -padded).bit_length() <= 6


@given(st.integers(0, 1 << 30), st.integers(0, 1 << 30))
def test_padding_keeps_the_order_of_sizes(one: int, other: int) -> None:
    if one <= other:
        assert padded_size(one) <= padded_size(other)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: p[:-1],
        lambda p: p + b"\0",
        lambda p: p[:-1] + b"\1",
        lambda p: p[:20] + b"\1" + p[21:],
        lambda p: (10**6).to_bytes(8, "big") + p[8:],
        lambda p: b"\xff" * 8 + p[8:],
        lambda p: p[:7],
        lambda p: b"",
    ],
    ids=["short", "long", "last byte", "first zero", "size", "huge size", "no size", "empty"],
)
def test_wrong_padding_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(RemoteError) as caught:
        unpad(spoil(pad(b"x" * 12)))
    assert caught.value.code == "bad-padding"


@pytest.mark.parametrize("size", SIZES)
def test_a_stream_opens(size: int) -> None:
    plain = os.urandom(size)
    sealed = sealed_stream(plain)
    assert len(sealed) == sealed_size(size)
    assert opened_stream(sealed) == plain


@settings(max_examples=30)
@given(st.integers(0, 50_000), st.integers(1, 20_000), st.integers(1, 20_000))
def test_pieces_of_any_size_give_the_same(size: int, step_in: int, step_out: int) -> None:
    plain = bytes(i & 255 for i in range(size))
    assert opened_stream(sealed_stream(plain, step_in), step_out) == plain


def test_a_stream_is_a_padded_box() -> None:
    plain = os.urandom(1000)
    assert unpad(unseal(KEY, CONTEXT, sealed_stream(plain))) == plain
    assert opened_stream(seal(KEY, CONTEXT, pad(plain)), step=1) == plain


def test_streams_of_like_size_look_alike() -> None:
    assert len({len(sealed_stream(bytes(size))) for size in range(0, 505, 56)}) == 1


def stream_does_not_open(sealed: bytes, key: bytes = KEY, context: bytes = CONTEXT) -> None:
    for step in (911, 1 << 20):
        with pytest.raises(RemoteError):
            opened_stream(sealed, step, key, context)


def test_a_wrong_key_or_context_does_not_open_a_stream() -> None:
    sealed = sealed_stream(bytes(40_000))
    stream_does_not_open(sealed, key=b"K" * 32)
    stream_does_not_open(sealed, context=b"mc/obj/v2")


def test_a_changed_stream_is_refused_wherever_it_is_changed() -> None:
    sealed = sealed_stream(os.urandom(40_000))
    for at in [*range(0, len(sealed), 1999), len(sealed) - 1]:
        stream_does_not_open(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])


def test_a_truncated_stream_is_refused_wherever_it_is_cut() -> None:
    sealed = sealed_stream(os.urandom(40_000))
    cuts = [0, 1, HEADER_LEN - 1, HEADER_LEN, HEADER_LEN + STEP, HEADER_LEN + 2 * STEP, len(sealed) - 1]
    for length in cuts:
        stream_does_not_open(sealed[:length])


def test_bytes_after_a_stream_are_refused() -> None:
    sealed = sealed_stream(bytes(1000))
    for more in (b"\0", sealed, bytes(STEP)):
        stream_does_not_open(sealed + more)


@pytest.mark.parametrize(
    "padded",
    [
        b"",
        b"\0" * 7,
        (5).to_bytes(8, "big") + bytes(504 + 1),
        (5).to_bytes(8, "big") + bytes(504 - 1),
        (5).to_bytes(8, "big") + bytes(503) + b"\1",
        (600).to_bytes(8, "big") + bytes(504),
        b"\xff" * 8 + bytes(504),
    ],
    ids=["empty", "no size", "too long", "too short", "not zero", "size beyond", "absurd size"],
)
def test_a_stream_padded_otherwise_is_refused(padded: bytes) -> None:
    """Its seal is right: who has the key may be hostile too."""
    stream_does_not_open(seal(KEY, CONTEXT, padded))


def test_what_comes_before_a_forged_chunk_is_authentic() -> None:
    plain = os.urandom(60_000)
    sealed = bytearray(sealed_stream(plain))
    sealed[-1] ^= 1
    seen = b""
    ended = False
    with suppress(RemoteError):
        for piece in open_stream(KEY, CONTEXT, cut(bytes(sealed), 1000)):
            seen += piece
        ended = True
    assert not ended
    assert len(seen) >= 2 * CHUNK_LEN
    assert plain.startswith(seen)


@pytest.mark.parametrize("size", [0, 9, 11, 100])
def test_a_file_that_changes_while_it_is_read_is_not_sealed(size: int) -> None:
    with pytest.raises(Unavailable, match="changed"):
        b"".join(seal_stream(KEY, CONTEXT, [b"0123456789"], size))


@pytest.mark.parametrize("size", [-1, MAX_PLAIN_SIZE + 1])
def test_a_size_out_of_bounds_is_our_fault(size: int) -> None:
    with pytest.raises(LocalError):
        StreamSealer(KEY, CONTEXT, size)


def test_a_stream_is_sealed_piece_by_piece() -> None:
    """Nothing holds back more than a chunk, so a large file needs no large memory."""
    sealer = StreamSealer(KEY, CONTEXT, 1 << 20)
    given_back = 0
    for number in range(1, 65):
        given_back += len(sealer.update(bytes(1 << 14)))
        assert given_back >= (number - 1) * CHUNK_LEN
    pieces = [*sealer.finish()]
    assert max(map(len, pieces)) <= 65536 + HEADER_LEN + 5 * TAG_LEN
    assert given_back + sum(map(len, pieces)) == sealed_size(1 << 20)


@given(st.binary(max_size=2000), st.binary(max_size=40))
def test_a_box_is_made_again_from_its_salt(plaintext: bytes, context: bytes) -> None:
    box = seal(b"k" * 32, context, plaintext)
    assert reseal(b"k" * 32, context, salt_of(box), plaintext) == box


def test_only_a_box_of_one_chunk_is_made_again() -> None:
    with pytest.raises(LocalError):
        reseal(b"k" * 32, b"", b"s" * 24, bytes(CHUNK_LEN))
    with pytest.raises(LocalError):
        reseal(b"k" * 32, b"", b"short", b"")
