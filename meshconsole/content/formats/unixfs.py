"""UnixFS: what the data of a dag-pb block says about a file. Pure.

Source: specs.ipfs.tech/unixfs. Only the message; how blocks make a file is in `layout` (writing) and
`reader` (reading).
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from meshconsole.content.formats.protobuf import BYTES, VARINT, bytes_field, expect, fields, varint_field
from meshconsole.core.errors import RemoteError


class Kind(IntEnum):
    RAW = 0
    DIRECTORY = 1
    FILE = 2
    METADATA = 3
    SYMLINK = 4
    HAMT_SHARD = 5


_TYPE, _DATA, _FILESIZE, _BLOCKSIZES, _HASH_TYPE, _FANOUT, _MODE, _MTIME = range(1, 9)
_ONCE = frozenset({_TYPE, _DATA, _FILESIZE, _HASH_TYPE, _FANOUT, _MODE, _MTIME})
_WIRE = {
    _TYPE: VARINT,
    _DATA: BYTES,
    _FILESIZE: VARINT,
    _BLOCKSIZES: VARINT,
    _HASH_TYPE: VARINT,
    _FANOUT: VARINT,
    _MODE: VARINT,
    _MTIME: BYTES,
}


class UnixFs(msgspec.Struct, frozen=True):
    """`filesize` and `blocksizes` are in bytes of the file, without any framing."""

    kind: Kind
    data: bytes | None = None
    filesize: int | None = None
    blocksizes: tuple[int, ...] = ()
    hash_type: int | None = None
    fanout: int | None = None


def encode_unixfs(message: UnixFs) -> bytes:
    out = [varint_field(_TYPE, message.kind)]
    if message.data is not None:
        out.append(bytes_field(_DATA, message.data))
    if message.filesize is not None:
        out.append(varint_field(_FILESIZE, message.filesize))
    out.extend(varint_field(_BLOCKSIZES, size) for size in message.blocksizes)
    if message.hash_type is not None:
        out.append(varint_field(_HASH_TYPE, message.hash_type))
    if message.fanout is not None:
        out.append(varint_field(_FANOUT, message.fanout))
    return b"".join(out)


def decode_unixfs(data: bytes) -> UnixFs:
    """Mode and time are checked for shape and dropped; fields of the future are skipped.

    Raises RemoteError("bad-unixfs" | "bad-protobuf" | "bad-varint").
    """
    integers: dict[int, int] = {}
    seen: set[int] = set()
    content: bytes | None = None
    blocksizes: list[int] = []
    for number, wire, integer, value in fields(data):
        if number not in _WIRE:
            continue
        expect(number, wire, _WIRE[number])
        if number in _ONCE and number in seen:
            raise RemoteError("bad-unixfs", f"UnixFS field {number} is given twice.")
        seen.add(number)
        if number == _DATA:
            content = bytes(value)
        elif number == _BLOCKSIZES:
            blocksizes.append(integer)
        elif wire == VARINT:
            integers[number] = integer
    try:
        kind = Kind(integers[_TYPE])
    except KeyError:
        raise RemoteError("bad-unixfs", "A UnixFS message does not say what it is.") from None
    except ValueError:
        raise RemoteError("bad-unixfs", f"UnixFS type {integers[_TYPE]} is not known.") from None
    return UnixFs(
        kind,
        content,
        integers.get(_FILESIZE),
        tuple(blocksizes),
        integers.get(_HASH_TYPE),
        integers.get(_FANOUT),
    )
