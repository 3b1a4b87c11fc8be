"""Cobblestone-256 written once more from its specification, with a chosen salt; for comparison only."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from meshconsole.crypto.encoding import expand

CHUNK = 16384


def seal_with_salt(key: bytes, context: bytes, salt: bytes, plaintext: bytes) -> bytes:
    """c2sp.org/chunked-encryption with SHA-512 and AES-256-GCM."""
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + context
    material = expand(key, info, 32 + 12 + 32)
    cipher, base, commitment = AESGCM(material[:32]), material[32:44], material[44:]
    out = salt + commitment
    for number in range(len(plaintext) // CHUNK + 1):
        nonce = (int.from_bytes(base, "big") ^ number).to_bytes(12, "big")
        out += cipher.encrypt(nonce, plaintext[number * CHUNK : (number + 1) * CHUNK], None)
    return out
