"""The two cryptographic suites. Pure.

A team's genesis entry pins one of them by number; nothing is ever negotiated, so there is nothing
to downgrade. A number that this version does not know is refused.
"""

from __future__ import annotations

import msgspec

from meshconsole.core.errors import Refused

HYBRID_TAG = "pqsig"
"""The name of the tag that holds the ML-DSA signature of a control event."""


class Suite(msgspec.Struct, frozen=True):
    """Names and lengths (in bytes) of one suite's parts."""

    id: int
    name: str
    mldsa: str
    """FIPS 204 parameter set."""
    mldsa_public_len: int
    signature_len: int
    mlkem: str
    """FIPS 203 parameter set inside the KEM."""
    kem: str
    kem_seed_len: int
    kem_public_len: int
    enc_len: int
    """What HPKE puts before the ciphertext."""
    hpke_kem_id: int
    hpke_kdf_id: int
    hpke_hash: str
    tls_group: str
    cid_hash: str
    """The multihash function of content roots."""

    @property
    def wrap_overhead(self) -> int:
        """Bytes that an HPKE wrap is longer than what it wraps: `enc` and the AEAD tag."""
        return self.enc_len + 16


MC1 = Suite(
    id=1,
    name="MC1",
    mldsa="ML-DSA-65",
    mldsa_public_len=1952,
    signature_len=3309,
    mlkem="ML-KEM-768",
    kem="X-Wing",
    kem_seed_len=32,
    kem_public_len=1216,
    enc_len=1120,
    hpke_kem_id=0x647A,  # MLKEM768-X25519, draft-ietf-hpke-pq
    hpke_kdf_id=0x0001,
    hpke_hash="sha256",
    tls_group="X25519MLKEM768",
    cid_hash="sha2-256",
)
"""Default: every key agreement is X25519 and ML-KEM-768, every control signature BIP-340 and ML-DSA-65."""

MC2 = Suite(
    id=2,
    name="MC2",
    mldsa="ML-DSA-87",
    mldsa_public_len=2592,
    signature_len=4627,
    mlkem="ML-KEM-1024",
    kem="ML-KEM-1024",
    kem_seed_len=64,
    kem_public_len=1568,
    enc_len=1568,
    hpke_kem_id=0x0042,  # ML-KEM-1024, draft-ietf-hpke-pq
    hpke_kdf_id=0x0002,
    hpke_hash="sha384",
    tls_group="MLKEM1024",
    cid_hash="sha2-512",
)
"""The CNSA 2.0 algorithms: ML-KEM-1024, ML-DSA-87, AES-256, SHA-384/512. No claim of validation."""

SUITES = (MC1, MC2)
_BY_ID = {suite.id: suite for suite in SUITES}


def suite_by_id(number: int) -> Suite:
    """Raises Refused("unsupported") for a number that this version does not know."""
    suite = _BY_ID.get(number)
    if suite is None:
        raise Refused(
            "unsupported",
            f"Cryptographic suite {number} is not known to this version of meshconsole.",
            hint="Update meshconsole on this device.",
        )
    return suite
