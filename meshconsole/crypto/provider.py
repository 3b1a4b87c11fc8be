"""What a library has to compute for this node: ML-DSA and HPKE. Which one does is in `providers.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from meshconsole.crypto.suites import Suite


class Provider(Protocol):
    """ML-DSA (FIPS 204) from 32-byte seeds with a non-empty context, and single-shot HPKE (RFC 9180).

    Wrong lengths of a seed or context raise LocalError; all that a peer may have chosen gives False
    or RemoteError. Every method may be called from any thread.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def mldsa_public(self, suite: Suite, seed: bytes) -> bytes: ...

    def mldsa_sign(self, suite: Suite, seed: bytes, message: bytes, context: bytes) -> bytes: ...

    def mldsa_verify(
        self, suite: Suite, public: bytes, signature: bytes, message: bytes, context: bytes
    ) -> bool: ...

    def kem_public(self, suite: Suite, seed: bytes) -> bytes: ...

    def kem_public_is_sound(self, suite: Suite, public: bytes) -> bool:
        """Whether `hpke_seal` works with it: length, FIPS 203 §7.2, no X25519 point of low order."""
        ...

    def hpke_seal(self, suite: Suite, kem_public: bytes, info: bytes, plaintext: bytes) -> bytes: ...

    def hpke_open(self, suite: Suite, seed: bytes, info: bytes, ciphertext: bytes) -> bytes: ...
