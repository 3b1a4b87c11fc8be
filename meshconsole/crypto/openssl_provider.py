"""ML-DSA and HPKE by `cryptography` (OpenSSL): the provider that is always there."""

from __future__ import annotations

import hashlib

import cryptography
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mldsa import (
    MLDSA65PrivateKey,
    MLDSA65PublicKey,
    MLDSA87PrivateKey,
    MLDSA87PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.mlkem import (
    MLKEM768PrivateKey,
    MLKEM768PublicKey,
    MLKEM1024PrivateKey,
    MLKEM1024PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from meshconsole.core.errors import RemoteError
from meshconsole.crypto.lengths import check_context, check_seed, check_wrap
from meshconsole.crypto.suites import MC1, MC2, Suite

_HPKE = {
    MC1.id: hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM),
    MC2.id: hpke.Suite(hpke.KEM.MLKEM1024, hpke.KDF.HKDF_SHA384, hpke.AEAD.AES_256_GCM),
}
_MLKEM768_PUBLIC_LEN = 1184


class OpensslProvider:
    """Stateless: keys are expanded from their seeds at each call (0.3 ms for ML-DSA)."""

    name = "openssl"

    @property
    def version(self) -> str:
        from cryptography.hazmat.backends.openssl.backend import backend

        return f"cryptography {cryptography.__version__}, {backend.openssl_version_text()}"

    def mldsa_public(self, suite: Suite, seed: bytes) -> bytes:
        return _mldsa_private(suite, seed).public_key().public_bytes_raw()

    def mldsa_sign(self, suite: Suite, seed: bytes, message: bytes, context: bytes) -> bytes:
        check_context(context)
        return _mldsa_private(suite, seed).sign(message, context)

    def mldsa_verify(
        self, suite: Suite, public: bytes, signature: bytes, message: bytes, context: bytes
    ) -> bool:
        check_context(context)
        if len(public) != suite.mldsa_public_len or len(signature) != suite.signature_len:
            return False
        try:
            _mldsa_public(suite, public).verify(signature, message, context)
        except (InvalidSignature, ValueError):
            return False
        return True

    def kem_public(self, suite: Suite, seed: bytes) -> bytes:
        check_seed(seed, suite.kem_seed_len)
        if suite.id == MC2.id:
            return MLKEM1024PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()
        mlkem, x25519 = _xwing_halves(seed)
        return mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()

    def kem_public_is_sound(self, suite: Suite, public: bytes) -> bool:
        try:
            self.hpke_seal(suite, public, b"", b"")
        except RemoteError:
            return False
        return True

    def hpke_seal(self, suite: Suite, kem_public: bytes, info: bytes, plaintext: bytes) -> bytes:
        try:
            return _HPKE[suite.id].encrypt(plaintext, _kem_public(suite, kem_public), info=info)
        except ValueError:
            # An X25519 half of low order, which gives an all-zero secret.
            raise RemoteError("bad-key", "A device's key for receiving secrets is not valid.") from None

    def hpke_open(self, suite: Suite, seed: bytes, info: bytes, ciphertext: bytes) -> bytes:
        check_seed(seed, suite.kem_seed_len)
        check_wrap(suite, ciphertext)
        private: MLKEM1024PrivateKey | hpke.MLKEM768X25519PrivateKey
        if suite.id == MC2.id:
            private = MLKEM1024PrivateKey.from_seed_bytes(seed)
        else:
            private = hpke.MLKEM768X25519PrivateKey(*_xwing_halves(seed))
        try:
            return _HPKE[suite.id].decrypt(ciphertext, private, info=info)
        except (InvalidTag, ValueError):
            raise RemoteError(
                "bad-wrap", "A wrapped secret does not open: it was changed or is for another device."
            ) from None


def _mldsa_private(suite: Suite, seed: bytes) -> MLDSA65PrivateKey | MLDSA87PrivateKey:
    check_seed(seed, 32)
    if suite.id == MC2.id:
        return MLDSA87PrivateKey.from_seed_bytes(seed)
    return MLDSA65PrivateKey.from_seed_bytes(seed)


def _mldsa_public(suite: Suite, public: bytes) -> MLDSA65PublicKey | MLDSA87PublicKey:
    if suite.id == MC2.id:
        return MLDSA87PublicKey.from_public_bytes(public)
    return MLDSA65PublicKey.from_public_bytes(public)


def _xwing_halves(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    """expandDecapsulationKey of draft-connolly-cfrg-xwing-kem §5.2."""
    expanded = hashlib.shake_256(seed).digest(96)
    return (
        MLKEM768PrivateKey.from_seed_bytes(expanded[:64]),
        X25519PrivateKey.from_private_bytes(expanded[64:]),
    )


def _kem_public(suite: Suite, public: bytes) -> MLKEM1024PublicKey | hpke.MLKEM768X25519PublicKey:
    """Includes the encapsulation key check of FIPS 203 §7.2."""
    try:
        if len(public) != suite.kem_public_len:
            raise ValueError
        if suite.id == MC2.id:
            return MLKEM1024PublicKey.from_public_bytes(public)
        return hpke.MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public[:_MLKEM768_PUBLIC_LEN]),
            X25519PublicKey.from_public_bytes(public[_MLKEM768_PUBLIC_LEN:]),
        )
    except ValueError:
        raise RemoteError("bad-key", "A device's key for receiving secrets is not valid.") from None
