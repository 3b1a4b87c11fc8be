"""NIP-44 version 2: text for one Nostr key, under a key agreement on secp256k1.

Not post-quantum: whoever records it and has a quantum computer one day reads it. Only messages to plain
Nostr clients use it. HKDF and HMAC with SHA-256, ChaCha20, and padding to 1/4 or 1/8 of a power of two.
"""

from __future__ import annotations

import hmac
import os
from typing import NamedTuple

from coincurve import PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from meshconsole.core.errors import LocalError, Refused, RemoteError
from meshconsole.crypto.encoding import b64, unb64
from meshconsole.crypto.schnorr import check_secret

KEY_LEN = 32
NONCE_LEN = 32
MAX_TEXT_BYTES = 65_535
_SALT = b"nip44-v2"
_VERSION = b"\x02"
_EVEN_Y = b"\x02"
_MAC_LEN = 32
_SIZE_LEN = 2
_MIN_PADDED = 32
_MIN_PAYLOAD, _MAX_PAYLOAD = 132, 87_472
"""Characters of base64: of 1 and of 65,535 bytes of text."""


class MessageKeys(NamedTuple):
    cipher_key: bytes
    cipher_nonce: bytes
    mac_key: bytes


def conversation_key(secret: bytes, npub: str) -> bytes:
    """What both ends have in common, 32 bytes. Raises Refused for an `npub` (hex) that is no point."""
    try:
        public = PublicKey(_EVEN_Y + bytes.fromhex(npub))
    except ValueError:
        raise Refused("invalid", "This is not a Nostr public key.") from None
    shared_x = public.multiply(check_secret(secret)).format()[1:]
    return hmac.digest(_SALT, shared_x, "sha256")


def encrypt(key: bytes, text: str, nonce: bytes | None = None) -> str:
    """The payload in base64. `nonce` is for tests; it must never come twice. Raises Refused for a text
    that is empty or has more than 65,535 bytes."""
    plain = text.encode()
    if not 1 <= len(plain) <= MAX_TEXT_BYTES:
        raise Refused("invalid", f"NIP-44 takes 1 to {MAX_TEXT_BYTES} bytes of text, not {len(plain)}.")
    nonce = os.urandom(NONCE_LEN) if nonce is None else nonce
    keys = message_keys(key, nonce)
    padding = bytes(padded_size(len(plain)) - len(plain))
    sealed = _chacha20(keys, len(plain).to_bytes(_SIZE_LEN, "big") + plain + padding)
    return b64(_VERSION + nonce + sealed + _mac(keys, nonce, sealed))


def decrypt(key: bytes, payload: str) -> str:
    """Raises RemoteError for whatever `encrypt` would not have made under this key."""
    if not _MIN_PAYLOAD <= len(payload) <= _MAX_PAYLOAD:
        raise RemoteError("bad-message", "An encrypted text has a length that NIP-44 does not know.")
    raw = unb64(payload)
    version, nonce, sealed, mac = raw[:1], raw[1:33], raw[33:-_MAC_LEN], raw[-_MAC_LEN:]
    if version != _VERSION:
        raise RemoteError("bad-message", "An encrypted text is of another version of NIP-44.")
    keys = message_keys(key, nonce)
    if not hmac.compare_digest(_mac(keys, nonce, sealed), mac):
        raise RemoteError("bad-message", "An encrypted text does not open with this key.")
    padded = _chacha20(keys, sealed)
    size = int.from_bytes(padded[:_SIZE_LEN], "big")
    plain, rest = padded[_SIZE_LEN : _SIZE_LEN + size], padded[_SIZE_LEN + size :]
    if not size or len(padded) != _SIZE_LEN + padded_size(size) or any(rest):
        raise RemoteError("bad-padding", "The padding of an encrypted text is wrong.")
    try:
        return plain.decode()
    except UnicodeDecodeError:
        raise RemoteError("bad-message", "An encrypted text is not UTF-8.") from None


def message_keys(key: bytes, nonce: bytes) -> MessageKeys:
    if len(key) != KEY_LEN or len(nonce) != NONCE_LEN:
        raise LocalError("NIP-44 takes a key and a nonce of 32 bytes.")
    derived = HKDFExpand(SHA256(), 76, nonce).derive(key)
    return MessageKeys(derived[:32], derived[32:44], derived[44:])


def padded_size(size: int) -> int:
    """Bytes of text and padding for `size` >= 1 bytes of text."""
    if size <= _MIN_PADDED:
        return _MIN_PADDED
    power = 1 << (size - 1).bit_length()
    chunk = _MIN_PADDED if power <= 256 else power // 8
    return chunk * ((size - 1) // chunk + 1)


def _chacha20(keys: MessageKeys, data: bytes) -> bytes:
    # RFC 8439 §2.4 with the counter at 0; `cryptography` takes it in front of the nonce, little-endian.
    return Cipher(ChaCha20(keys.cipher_key, bytes(4) + keys.cipher_nonce), mode=None).encryptor().update(data)


def _mac(keys: MessageKeys, nonce: bytes, sealed: bytes) -> bytes:
    return hmac.digest(keys.mac_key, nonce + sealed, "sha256")
