"""CAR files: blocks one behind the other, to carry them where no link goes. Pure.

    varint length | dag-cbor {"roots": [CID, ...], "version": 1}
    varint length | CID | block        any number of times

Version 2 is a version 1 file between a header, which says where it is, and an index, which is not needed
to read it from front to back. It is read and never written.

Sources: ipld.io/specs/transport/car/carv1, .../carv2. The reader takes pieces of any size, holds at most one
section, and what it yields has been compared with its CID by nobody yet.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

import msgspec

from meshconsole.content.formats.block import MAX_BLOCK_BYTES
from meshconsole.content.formats.cid import MAX_CID_BYTES, Cid
from meshconsole.content.formats.varint import decode_varint, encode_varint
from meshconsole.core.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_ROOTS = 1024
MAX_HEADER_BYTES = 64 + MAX_ROOTS * (MAX_CID_BYTES + 8)
MAX_SECTION_BYTES = MAX_CID_BYTES + MAX_BLOCK_BYTES

_CBOR_MAP_2 = b"\xa2"
_CBOR_ROOTS = b"\x65roots"
_CBOR_VERSION = b"\x67version"
_CBOR_CID = b"\xd8\x2a"
"""Tag 42; a byte string follows, whose first byte is zero."""

_V2_MAGIC = b"\x0a\xa1" + _CBOR_VERSION + b"\x02"
"""How every file of version 2 begins, in the place where version 1 has its header."""
_V2_START = len(_V2_MAGIC) + 40
_V2_PLACES = Struct("<QQ")

_CBOR_BYTES, _CBOR_ARRAY = 2, 4
_MAX_VARINT = 9


def encode_header(roots: Sequence[Cid]) -> bytes:
    """With its length in front."""
    out = [_CBOR_MAP_2, _CBOR_ROOTS, _cbor_head(_CBOR_ARRAY, len(roots))]
    for root in roots:
        cid = b"\0" + root.encode()
        out += [_CBOR_CID, _cbor_head(_CBOR_BYTES, len(cid)), cid]
    out += [_CBOR_VERSION, b"\x01"]
    header = b"".join(out)
    return encode_varint(len(header)) + header


def encode_section(cid: Cid, block: bytes) -> bytes:
    name = cid.encode()
    return encode_varint(len(name) + len(block)) + name + block


class CarReader(msgspec.Struct):
    """`push` pieces, take (CID, bytes), `finish` at the end. Raises RemoteError("bad-car" | "oversize")."""

    roots: tuple[Cid, ...] | None = None
    """None until the header is complete."""
    _held: bytearray = msgspec.field(default_factory=bytearray)
    _version: int = 0
    _skip: int = 0
    """Bytes between the header of version 2 and the file of version 1."""
    _left: int | None = None
    """Bytes of the file of version 1 that are still to come, where version 2 says so."""

    def push(self, piece: bytes) -> Iterator[tuple[Cid, bytes]]:
        self._held += self._within(piece)
        if not self._is_open():
            return
        position = 0
        while (section := self._section(position)) is not None:
            start, end = section
            if self.roots is None:
                self.roots = _decode_header(bytes(self._held[start:end]))
            else:
                yield _split(bytes(self._held[start:end]))
            position = end
        del self._held[:position]

    def finish(self) -> tuple[Cid, ...]:
        """The roots. Raises RemoteError if the file was cut off."""
        if self.roots is None or self._held or self._left:
            raise RemoteError("bad-car", "The CAR file is cut off.")
        return self.roots

    def _within(self, piece: bytes) -> bytes | memoryview:
        """Without what version 2 puts around the blocks."""
        if self._left is None:
            return piece
        view = memoryview(piece)[self._skip :]
        self._skip = max(0, self._skip - len(piece))
        view = view[: self._left]
        self._left -= len(view)
        return view

    def _is_open(self) -> bool:
        """Whether it is known where the blocks are."""
        if not self._version:
            if len(self._held) < len(_V2_MAGIC) and _V2_MAGIC.startswith(self._held):
                return False
            self._version = 2 if self._held.startswith(_V2_MAGIC) else 1
        if self._version == 2 and self._left is None:
            if len(self._held) < _V2_START:
                return False
            # After 16 bytes of characteristics: where the data starts, its size, where the index is.
            start, size = _V2_PLACES.unpack_from(self._held, len(_V2_MAGIC) + 16)
            if start < _V2_START or not size:
                raise RemoteError("bad-car", "The CAR file does not say where its blocks are.")
            rest = bytes(self._held[_V2_START:])
            self._skip, self._left = start - _V2_START, size
            self._held = bytearray(self._within(rest))
        return True

    def _section(self, position: int) -> tuple[int, int] | None:
        """Where the next section starts and ends, None if it is not here whole."""
        head = bytes(self._held[position : position + _MAX_VARINT])
        if len(head) < _MAX_VARINT and not any(byte < 0x80 for byte in head):
            return None
        length, used = decode_varint(head)
        limit = MAX_HEADER_BYTES if self.roots is None else MAX_SECTION_BYTES
        if not 0 < length <= limit:
            raise RemoteError(
                "oversize", f"A section of the CAR file has {length} bytes; 1 to {limit} may be."
            )
        start = position + used
        return (start, start + length) if start + length <= len(self._held) else None


def _split(section: bytes) -> tuple[Cid, bytes]:
    cid, end = Cid.read(section)
    return cid, section[end:]


def _decode_header(header: bytes) -> tuple[Cid, ...]:
    """The only shape of version 1."""
    position = _expect(header, 0, _CBOR_MAP_2 + _CBOR_ROOTS)
    count, position = _read_cbor_head(header, position, _CBOR_ARRAY)
    if count > MAX_ROOTS:
        raise RemoteError("bad-car", f"The CAR file has more than {MAX_ROOTS} roots.")
    roots: list[Cid] = []
    for _ in range(count):
        position = _expect(header, position, _CBOR_CID)
        length, position = _read_cbor_head(header, position, _CBOR_BYTES)
        cid = header[position : position + length]
        if len(cid) != length or cid[:1] != b"\0":
            raise RemoteError("bad-car", "A root of the CAR file is not a CID.")
        roots.append(Cid.decode(cid[1:]))
        position += length
    if header[position:] != _CBOR_VERSION + b"\x01":
        raise RemoteError("bad-car", "The CAR file is not of version 1.")
    return tuple(roots)


def _expect(header: bytes, position: int, wanted: bytes) -> int:
    if header[position : position + len(wanted)] != wanted:
        raise RemoteError("bad-car", "This is not a CAR file.")
    return position + len(wanted)


def _cbor_head(major: int, number: int) -> bytes:
    """The shortest form (RFC 8949 §4.2.1), for numbers under 65536."""
    if number < 24:
        return bytes((major << 5 | number,))
    if number < 256:
        return bytes((major << 5 | 24, number))
    return bytes((major << 5 | 25,)) + number.to_bytes(2, "big")


def _read_cbor_head(header: bytes, position: int, major: int) -> tuple[int, int]:
    for size in (0, 1, 2):
        head = header[position : position + 1 + size]
        number = int.from_bytes(head[1:], "big") if size else (head[0] & 0x1F if head else 0)
        if head and number < 1 << 16 and _cbor_head(major, number) == head:
            return number, position + 1 + size
    raise RemoteError("bad-car", "The header of the CAR file is malformed.")
