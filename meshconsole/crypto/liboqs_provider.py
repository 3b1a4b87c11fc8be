"""ML-DSA and ML-KEM by liboqs through liboqs-python: the second provider.

liboqs has no HPKE and no X25519; the schedule is ours (`hpke_schedule.py`) and X25519 is that of
`cryptography`. Two laws:

- Every length is checked before a call, because liboqs-python pads short inputs with zeros.
- liboqs 0.16 has no ML-DSA key generation from a seed. It is done by handing the seed out as the
  library's randomness, which is one setting for the whole process; so each call that draws
  randomness holds `_randomness`, and the key is compared with the one that OpenSSL derives.
"""

from __future__ import annotations

import ctypes
import hashlib
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from meshconsole.core.errors import Fatal, RemoteError
from meshconsole.crypto.hpke_schedule import Schedule
from meshconsole.crypto.lengths import check_context, check_seed, check_wrap
from meshconsole.crypto.liboqs_loader import load_oqs
from meshconsole.crypto.openssl_provider import OpensslProvider
from meshconsole.crypto.suites import MC2, Suite

if TYPE_CHECKING:
    from collections.abc import Iterator

_MLKEM768_PUBLIC_LEN = 1184
_MLKEM768_CIPHERTEXT_LEN = 1088
_MLKEM_SEED_LEN = 64
_XWING_LABEL = b"\\.//^\\"  # draft-connolly-cfrg-xwing-kem §5.3
_RANDOM_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_uint8), ctypes.c_size_t)


class LiboqsProvider:
    """Built by `load`; stateless otherwise."""

    name = "liboqs"

    def __init__(self, oqs: Any, version: str) -> None:  # noqa: ANN401  (an untyped module)
        self._oqs = oqs
        self._openssl = OpensslProvider()
        self._randomness = threading.Lock()
        self.version = version

    @classmethod
    def load(cls) -> LiboqsProvider:
        """Raises Unavailable with the reason when no sound liboqs is installed."""
        oqs, version = load_oqs()
        return cls(oqs, version)

    def mldsa_public(self, suite: Suite, seed: bytes) -> bytes:
        with self._signer(suite, seed) as (_, public):
            return public

    def mldsa_sign(self, suite: Suite, seed: bytes, message: bytes, context: bytes) -> bytes:
        check_context(context)
        with self._signer(suite, seed) as (signer, _), self._randomness:
            return bytes(signer.sign_with_ctx_str(message, context))

    def mldsa_verify(
        self, suite: Suite, public: bytes, signature: bytes, message: bytes, context: bytes
    ) -> bool:
        check_context(context)
        if len(public) != suite.mldsa_public_len or len(signature) != suite.signature_len:
            return False
        with _freed(self._oqs.Signature(suite.mldsa)) as verifier:
            return bool(verifier.verify_with_ctx_str(message, signature, context, public))

    def kem_public(self, suite: Suite, seed: bytes) -> bytes:
        check_seed(seed, suite.kem_seed_len)
        if suite.id == MC2.id:
            return self.mlkem_public(suite.mlkem, seed)
        mlkem_seed, x25519 = _xwing_halves(seed)
        return self.mlkem_public(suite.mlkem, mlkem_seed) + x25519.public_key().public_bytes_raw()

    def kem_public_is_sound(self, suite: Suite, public: bytes) -> bool:
        try:
            self.hpke_seal(suite, public, b"", b"")
        except RemoteError:
            return False
        return True

    def hpke_seal(self, suite: Suite, kem_public: bytes, info: bytes, plaintext: bytes) -> bytes:
        if len(kem_public) != suite.kem_public_len:
            raise RemoteError("bad-key", "A device's key for receiving secrets is not valid.")
        if suite.id == MC2.id:
            enc, shared = self.mlkem_encapsulate(suite.mlkem, kem_public)
        else:
            enc, shared = self._xwing_encapsulate(kem_public)
        return enc + _schedule(suite).seal(shared, info, plaintext)

    def hpke_open(self, suite: Suite, seed: bytes, info: bytes, ciphertext: bytes) -> bytes:
        check_seed(seed, suite.kem_seed_len)
        check_wrap(suite, ciphertext)
        enc, body = ciphertext[: suite.enc_len], ciphertext[suite.enc_len :]
        try:
            if suite.id == MC2.id:
                shared = self.mlkem_decapsulate(suite.mlkem, seed, enc)
            else:
                shared = self._xwing_decapsulate(seed, enc)
            return _schedule(suite).open(shared, info, body)
        except (InvalidTag, ValueError):
            raise RemoteError(
                "bad-wrap", "A wrapped secret does not open: it was changed or is for another device."
            ) from None

    def mlkem_public(self, name: str, seed: bytes) -> bytes:
        """ML-KEM.KeyGen_internal(d, z) of FIPS 203 §6.1 for the 64-byte seed d || z."""
        check_seed(seed, _MLKEM_SEED_LEN)
        with _freed(self._oqs.KeyEncapsulation(name)) as kem:
            return bytes(kem.generate_keypair_seed(seed))

    def mlkem_encapsulate(self, name: str, public: bytes) -> tuple[bytes, bytes]:
        """(ciphertext, 32-byte shared secret). Raises RemoteError for a key that fails its check."""
        with _freed(self._oqs.KeyEncapsulation(name)) as kem:
            if len(public) != kem.length_public_key:
                raise RemoteError("bad-key", "An ML-KEM key has the wrong length.")
            try:
                with self._randomness:
                    ciphertext, shared = kem.encap_secret(public)
            except RuntimeError:
                raise RemoteError("bad-key", "An ML-KEM key is not valid.") from None
            return bytes(ciphertext), bytes(shared)

    def mlkem_decapsulate(self, name: str, seed: bytes, ciphertext: bytes) -> bytes:
        """The 32-byte shared secret; a random-looking one for a forged ciphertext (FIPS 203 §6.3)."""
        check_seed(seed, _MLKEM_SEED_LEN)
        with _freed(self._oqs.KeyEncapsulation(name)) as kem:
            if len(ciphertext) != kem.length_ciphertext:
                raise RemoteError("bad-wrap", "An ML-KEM ciphertext has the wrong length.")
            kem.generate_keypair_seed(seed)
            return bytes(kem.decap_secret(ciphertext))

    def _xwing_encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        mlkem_public, x25519_public = public[:_MLKEM768_PUBLIC_LEN], public[_MLKEM768_PUBLIC_LEN:]
        mlkem_enc, mlkem_shared = self.mlkem_encapsulate("ML-KEM-768", mlkem_public)
        ephemeral = X25519PrivateKey.generate()
        x25519_enc = ephemeral.public_key().public_bytes_raw()
        try:
            x25519_shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(x25519_public))
        except ValueError:
            raise RemoteError("bad-key", "A device's key for receiving secrets is not valid.") from None
        return mlkem_enc + x25519_enc, _xwing_combine(mlkem_shared, x25519_shared, x25519_enc, x25519_public)

    def _xwing_decapsulate(self, seed: bytes, enc: bytes) -> bytes:
        """Raises ValueError for an X25519 half of low order."""
        mlkem_seed, x25519 = _xwing_halves(seed)
        mlkem_enc, x25519_enc = enc[:_MLKEM768_CIPHERTEXT_LEN], enc[_MLKEM768_CIPHERTEXT_LEN:]
        mlkem_shared = self.mlkem_decapsulate("ML-KEM-768", mlkem_seed, mlkem_enc)
        x25519_shared = x25519.exchange(X25519PublicKey.from_public_bytes(x25519_enc))
        return _xwing_combine(mlkem_shared, x25519_shared, x25519_enc, x25519.public_key().public_bytes_raw())

    @contextmanager
    def _signer(self, suite: Suite, seed: bytes) -> Iterator[tuple[Any, bytes]]:
        """A liboqs signature object that holds the key of `seed`, and its public key."""
        expected = self._openssl.mldsa_public(suite, seed)
        with _freed(self._oqs.Signature(suite.mldsa)) as signer:
            drawn: list[int] = []

            def hand_out_seed(target: Any, length: int) -> None:  # noqa: ANN401  (a C pointer)
                drawn.append(length)
                ctypes.memmove(target, seed.ljust(length, b"\0"), length)

            native = self._oqs.native()
            callback = _RANDOM_FUNCTION(hand_out_seed)
            with self._randomness:
                native.OQS_randombytes_custom_algorithm(callback)
                try:
                    public = bytes(signer.generate_keypair())
                finally:
                    native.OQS_randombytes_switch_algorithm(b"system")
            if drawn != [len(seed)] or public != expected:
                raise Fatal(
                    "liboqs derives another signature key than OpenSSL does.",
                    hint='Set crypto.provider to "openssl" and report this.',
                )
            yield signer, public


@contextmanager
def _freed(handle: Any) -> Iterator[Any]:  # noqa: ANN401  (an untyped module)
    """One owner frees: a second free() of the same object aborts the process."""
    try:
        yield handle
    finally:
        handle.free()


def _schedule(suite: Suite) -> Schedule:
    return Schedule(suite.hpke_kem_id, suite.hpke_kdf_id, suite.hpke_hash)


def _xwing_halves(seed: bytes) -> tuple[bytes, X25519PrivateKey]:
    expanded = hashlib.shake_256(seed).digest(96)
    return expanded[:64], X25519PrivateKey.from_private_bytes(expanded[64:])


def _xwing_combine(
    mlkem_shared: bytes, x25519_shared: bytes, x25519_enc: bytes, x25519_public: bytes
) -> bytes:
    return hashlib.sha3_256(mlkem_shared + x25519_shared + x25519_enc + x25519_public + _XWING_LABEL).digest()
