"""The hybrid signature of control events: ML-DSA and BIP-340, both or nothing.

ML-DSA signs (label, suite, author's Nostr key, SHA-512 of the event without the signature tag)
under the context of the event's use. Its signature is the event's last tag; the Nostr id and the
Schnorr signature then cover everything. So each signature binds the other's key, and, since ML-DSA
signatures cannot be altered into others (SUF-CMA) and the tag has one place and one spelling, who
breaks secp256k1 alone cannot even give an existing entry a second id.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from meshconsole.core.errors import LocalError, Refused, RemoteError
from meshconsole.core.event import Tags, canonical
from meshconsole.crypto.encoding import b64, lp, unb64
from meshconsole.crypto.schnorr import verify_event
from meshconsole.crypto.suites import HYBRID_TAG, Suite

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from meshconsole.crypto.provider import Provider


def hybrid_message(suite: Suite, pubkey: str, created_at: int, kind: int, tags: Tags, content: str) -> bytes:
    """What ML-DSA signs. `tags` are those without the signature."""
    core = canonical(pubkey, created_at, kind, tags, content)
    return lp("mc/hybrid/v1", suite.id, bytes.fromhex(pubkey), hashlib.sha512(core).digest())


def signature_tag(suite: Suite, signature: bytes) -> tuple[str, str, str]:
    return (HYBRID_TAG, str(suite.id), b64(signature))


def check_unsigned(tags: Tags) -> None:
    """Raises LocalError when `tags` already hold a signature."""
    if any(tag and tag[0] == HYBRID_TAG for tag in tags):
        raise LocalError("An event to be signed already has a hybrid signature.")


def verify_control(
    event: Event, suite: Suite, mldsa_public: bytes, context: bytes, provider: Provider
) -> None:
    """Raises Refused("invalid") unless both signatures are right. The cheap one is checked first."""
    if not verify_event(event):
        raise Refused("invalid", "The event's id or Nostr signature is wrong.")
    tags, signature = _split(event, suite)
    message = hybrid_message(suite, event.pubkey, event.created_at, event.kind, tags, event.content)
    if not provider.mldsa_verify(suite, mldsa_public, signature, message, context):
        raise Refused("invalid", f"The event's {suite.mldsa} signature is wrong.")


def _split(event: Event, suite: Suite) -> tuple[Tags, bytes]:
    """The tags that ML-DSA signed, and its signature."""
    if sum(1 for tag in event.tags if tag and tag[0] == HYBRID_TAG) != 1:
        raise Refused("invalid", "A control event must have exactly one post-quantum signature.")
    last = event.tags[-1]
    if not last or last[0] != HYBRID_TAG or len(last) != 3:
        raise Refused("invalid", "The post-quantum signature must be the event's last tag.")
    if last[1] != str(suite.id):
        raise Refused("invalid", "The event is signed with another cryptographic suite than the team's.")
    try:
        signature = unb64(last[2])
    except RemoteError as error:
        raise Refused("invalid", error.sentence) from None
    if len(signature) != suite.signature_len:
        raise Refused("invalid", "The post-quantum signature has the wrong length.")
    return event.tags[:-1], signature
