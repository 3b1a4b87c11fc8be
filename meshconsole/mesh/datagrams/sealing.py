"""Sealed datagrams: random bytes to whoever does not hold the team's key. Pure.

    datagram = 16 bytes of salt | AES-256-GCM under HMAC-SHA-512(K, salt)[:32], nonce zero
    plaintext = u16 length | payload | zeros, as long as the next size of SIZES

K is the epoch's key for the use "datagram". The salt makes a key that is used once, so the nonce need not
change and nobody has to count. Nothing outside names the team, the device or the key; the sizes are few.
That somebody holds K proves no more than that: whatever matters inside is signed.
"""

from __future__ import annotations

import hmac
import os
import struct

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from meshconsole.core.errors import LocalError

MAX_DATAGRAM = 1200
"""Bytes: passes every path that carries IPv6 (at least 1280), with room for its headers."""

SALT_LEN = 16
OVERHEAD = SALT_LEN + 16
SIZES = (192, 384, 768, MAX_DATAGRAM)
_LENGTH = struct.Struct("!H")
MAX_PAYLOAD = MAX_DATAGRAM - OVERHEAD - _LENGTH.size
_NONCE = bytes(12)


class Sealer(msgspec.Struct):
    """`keys`, the one to seal with first; none for a device that holds none."""

    keys: tuple[bytes, ...] = ()

    def seal(self, payload: bytes) -> bytes:
        """Raises LocalError without a key, or for more than MAX_PAYLOAD bytes."""
        if not self.keys or len(payload) > MAX_PAYLOAD:
            raise LocalError(f"A payload of {len(payload)} bytes cannot be sealed in a datagram.")
        size = next(s for s in SIZES if s - OVERHEAD - _LENGTH.size >= len(payload)) - OVERHEAD
        salt = os.urandom(SALT_LEN)
        plaintext = (_LENGTH.pack(len(payload)) + payload).ljust(size, b"\0")
        return salt + AESGCM(_key(self.keys[0], salt)).encrypt(_NONCE, plaintext, None)

    def open(self, datagram: bytes) -> bytes | None:
        """The payload; None for whatever is not sealed under one of the keys, and whole."""
        if len(datagram) not in SIZES:
            return None
        salt, sealed = datagram[:SALT_LEN], datagram[SALT_LEN:]
        for key in self.keys:
            try:
                plaintext = AESGCM(_key(key, salt)).decrypt(_NONCE, sealed, None)
            except InvalidTag:
                continue
            (length,) = _LENGTH.unpack_from(plaintext)
            return plaintext[_LENGTH.size : _LENGTH.size + length]
        return None


def _key(key: bytes, salt: bytes) -> bytes:
    return hmac.digest(key, salt, "sha512")[:32]
