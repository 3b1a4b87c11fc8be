"""Messages: what is encoded is decoded, and bytes from outside do no worse than a RemoteError."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import RemoteError
from meshconsole.mesh.messages import (
    Ack,
    Batch,
    Bye,
    Compare,
    Compared,
    Describe,
    Fill,
    Hello,
    Live,
    Lost,
    Need,
    Ping,
    Pong,
    Stock,
    Stocked,
    Want,
    decode_control,
    decode_signal,
    decode_sync,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Callable

DECODERS: list[Callable[[bytes], object]] = [decode_control, decode_sync, decode_signal]


@pytest.mark.parametrize(
    ("decode", "message"),
    [
        (decode_control, Hello(1, b"bootboot", "log", 7, ("ipfs_node",), ("10.0.0.1:7447",), (b"linklink",))),
        (decode_control, Ping(1, 2, 3)),
        (decode_control, Pong(9)),
        (decode_control, Bye("why")),
        (decode_control, Lost(b"linklink")),
        (decode_sync, Want(1, "log", 5)),
        (decode_sync, Batch(1, 2, 3, 4, (b"{}",), b"x" * 36)),
        (decode_sync, Need(1, 2, (0, 5))),
        (decode_sync, Fill(1, 2, ((0, b"{}"),))),
        (decode_sync, Ack(1, 2)),
        (decode_sync, Live((b"{}",))),
        (decode_sync, Compare(1, 2, True, b"a")),
        (decode_sync, Compared(1, 2, b"")),
        (decode_sync, Stock(1, b"", b"i" * 64, is_last=True)),
        (decode_sync, Stocked(1, b"a")),
        (decode_signal, Describe(b"attempt1", "offer", "v=0")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_round_trip(decode: Callable[[bytes], object], message: object) -> None:
    assert decode(encode(message)) == message


def test_fields_of_a_later_version_are_ignored() -> None:
    assert decode_control(msgspec.msgpack.encode(["pong", 4, 5, "net", "new"])) == Pong(4, 5, "net")


@given(st.binary(max_size=300))
def test_garbage_is_a_remote_error(data: bytes) -> None:
    for decode in DECODERS:
        with contextlib.suppress(RemoteError):
            decode(data)


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=20) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)
TAGS = (
    *("hello", "ping", "pong", "bye", "lost", "want", "batch", "need", "fill", "ack", "live"),
    *("compare", "compared", "stock", "stocked", "describe", "told", "receipt"),
)
tags = st.sampled_from(TAGS)


@given(tags, st.lists(values, max_size=8))
def test_well_formed_nonsense_is_a_remote_error_or_keeps_the_bounds(tag: str, fields: list[Any]) -> None:
    data = msgspec.msgpack.encode([tag, *fields])
    for decode in DECODERS:
        try:
            message = decode(data)
        except RemoteError:
            continue
        assert decode(encode(message)) == message


def test_text_that_is_not_utf8_is_a_remote_error() -> None:
    for decode in DECODERS:
        with pytest.raises(RemoteError):
            decode(b"\x92\xa3bye\xa1\x80")


def test_deep_nesting_is_a_remote_error() -> None:
    for decode in DECODERS:
        with pytest.raises(RemoteError):
            decode(b"\x91" * 100_000)


def test_what_a_peer_wrote_reaches_the_log_only_as_safe_text() -> None:
    with pytest.raises(RemoteError) as caught:
        decode_control(msgspec.msgpack.encode(["\x1b]52;c;evil\x07"]))
    assert "\x1b" not in caught.value.sentence
