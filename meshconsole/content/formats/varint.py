"""Unsigned variable-length integers, as multiformats and protobuf write them. Pure.

Seven bits per byte, least significant first; the high bit says that more follows. Only the shortest
form is accepted, so that equal numbers have equal bytes (multiformats/unsigned-varint).
"""

from __future__ import annotations

from meshconsole.core.errors import LocalError, RemoteError

MAX_MULTIFORMAT_BYTES = 9
"""multiformats/unsigned-varint: at most 63 bits."""

MAX_PROTOBUF_BYTES = 10
"""protobuf: 64 bits; a negative int32 is sign-extended to ten bytes."""


def encode_varint(number: int) -> bytes:
    """`number` in the shortest form. Raises LocalError if it is negative or over 64 bits."""
    if 0 <= number < 0x80:
        return bytes((number,))
    if number < 0 or number >> 64:
        raise LocalError(f"{number} does not fit an unsigned varint of 64 bits.")
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def decode_varint(
    data: bytes | memoryview, position: int = 0, *, max_bytes: int = MAX_MULTIFORMAT_BYTES
) -> tuple[int, int]:
    """The number at `position` and the position after it. Raises RemoteError("bad-varint")."""
    number = 0
    for index in range(max_bytes):
        if position >= len(data):
            raise RemoteError("bad-varint", "The data ends inside a number.")
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if byte == 0 and index:
                raise RemoteError("bad-varint", "A number is not in its shortest form.")
            if number >> 64:
                raise RemoteError("bad-varint", "A number is longer than 64 bits.")
            return number, position
    raise RemoteError("bad-varint", f"A number is longer than {max_bytes} bytes.")
