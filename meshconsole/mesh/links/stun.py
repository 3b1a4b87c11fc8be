"""STUN binding requests (RFC 8489), as far as it takes to see whether a server lives. Pure."""

from __future__ import annotations

import ipaddress
import struct

from meshconsole.mesh.endpoints import join_address

TRANSACTION_LEN = 12
_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")
_MAGIC = 0x2112A442
_BINDING_REQUEST, _BINDING_SUCCESS, _BINDING_ERROR = 0x0001, 0x0101, 0x0111
_XOR_MAPPED_ADDRESS = 0x0020
_FAMILIES = {1: 4, 2: 16}


def binding_request(transaction: bytes) -> bytes:
    return _HEADER.pack(_BINDING_REQUEST, 0, _MAGIC, transaction)


def read_binding(message: bytes, transaction: bytes) -> str | None:
    """HOST:PORT under which the server sees this node, "" from a server that only says that it lives;
    None for what is no answer to the request."""
    if len(message) < _HEADER.size:
        return None
    kind, length, magic, answered = _HEADER.unpack_from(message)
    if magic != _MAGIC or answered != transaction or kind not in (_BINDING_SUCCESS, _BINDING_ERROR):
        return None
    at, end = _HEADER.size, min(len(message), _HEADER.size + length)
    while at + _ATTRIBUTE.size <= end:
        name, size = _ATTRIBUTE.unpack_from(message, at)
        value = message[at + _ATTRIBUTE.size : at + _ATTRIBUTE.size + size]
        if name == _XOR_MAPPED_ADDRESS and len(value) == size:
            return _address(value, transaction)
        at += _ATTRIBUTE.size + size + -size % 4
    return ""


def _address(value: bytes, transaction: bytes) -> str:
    """RFC 8489 §14.2: port and address, each under a mask."""
    length = _FAMILIES.get(value[1] if len(value) > 1 else 0, 0)
    if not length or len(value) != 4 + length:
        return ""
    mask = _MAGIC.to_bytes(4, "big") + transaction
    port = int.from_bytes(value[2:4], "big") ^ _MAGIC >> 16
    host = bytes(a ^ b for a, b in zip(value[4:], mask, strict=False))
    return join_address(str(ipaddress.ip_address(host)), port)
