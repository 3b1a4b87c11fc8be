"""Byte encodings that every signature, key derivation and sealed box of meshconsole builds on. Pure.

`lp` is injective on lists of byte strings: each part is preceded by its length, so no two lists
encode alike and a field cannot be moved across a border. The first part is always a label that
names the use and its version, e.g. "mc/bundle/v1".
"""

from __future__ import annotations

import base64
import binascii

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from meshconsole.core.errors import LocalError, RemoteError

MAX_PARTS = 4096
_LENGTH_BYTES = 4
_INT_BYTES = 8


def lp(*parts: bytes | str | int) -> bytes:
    """Each part as u32 big-endian length and bytes; text as UTF-8, integers as u64 big-endian."""
    out = bytearray()
    for part in parts:
        data = _as_bytes(part)
        out += len(data).to_bytes(_LENGTH_BYTES, "big") + data
    return bytes(out)


def unlp(data: bytes) -> list[bytes]:
    """The parts of `lp`. Raises RemoteError when a length runs past the end or parts exceed 4096."""
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        start = at + _LENGTH_BYTES
        end = start + int.from_bytes(data[at:start], "big")
        if start > len(data) or end > len(data):
            raise RemoteError("bad-encoding", "A length in the received bytes runs past their end.")
        if len(parts) == MAX_PARTS:
            raise RemoteError("bad-encoding", f"The received bytes have more than {MAX_PARTS} parts.")
        parts.append(data[start:end])
        at = end
    return parts


def read_int(part: bytes) -> int:
    """An integer that `lp` wrote. Raises RemoteError when the part has not 8 bytes."""
    if len(part) != _INT_BYTES:
        raise RemoteError("bad-encoding", "A number in the received bytes has the wrong length.")
    return int.from_bytes(part, "big")


def expand(key: bytes, info: bytes, length: int = 32) -> bytes:
    """HKDF-Expand with SHA-512 (RFC 5869 §2.3). `key` is uniformly random and has >= 32 bytes."""
    if len(key) < 32:
        raise LocalError("A key for HKDF-Expand must have at least 32 bytes.")
    return HKDFExpand(SHA512(), length, info).derive(key)


def b64(data: bytes) -> str:
    """Standard base64 with padding (RFC 4648 §4)."""
    return base64.b64encode(data).decode("ascii")


def unb64(text: str) -> bytes:
    """The bytes of `b64`. Raises RemoteError unless `text` is the one canonical form of them."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise RemoteError("bad-encoding", "The received text is not base64.") from None
    # Spare bits in the last character would give one value several spellings.
    if b64(data) != text:
        raise RemoteError("bad-encoding", "The received base64 is not in its canonical form.")
    return data


def _as_bytes(part: bytes | str | int) -> bytes:
    if isinstance(part, bytes):
        return part
    if isinstance(part, str):
        return part.encode()
    try:
        return part.to_bytes(_INT_BYTES, "big")
    except OverflowError:
        raise LocalError("An integer to be encoded must be between 0 and 2^64 - 1.") from None
