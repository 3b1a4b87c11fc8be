"""The identity of one device: three key pairs from one 32-byte seed.

The seed is what a backup holds. Keys are derived from it by HKDF with labels that name the suite
and the use, so no key says anything of another. A Nostr key that the owner already has may be
imported in place of the derived one.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

from meshconsole.core.kinds import KEY_BUNDLE
from meshconsole.crypto.bundle import BUNDLE_CONTEXT, KeyBundle, bundle_tags
from meshconsole.crypto.encoding import b64, expand, lp
from meshconsole.crypto.hybrid import check_unsigned, hybrid_message, signature_tag
from meshconsole.crypto.lengths import check_seed
from meshconsole.crypto.nip44 import conversation_key
from meshconsole.crypto.schnorr import check_secret, public_key, sign_digest, sign_event

if TYPE_CHECKING:
    from meshconsole.core.event import Event, Tags
    from meshconsole.crypto.provider import Provider
    from meshconsole.crypto.suites import Suite

SEED_LEN = 32


class Identity:
    """Holds the secret keys of this device. Its `repr` shows the public name only."""

    def __init__(self, seed: bytes, suite: Suite, provider: Provider, nsec: bytes | None = None) -> None:
        """`seed` and `nsec` have 32 bytes; wrong ones raise LocalError."""
        check_seed(seed, SEED_LEN)
        self.suite = suite
        self.provider = provider
        self._seed = seed
        self._nostr_secret = check_secret(nsec if nsec is not None else self._derive("secp256k1", 32))
        self.npub = public_key(self._nostr_secret)
        """The Nostr public key, 64 hex digits."""

    @classmethod
    def generate(cls, suite: Suite, provider: Provider, nsec: bytes | None = None) -> Identity:
        return cls(os.urandom(SEED_LEN), suite, provider, nsec)

    @property
    def seed(self) -> bytes:
        """For backups."""
        return self._seed

    @property
    def nsec(self) -> bytes:
        """The Nostr secret key, 32 bytes; for backups."""
        return self._nostr_secret

    @property
    def mldsa_seed(self) -> bytes:
        """32 bytes; for the certificate of links."""
        return self._derive("mldsa", 32)

    @cached_property
    def mldsa_public(self) -> bytes:
        return self.provider.mldsa_public(self.suite, self.mldsa_seed)

    @cached_property
    def kem_public(self) -> bytes:
        return self.provider.kem_public(self.suite, self._kem_seed)

    @cached_property
    def bundle(self) -> KeyBundle:
        return KeyBundle(self.suite, self.npub, self.mldsa_public, self.kem_public)

    @property
    def bundle_hash(self) -> bytes:
        """32 bytes that name this device's keys; what people compare is `bundle.fingerprint`."""
        return self.bundle.hash

    def sign(self, kind: int, tags: Tags, content: str, created_at: int) -> Event:
        """An event with the Nostr signature only."""
        return sign_event(self._nostr_secret, kind, tags, content, created_at)

    def sign_digest(self, digest: bytes) -> bytes:
        """BIP-340 over 32 bytes that name their use (`encoding.lp`): 64 bytes."""
        return sign_digest(self._nostr_secret, digest)

    def sign_control(self, kind: int, tags: Tags, content: str, created_at: int, context: bytes) -> Event:
        """An event with the hybrid signature. `context` names its use, e.g. b"mc/roster/v1"."""
        check_unsigned(tags)
        message = hybrid_message(self.suite, self.npub, created_at, kind, tags, content)
        signature = self.provider.mldsa_sign(self.suite, self.mldsa_seed, message, context)
        return self.sign(kind, (*tags, signature_tag(self.suite, signature)), content, created_at)

    def bundle_event(self, created_at: int) -> Event:
        """The public keys, signed with both; `bundle.open_bundle` checks it."""
        content = b64(self.bundle.encoded)
        return self.sign_control(KEY_BUNDLE, bundle_tags(self.suite), content, created_at, BUNDLE_CONTEXT)

    def open_wrapped(self, info: bytes, ciphertext: bytes) -> bytes:
        """What was sealed to this device's KEM key by HPKE. Raises RemoteError when it does not open."""
        return self.provider.hpke_open(self.suite, self._kem_seed, info, ciphertext)

    def plain_key(self, npub: str) -> bytes:
        """NIP-44's key between this device and a Nostr key (hex). Not post-quantum. Raises Refused."""
        return conversation_key(self._nostr_secret, npub)

    @property
    def _kem_seed(self) -> bytes:
        return self._derive("kem", self.suite.kem_seed_len)

    def _derive(self, use: str, length: int) -> bytes:
        return expand(self._seed, lp("mc/identity/v1", self.suite.id, use), length)

    def __repr__(self) -> str:
        return f"<Identity {self.npub[:16]} {self.suite.name}>"
