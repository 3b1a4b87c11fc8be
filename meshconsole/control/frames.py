"""Frames of the control socket: u32 length, big endian, then one msgpack message. Pure.

Each direction has its own bound, checked before anything is kept: a peer cannot make us allocate.
"""

from __future__ import annotations

from functools import cache
from typing import TypeVar

import msgspec

from meshconsole.control.messages import ClientFrame, Command, ServerFrame
from meshconsole.core.errors import LocalError, RemoteError
from meshconsole.core.lines import LONGEST_LINE

MAX_CLIENT_FRAME = LONGEST_LINE + 4096
"""One event of a file fits, however large."""
MAX_SERVER_FRAME = 16 << 20
HEADER = 4

M = TypeVar("M")

_encode = msgspec.msgpack.Encoder().encode


@cache
def _client_decoder() -> msgspec.msgpack.Decoder[ClientFrame]:
    """Made with the first frame, as the others: a node that nobody watches needs none of them."""
    return msgspec.msgpack.Decoder(ClientFrame)


@cache
def _server_decoder() -> msgspec.msgpack.Decoder[ServerFrame]:
    return msgspec.msgpack.Decoder(ServerFrame)


@cache
def _command_decoder() -> msgspec.msgpack.Decoder[Command]:
    return msgspec.msgpack.Decoder(Command)


def pack(message: ClientFrame | ServerFrame) -> bytes:
    """The frame of one message. Raises LocalError if no peer would take it."""
    body = _encode(message)
    if len(body) > MAX_SERVER_FRAME:
        raise LocalError(f"A control message of {len(body)} bytes is too large to send.")
    return len(body).to_bytes(HEADER, "big") + body


def pack_command(command: Command) -> msgspec.Raw:
    return msgspec.Raw(_encode(command))


def read_client_frame(body: bytes) -> ClientFrame:
    """Raises RemoteError."""
    return _read(_client_decoder(), body)


def read_server_frame(body: bytes) -> ServerFrame:
    """Raises RemoteError."""
    return _read(_server_decoder(), body)


def read_command(body: msgspec.Raw) -> Command:
    """Raises RemoteError with the field that does not fit."""
    return _read(_command_decoder(), bytes(body))


def body_length(header: bytes, limit: int) -> int:
    """The length that a header announces. Raises RemoteError beyond `limit`."""
    length = int.from_bytes(header, "big")
    if length > limit:
        raise RemoteError(
            "too-large", f"A control frame of {length} bytes was announced; {limit} is the most."
        )
    return length


def _read(decoder: msgspec.msgpack.Decoder[M], body: bytes) -> M:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RemoteError("bad-frame", f"A control message does not fit: {error}.") from error
