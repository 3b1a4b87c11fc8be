"""The part of the protobuf wire format that IPFS uses: varints and length-delimited fields. Pure.

Fixed-width fields and groups do not occur in dag-pb, UnixFS (but for a time's nanoseconds) or
Bitswap. Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.content.formats.varint import MAX_PROTOBUF_BYTES, decode_varint, encode_varint
from meshconsole.core.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT = 0
FIXED64 = 1
BYTES = 2
FIXED32 = 5

_FIXED_BYTES = {FIXED64: 8, FIXED32: 4}
_MAX_FIELD_NUMBER = (1 << 29) - 1


def varint_field(number: int, value: int) -> bytes:
    return encode_varint(number << 3 | VARINT) + encode_varint(value)


def bytes_field(number: int, value: bytes) -> bytes:
    return encode_varint(number << 3 | BYTES) + encode_varint(len(value)) + value


def fields(data: bytes | memoryview) -> Iterator[tuple[int, int, int, memoryview]]:
    """Each field as (number, wire type, value of a varint, bytes of the others), lazily.

    Raises RemoteError("bad-protobuf" | "bad-varint").
    """
    view = memoryview(data)
    position, end = 0, len(view)
    empty = view[:0]
    while position < end:
        key, position = decode_varint(view, position, max_bytes=MAX_PROTOBUF_BYTES)
        number, wire = key >> 3, key & 7
        if not 1 <= number <= _MAX_FIELD_NUMBER:
            raise RemoteError("bad-protobuf", f"Field number {number} is not allowed.")
        if wire == VARINT:
            value, position = decode_varint(view, position, max_bytes=MAX_PROTOBUF_BYTES)
            yield number, wire, value, empty
            continue
        if wire == BYTES:
            length, position = decode_varint(view, position, max_bytes=MAX_PROTOBUF_BYTES)
        elif wire in _FIXED_BYTES:
            length = _FIXED_BYTES[wire]
        else:
            raise RemoteError("bad-protobuf", f"Wire type {wire} is not supported.")
        if length > end - position:
            raise RemoteError("bad-protobuf", "A field is longer than the message.")
        yield number, wire, 0, view[position : position + length]
        position += length


def expect(number: int, wire: int, wanted: int) -> None:
    """Raises RemoteError("bad-protobuf") if a known field has the wrong wire type."""
    if wire != wanted:
        raise RemoteError("bad-protobuf", f"Field {number} has wire type {wire} where {wanted} is required.")


def decode_text(value: memoryview) -> str:
    """Raises RemoteError("bad-protobuf") if it is not UTF-8."""
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        raise RemoteError("bad-protobuf", "A text field is not UTF-8.") from None
