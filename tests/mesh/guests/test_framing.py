"""Pieces of messages on a guest's channel."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import RemoteError
from meshconsole.mesh.guests.framing import LAST, MAX_PIECES, MORE, PIECE, Assembler, cut
from meshconsole.mesh.links.frames import PIPE_MESSAGE

LIMIT = 4 * PIECE


@given(st.lists(st.one_of(st.binary(max_size=40), st.integers(0, LIMIT).map(bytes)), max_size=5))
def test_what_was_cut_is_put_together_again(messages: list[bytes]) -> None:
    pieces = [piece for message in messages for piece in cut(message)]
    assert all(1 <= len(piece) <= PIPE_MESSAGE for piece in pieces)
    one = Assembler(LIMIT)
    assert [message for piece in pieces if (message := one.take(piece)) is not None] == messages


@pytest.mark.parametrize(("size", "count"), [(0, 1), (1, 1), (PIECE, 1), (PIECE + 1, 2), (2 * PIECE, 2)])
def test_no_more_pieces_than_are_needed(size: int, count: int) -> None:
    assert len(list(cut(bytes(size)))) == count


@given(st.lists(st.binary(max_size=64), max_size=20))
def test_any_pieces_give_a_message_or_a_remote_error(pieces: list[bytes]) -> None:
    one = Assembler(100)
    with contextlib.suppress(RemoteError):
        for piece in pieces:
            message = one.take(piece)
            assert message is None or len(message) <= 100


def test_a_message_that_grows_too_long_is_refused_before_it_is_whole() -> None:
    one = Assembler(LIMIT)
    for _ in range(4):
        one.take(MORE + bytes(PIECE))
    with pytest.raises(RemoteError, match="more than"):
        one.take(MORE + b"x")


def test_a_message_in_ever_more_empty_pieces_is_refused() -> None:
    one = Assembler(LIMIT)
    for _ in range(MAX_PIECES):
        one.take(MORE)
    with pytest.raises(RemoteError):
        one.take(LAST)


def test_a_message_that_was_taken_counts_no_more() -> None:
    one = Assembler(PIECE)
    for _ in range(10):
        assert one.take(LAST + bytes(PIECE)) == bytes(PIECE)
