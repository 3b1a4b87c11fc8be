"""Bitswap 1.2 messages. Pure, strict where it matters and bounded everywhere.

Source: specs.ipfs.tech/bitswap-protocol. Unknown fields are skipped, as protobuf asks; known fields
with a wrong shape, CIDs that are none, and anything over the limits are refused.

One field is our own, which others skip: 64 in an entry of a wantlist says how many devices have passed the
want on so far, and in a presence through how many devices the block can be had.
"""

from __future__ import annotations

import msgspec

from meshconsole.content.formats.block import MAX_BLOCK_BYTES
from meshconsole.content.formats.cid import MAX_CID_BYTES, Cid, Prefix
from meshconsole.content.formats.protobuf import BYTES, VARINT, bytes_field, expect, fields, varint_field
from meshconsole.content.formats.varint import encode_varint
from meshconsole.core.errors import RemoteError

MAX_MESSAGE_BYTES = 4 << 20
MAX_ENTRIES = 4096
"""Of each kind in one message."""

_WANTLIST, _OLD_BLOCKS, _PAYLOAD, _PRESENCES, _PENDING_BYTES = 1, 2, 3, 4, 5
_ENTRIES, _FULL = 1, 2
_ENTRY_CID, _ENTRY_PRIORITY, _ENTRY_CANCEL, _ENTRY_TYPE, _ENTRY_SEND_DONT_HAVE = 1, 2, 3, 4, 5
_BLOCK_PREFIX, _BLOCK_DATA = 1, 2
_PRESENCE_CID, _PRESENCE_TYPE = 1, 2
_HOPS = 64
_WANT_BLOCK, _WANT_HAVE = 0, 1
_HAVE, _DONT_HAVE = 0, 1


class Want(msgspec.Struct, frozen=True):
    """`block`: the block itself; else just whether the peer has it."""

    cid: Cid
    block: bool
    send_dont_have: bool = True
    priority: int = 1
    hops: int = 0
    """Devices that have passed it on so far; 0 from whoever wants it."""


class Payload(msgspec.Struct, frozen=True):
    """A block as its sender names it; the CID is the prefix and the hash of the data."""

    prefix: Prefix
    data: bytes


class Message(msgspec.Struct, frozen=True):
    """`full`: the wants replace all earlier ones of this peer. `afar` are blocks that the peer can get from
    others, each with the number of devices that it then passes: 1 at least."""

    wants: tuple[Want, ...] = ()
    cancels: tuple[Cid, ...] = ()
    payload: tuple[Payload, ...] = ()
    haves: tuple[Cid, ...] = ()
    dont_haves: tuple[Cid, ...] = ()
    full: bool = False
    pending_bytes: int = 0
    afar: tuple[tuple[Cid, int], ...] = ()


def encode_message(message: Message) -> bytes:
    entries = [_encode_want(want) for want in message.wants]
    entries.extend(
        bytes_field(_ENTRY_CID, cid.encode()) + varint_field(_ENTRY_CANCEL, 1) for cid in message.cancels
    )
    out: list[bytes] = []
    if entries or message.full:
        wantlist = b"".join(bytes_field(_ENTRIES, entry) for entry in entries)
        if message.full:
            wantlist += varint_field(_FULL, 1)
        out.append(bytes_field(_WANTLIST, wantlist))
    for block in message.payload:
        out.extend(_payload_parts(block))
    out.extend(_encode_presence(cid, _HAVE) for cid in message.haves)
    out.extend(_encode_presence(cid, _HAVE, hops) for cid, hops in message.afar)
    out.extend(_encode_presence(cid, _DONT_HAVE) for cid in message.dont_haves)
    if message.pending_bytes:
        out.append(varint_field(_PENDING_BYTES, message.pending_bytes))
    return b"".join(out)


def decode_message(data: bytes) -> Message:
    """Raises RemoteError("oversize" | "bad-message" | "bad-protobuf" | "bad-varint" | "bad-cid")."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise RemoteError("oversize", f"A Bitswap message is over {MAX_MESSAGE_BYTES} bytes.")
    wants: list[Want] = []
    cancels: list[Cid] = []
    payload: list[Payload] = []
    haves: list[Cid] = []
    dont_haves: list[Cid] = []
    afar: list[tuple[Cid, int]] = []
    full = False
    pending_bytes = 0
    for number, wire, integer, value in fields(data):
        if number == _WANTLIST:
            expect(number, wire, BYTES)
            full = _decode_wantlist(value, wants, cancels) or full
        elif number == _PAYLOAD:
            expect(number, wire, BYTES)
            payload.append(_decode_payload(value))
        elif number == _PRESENCES:
            expect(number, wire, BYTES)
            cid, has, hops = _decode_presence(value)
            if has and hops:
                afar.append((cid, hops))
            else:
                (haves if has else dont_haves).append(cid)
        elif number == _OLD_BLOCKS:
            raise RemoteError("bad-message", "The peer sends blocks in the form of Bitswap 1.0.")
        elif number == _PENDING_BYTES:
            expect(number, wire, VARINT)
            pending_bytes = integer
        if max(len(payload), len(haves) + len(dont_haves) + len(afar)) > MAX_ENTRIES:
            raise RemoteError("bad-message", f"A Bitswap message has more than {MAX_ENTRIES} entries.")
    return Message(
        tuple(wants),
        tuple(cancels),
        tuple(payload),
        tuple(haves),
        tuple(dont_haves),
        full,
        pending_bytes,
        tuple(afar),
    )


def _payload_parts(block: Payload) -> tuple[bytes, ...]:
    """In parts, so that the data is copied once only."""
    head = bytes_field(_BLOCK_PREFIX, block.prefix.encode())
    head += encode_varint(_BLOCK_DATA << 3 | BYTES) + encode_varint(len(block.data))
    key = encode_varint(_PAYLOAD << 3 | BYTES) + encode_varint(len(head) + len(block.data))
    return (key, head, block.data)


def _encode_want(want: Want) -> bytes:
    out = bytes_field(_ENTRY_CID, want.cid.encode()) + varint_field(_ENTRY_PRIORITY, want.priority)
    if not want.block:
        out += varint_field(_ENTRY_TYPE, _WANT_HAVE)
    if want.send_dont_have:
        out += varint_field(_ENTRY_SEND_DONT_HAVE, 1)
    if want.hops:
        out += varint_field(_HOPS, want.hops)
    return out


def _encode_presence(cid: Cid, kind: int, hops: int = 0) -> bytes:
    presence = bytes_field(_PRESENCE_CID, cid.encode()) + varint_field(_PRESENCE_TYPE, kind)
    return bytes_field(_PRESENCES, presence + varint_field(_HOPS, hops) if hops else presence)


def _decode_wantlist(data: memoryview, wants: list[Want], cancels: list[Cid]) -> bool:
    full = False
    for number, wire, integer, value in fields(data):
        if number == _ENTRIES:
            expect(number, wire, BYTES)
            if len(wants) + len(cancels) >= MAX_ENTRIES:
                raise RemoteError("bad-message", f"A wantlist has more than {MAX_ENTRIES} entries.")
            _decode_entry(value, wants, cancels)
        elif number == _FULL:
            expect(number, wire, VARINT)
            full = bool(integer)
    return full


def _decode_entry(data: memoryview, wants: list[Want], cancels: list[Cid]) -> None:
    cid: Cid | None = None
    integers = {
        _ENTRY_PRIORITY: 1,
        _ENTRY_CANCEL: 0,
        _ENTRY_TYPE: _WANT_BLOCK,
        _ENTRY_SEND_DONT_HAVE: 0,
        _HOPS: 0,
    }
    for number, wire, integer, value in fields(data):
        if number == _ENTRY_CID:
            expect(number, wire, BYTES)
            cid = _decode_cid(value)
        elif number in integers:
            expect(number, wire, VARINT)
            integers[number] = integer
    if cid is None:
        raise RemoteError("bad-message", "An entry of a wantlist has no CID.")
    kind = integers[_ENTRY_TYPE]
    if kind not in (_WANT_BLOCK, _WANT_HAVE):
        raise RemoteError("bad-message", f"Want type {kind} is not known.")
    if integers[_ENTRY_CANCEL]:
        cancels.append(cid)
        return
    send_dont_have = bool(integers[_ENTRY_SEND_DONT_HAVE])
    wants.append(Want(cid, kind == _WANT_BLOCK, send_dont_have, integers[_ENTRY_PRIORITY], integers[_HOPS]))


def _decode_payload(data: memoryview) -> Payload:
    prefix: Prefix | None = None
    content: memoryview | None = None
    for number, wire, _, value in fields(data):
        if number == _BLOCK_PREFIX:
            expect(number, wire, BYTES)
            prefix = Prefix.decode(bytes(value[:MAX_CID_BYTES]))
        elif number == _BLOCK_DATA:
            expect(number, wire, BYTES)
            content = value
    if prefix is None:
        raise RemoteError("bad-message", "A block has no prefix of its CID.")
    if content is not None and len(content) > MAX_BLOCK_BYTES:
        raise RemoteError("oversize", f"A block is over {MAX_BLOCK_BYTES} bytes.")
    # A proto3 writer leaves empty data out.
    return Payload(prefix, bytes(content) if content is not None else b"")


def _decode_presence(data: memoryview) -> tuple[Cid, bool, int]:
    cid: Cid | None = None
    kind = _HAVE
    hops = 0
    for number, wire, integer, value in fields(data):
        if number == _PRESENCE_CID:
            expect(number, wire, BYTES)
            cid = _decode_cid(value)
        elif number == _PRESENCE_TYPE:
            expect(number, wire, VARINT)
            kind = integer
        elif number == _HOPS:
            expect(number, wire, VARINT)
            hops = integer
    if cid is None:
        raise RemoteError("bad-message", "A block presence has no CID.")
    if kind not in (_HAVE, _DONT_HAVE):
        raise RemoteError("bad-message", f"Presence type {kind} is not known.")
    return cid, kind == _HAVE, hops


def _decode_cid(value: memoryview) -> Cid:
    if len(value) > MAX_CID_BYTES:
        raise RemoteError("bad-cid", "A CID is too long.")
    return Cid.decode(bytes(value))
