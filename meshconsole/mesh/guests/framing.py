"""Relay messages on a guest's data channel: cut into pieces that a channel carries. Pure.

A piece is one byte and up to PIECE bytes of UTF-8: MORE says that the message goes on in the next piece, LAST
that it ends with this one. SCTP has a largest message, and a long one would hold up all that comes after it.
Pieces of two messages never mix. A message that grows beyond the limit, or a piece of another form, is a
RemoteError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.errors import RemoteError
from meshconsole.mesh.links.frames import PIPE_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

LAST, MORE = b"\x00", b"\x01"
PIECE = PIPE_MESSAGE - 1
MAX_PIECES = 1024
"""Of one message; a peer may not draw one out in pieces of a byte."""


def cut(message: bytes) -> Iterator[bytes]:
    end = max(0, len(message) - 1) // PIECE * PIECE
    for at in range(0, end, PIECE):
        yield MORE + message[at : at + PIECE]
    yield LAST + message[end:]


class Assembler:
    """`limit` is the longest message that is put together."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def take(self, piece: bytes) -> bytes | None:
        """The message that ends with this piece. Raises RemoteError."""
        kind, part = piece[:1], piece[1:]
        if kind not in (LAST, MORE):
            raise RemoteError("bad-frame", "It sent something that is no piece of a message.")
        self._size += len(part)
        if self._size > self._limit or len(self._parts) >= MAX_PIECES:
            raise RemoteError("bad-frame", f"It sent a message of more than {self._limit} bytes.")
        self._parts.append(part)
        if kind == MORE:
            return None
        message = b"".join(self._parts)
        self._parts, self._size = [], 0
        return message
