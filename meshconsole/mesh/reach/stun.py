"""STUN's Binding question, which STUN and TURN servers answer to anybody (RFC 8489 §14.2). Pure."""

from __future__ import annotations

import ipaddress
import struct

from meshconsole.mesh.endpoints import join_address

MAGIC = 0x2112A442
_BINDING, _BINDING_ANSWER = 0x0001, 0x0101
_XOR_MAPPED_ADDRESS = 0x0020
_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")
ID_BYTES = 12


def question(transaction: bytes) -> bytes:
    return _HEADER.pack(_BINDING, 0, MAGIC, transaction)


def answer(data: bytes, transaction: bytes) -> str | None:
    """HOST:PORT as the server saw it, "" if it did not say; None for anything that is no answer to this."""
    if len(data) < _HEADER.size:
        return None
    kind, length, magic, answered = _HEADER.unpack_from(data)
    if (kind, magic, answered) != (_BINDING_ANSWER, MAGIC, transaction) or len(data) < _HEADER.size + length:
        return None
    at, end = _HEADER.size, _HEADER.size + length
    while at + _ATTRIBUTE.size <= end:
        attribute, size = _ATTRIBUTE.unpack_from(data, at)
        value = data[at + _ATTRIBUTE.size : min(at + _ATTRIBUTE.size + size, end)]
        if attribute == _XOR_MAPPED_ADDRESS:
            return _address(value, transaction)
        at += _ATTRIBUTE.size + (size + 3 & ~3)
    return ""


def _address(value: bytes, transaction: bytes) -> str:
    """RFC 8489 §14.2: family, port and address, the latter two XORed with what was asked."""
    mask = struct.pack("!I", MAGIC) + transaction
    host = bytes(byte ^ key for byte, key in zip(value[4:], mask, strict=False))
    if len(host) not in (4, 16) or len(host) != (4 if value[1] == 1 else 16):
        return ""
    (port,) = struct.unpack_from("!H", value, 2)
    return join_address(str(ipaddress.ip_address(host)), port ^ MAGIC >> 16)
