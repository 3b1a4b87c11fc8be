"""Key bundles: the public keys of one device, self-certified.

Content of the event: base64 of LP("mc/bundle/v1", suite, Nostr key, ML-DSA key, KEM key). The
ML-DSA key signs the Nostr key, and the Nostr key signs the event that holds the ML-DSA signature,
so neither can be put beside another's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused, RemoteError
from meshconsole.core.kinds import KEY_BUNDLE
from meshconsole.crypto.encoding import lp, read_int, unb64, unlp
from meshconsole.crypto.hybrid import verify_control
from meshconsole.crypto.suites import Suite, suite_by_id

if TYPE_CHECKING:
    from meshconsole.core.event import Event, Tags
    from meshconsole.crypto.provider import Provider

BUNDLE_CONTEXT = b"mc/bundle/v1"
MAX_CONTENT_LEN = 8192
_LABEL = b"mc/bundle/v1"
FINGERPRINT_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no I, L, O or U
_FINGERPRINT_GROUPS = 8
_GROUP_LEN = 4


@dataclass(frozen=True)
class KeyBundle:
    """`npub` is the Nostr public key in hex."""

    suite: Suite
    npub: str
    mldsa_public: bytes
    kem_public: bytes

    @cached_property
    def encoded(self) -> bytes:
        return lp(_LABEL, self.suite.id, bytes.fromhex(self.npub), self.mldsa_public, self.kem_public)

    @cached_property
    def hash(self) -> bytes:
        """The first 32 bytes of the SHA-512 of `encoded`: the name of these keys in invites and rosters."""
        return hashlib.sha512(self.encoded).digest()[:32]

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.hash)


def fingerprint(bundle_hash: bytes) -> str:
    """160 bits of a bundle's hash as 8 groups of 4 characters, for two people to compare by voice.

    No character sounds or looks like another. 160 bits keep a second key with the same fingerprint
    out of reach; a search with a quantum computer would take 2^80 steps one after another.
    """
    number = int.from_bytes(bundle_hash[:20], "big")
    length = _FINGERPRINT_GROUPS * _GROUP_LEN
    text = "".join(FINGERPRINT_ALPHABET[number >> 5 * (length - 1 - i) & 31] for i in range(length))
    return " ".join(text[i : i + _GROUP_LEN] for i in range(0, length, _GROUP_LEN))


def bundle_tags(suite: Suite) -> Tags:
    """One bundle per device and suite: the `d` tag of the addressable event."""
    return (("d", f"mc:{suite.id}"),)


def open_bundle(event: Event, provider: Provider) -> KeyBundle:
    """The keys in a bundle event. Raises Refused when anything about it is wrong."""
    if event.kind != KEY_BUNDLE or len(event.content) > MAX_CONTENT_LEN:
        raise Refused("invalid", "This event is not a key bundle.")
    bundle = _parse(event)
    if event.tags[:-1] != bundle_tags(bundle.suite):
        raise Refused("invalid", "The key bundle has unexpected tags.")
    verify_control(event, bundle.suite, bundle.mldsa_public, BUNDLE_CONTEXT, provider)
    if not provider.kem_public_is_sound(bundle.suite, bundle.kem_public):
        raise Refused("invalid", "The key bundle holds an invalid key for receiving secrets.")
    return bundle


def _parse(event: Event) -> KeyBundle:
    try:
        parts = unlp(unb64(event.content))
        if len(parts) != 5 or parts[0] != _LABEL:
            raise Refused("invalid", "The key bundle is malformed or of a newer version.")
        suite = suite_by_id(read_int(parts[1]))
    except RemoteError as error:
        raise Refused("invalid", f"The key bundle is malformed: {error.sentence}") from None
    if parts[2].hex() != event.pubkey:
        raise Refused("invalid", "The key bundle names another author than its event.")
    if len(parts[3]) != suite.mldsa_public_len or len(parts[4]) != suite.kem_public_len:
        raise Refused("invalid", "A key in the bundle has the wrong length.")
    return KeyBundle(suite, event.pubkey, parts[3], parts[4])
