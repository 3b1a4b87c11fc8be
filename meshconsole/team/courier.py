"""What a courier carries on a stick: sealed files for those devices of the team that may read. Pure.

    "MCC1" | u32 length | header (JSON) | boxes, each: u32 length | sealed box

The header names team, bundle and part, and holds the part's own key, wrapped by HPKE for each device: so a
site that has not heard of the newest epoch can read it, and a device that was removed since cannot. A box is
bound to its place; the last one says that it is. Inside are frames: u8 kind | u32 length | data. Everything
in them proves itself, events by their signatures and blocks by their hashes, wherever the file came from.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from hashlib import sha256
from struct import Struct
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from meshconsole.core.errors import Refused, RemoteError
from meshconsole.crypto.encoding import lp
from meshconsole.crypto.sealing import seal, unseal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from meshconsole.crypto.bundle import KeyBundle
    from meshconsole.crypto.identity import Identity

Frame = tuple[int, bytes]
"""Kind and data."""

MAGIC = b"MCC1"
EVENT, CAR_HEADER, CAR_SECTION, EVENT_IDS, ROOT = 1, 2, 3, 4, 5
"""Kinds of frames: an event; the header of a CAR file (version 1), and a section of the last one begun;
ids of events that a site has, 32 bytes each; the CID of a root that it has."""

BOX_BYTES = 1 << 20
"""A box is closed once so much is in it."""
MAX_FRAME_BYTES = (2 << 20) + 4096
MAX_BOX_BYTES = BOX_BYTES + MAX_FRAME_BYTES + (1 << 16)
MAX_HEADER_BYTES = 4 << 20

_LENGTH = Struct(">I")
_FRAME = Struct(">BI")


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: Annotated[int, Meta(ge=1, le=1)]
    team: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    bundle: Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
    part: Annotated[int, Meta(ge=0, le=99_999)]
    wraps: dict[str, bytes]


class Receipt(msgspec.Struct, frozen=True):
    """What was carried to a device, as that device signs it: the content of an event."""

    v: Annotated[int, Meta(ge=1, le=1)]
    parts: Annotated[list[str], Meta(max_length=4096)]
    counts: dict[str, int]


def receipt_in_words(content: str) -> str:
    """One line, of what a stranger may have chosen."""
    try:
        receipt = msgspec.json.decode(content, type=Receipt)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return "a receipt that cannot be read"
    counts = ", ".join(f"{count} {name}" for name, count in receipt.counts.items())
    return f"took {counts}" if counts else "took nothing"


class Label(msgspec.Struct, frozen=True):
    """Which part of which bundle a file is."""

    bundle: str
    part: int


class PartWriter(msgspec.Struct):
    """Pure: `begin`, then `add` and `finish` give bytes to be written one behind the other."""

    me: Identity
    team: bytes
    readers: Sequence[KeyBundle]
    label: Label
    _key: bytes = msgspec.field(default_factory=lambda: os.urandom(32))
    _frames: bytearray = msgspec.field(default_factory=bytearray)
    _boxes: int = 0

    def begin(self) -> bytes:
        info = _info(self.team, self.label)
        wraps = {
            _address(self.label, reader.npub): self.me.provider.hpke_seal(
                self.me.suite, reader.kem_public, info, self._key
            )
            for reader in self.readers
        }
        header = msgspec.json.encode(_Header(1, self.team.hex(), self.label.bundle, self.label.part, wraps))
        return MAGIC + _LENGTH.pack(len(header)) + header

    def add(self, kind: int, data: bytes) -> bytes:
        self._frames += _FRAME.pack(kind, len(data)) + data
        return self._box(last=False) if len(self._frames) >= BOX_BYTES else b""

    def finish(self) -> bytes:
        return self._box(last=True)

    def _box(self, *, last: bool) -> bytes:
        context = _context(self.team, self.label, self._boxes, last=last)
        box = seal(self._key, context, bytes(self._frames))
        self._frames.clear()
        self._boxes += 1
        return _LENGTH.pack(len(box)) + box


@dataclass(slots=True)
class PartReader:
    """`header_size` bytes after the first 8 go to `open`; then of each box its length, its bytes to `box`."""

    me: Identity
    team: bytes
    label: Label = field(init=False)
    ended: bool = False
    _key: bytes = field(init=False)
    _boxes: int = 0

    @staticmethod
    def header_size(start: bytes) -> int:
        """Of the first 8 bytes of a file. Raises RemoteError."""
        if len(start) != 8 or start[:4] != MAGIC:
            raise RemoteError("bad-bundle", "This is not a file of a bundle.")
        return _bounded(start[4:], MAX_HEADER_BYTES)

    @staticmethod
    def box_size(start: bytes) -> int:
        """Of the 4 bytes before a box. Raises RemoteError."""
        return _bounded(start, MAX_BOX_BYTES)

    def open(self, encoded: bytes) -> None:
        """Raises RemoteError for what is none, Refused where it is for another team or device."""
        try:
            header = msgspec.json.decode(encoded, type=_Header)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise RemoteError("bad-bundle", "The header of the bundle is malformed.") from None
        if header.team != self.team.hex():
            raise Refused("invalid", "The bundle is of another team.")
        self.label = Label(header.bundle, header.part)
        wrap = header.wraps.get(_address(self.label, self.me.npub))
        if wrap is None:
            raise Refused("restricted", "The bundle was not packed for this device.")
        self._key = self.me.open_wrapped(_info(self.team, self.label), wrap)

    def box(self, box: bytes) -> Iterator[Frame]:
        """Its frames. Raises RemoteError where it was changed, moved or cut."""
        context = _context(self.team, self.label, self._boxes, last=False)
        try:
            frames = unseal(self._key, context, box)
        except RemoteError:
            context = _context(self.team, self.label, self._boxes, last=True)
            frames = unseal(self._key, context, box)
            self.ended = True
        self._boxes += 1
        return _split(frames)


def _split(frames: bytes) -> Iterator[Frame]:
    position = 0
    while position < len(frames):
        if position + _FRAME.size > len(frames):
            raise RemoteError("bad-bundle", "A frame of the bundle is cut off.")
        kind, length = _FRAME.unpack_from(frames, position)
        position += _FRAME.size
        if length > len(frames) - position:
            raise RemoteError("bad-bundle", "A frame of the bundle is cut off.")
        yield kind, frames[position : position + length]
        position += length


def _bounded(start: bytes, limit: int) -> int:
    if len(start) != _LENGTH.size:
        raise RemoteError("bad-bundle", "The file of the bundle is cut off.")
    (size,) = _LENGTH.unpack(start)
    if size > limit:
        raise RemoteError("bad-bundle", "The file of the bundle is damaged.")
    return int(size)


def _address(label: Label, npub: str) -> str:
    return sha256(lp("mc/courier-to/v1", bytes.fromhex(label.bundle), bytes.fromhex(npub))).hexdigest()[:32]


def _info(team: bytes, label: Label) -> bytes:
    return lp("mc/courier-key/v1", team, bytes.fromhex(label.bundle), label.part)


def _context(team: bytes, label: Label, box: int, *, last: bool) -> bytes:
    return lp("mc/courier/v1", team, bytes.fromhex(label.bundle), label.part, box, int(last))
