"""HPKE base mode, single shot (RFC 9180 §5.1 and §6.1), over a shared secret made elsewhere.

For the provider whose library has the KEM but no HPKE. AES-256-GCM only.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_MODE_BASE = b"\x00"
_AES_256_GCM = 0x0002
_VERSION = b"HPKE-v1"


@dataclass(frozen=True, slots=True)
class Schedule:
    """The numbers of one HPKE suite. `hash_name` is the KDF's hash as `hmac` calls it."""

    kem_id: int
    kdf_id: int
    hash_name: str

    def seal(self, shared_secret: bytes, info: bytes, plaintext: bytes) -> bytes:
        key, nonce = self.key_and_nonce(shared_secret, info)
        return AESGCM(key).encrypt(nonce, plaintext, b"")

    def open(self, shared_secret: bytes, info: bytes, ciphertext: bytes) -> bytes:
        """Raises cryptography.exceptions.InvalidTag."""
        key, nonce = self.key_and_nonce(shared_secret, info)
        return AESGCM(key).decrypt(nonce, ciphertext, b"")

    def key_and_nonce(self, shared_secret: bytes, info: bytes) -> tuple[bytes, bytes]:
        """The 32-byte AEAD key and the 12-byte nonce of the first message."""
        context = (
            _MODE_BASE + self._extract(b"", b"psk_id_hash", b"") + self._extract(b"", b"info_hash", info)
        )
        secret = self._extract(shared_secret, b"secret", b"")
        return self._expand(secret, b"key", context, 32), self._expand(secret, b"base_nonce", context, 12)

    @property
    def _suite_id(self) -> bytes:
        return b"HPKE" + b"".join(n.to_bytes(2, "big") for n in (self.kem_id, self.kdf_id, _AES_256_GCM))

    def _extract(self, salt: bytes, label: bytes, key: bytes) -> bytes:
        """LabeledExtract of §4. HMAC pads an empty salt with zeros, as HKDF asks."""
        return hmac.digest(salt, _VERSION + self._suite_id + label + key, self.hash_name)

    def _expand(self, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
        """LabeledExpand of §4 for at most one block of the hash, which is all a key needs."""
        labelled = length.to_bytes(2, "big") + _VERSION + self._suite_id + label + info
        return hmac.digest(key, labelled + b"\x01", self.hash_name)[:length]
