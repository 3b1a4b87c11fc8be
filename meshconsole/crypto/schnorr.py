"""BIP-340 signatures over Nostr events (NIP-01), and keys as people write them (NIP-19)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coincurve import PrivateKey, PublicKeyXOnly

from meshconsole.core.errors import LocalError, Refused
from meshconsole.core.event import Event, event_id
from meshconsole.crypto import bech32

if TYPE_CHECKING:
    from meshconsole.core.event import Tags

_KEY_LEN = 32
_SIGNATURE_LEN = 64


def sign_event(secret: bytes, kind: int, tags: Tags, content: str, created_at: int) -> Event:
    """A signed event. `secret` has 32 bytes; `created_at` is in seconds since the epoch."""
    key = PrivateKey(check_secret(secret))
    pubkey = key.public_key_xonly.format().hex()
    digest = event_id(pubkey, created_at, kind, tags, content)
    signature: bytes = key.sign_schnorr(digest)
    return Event(digest.hex(), pubkey, created_at, kind, tags, content, signature.hex())


def sign_digest(secret: bytes, digest: bytes) -> bytes:
    """BIP-340. Raises LocalError unless there are 32 bytes to sign."""
    if len(digest) != _KEY_LEN:
        raise LocalError("A signature is over 32 bytes.")
    signature: bytes = PrivateKey(check_secret(secret)).sign_schnorr(digest)
    return signature


def verify_event(event: Event) -> bool:
    """Whether the id is that of the content and the signature is the author's. Never raises."""
    try:
        digest = event_id(event.pubkey, event.created_at, event.kind, event.tags, event.content)
        public, signature = bytes.fromhex(event.pubkey), bytes.fromhex(event.sig)
    except (ValueError, OverflowError):
        return False
    # bytes.fromhex takes upper case and spaces: one event must have one spelling.
    if event.id != digest.hex() or event.pubkey != public.hex() or event.sig != signature.hex():
        return False
    return verify_signature(public, signature, digest)


def verify_signature(public: bytes, signature: bytes, message: bytes) -> bool:
    """BIP-340. Lengths are checked here because libsecp256k1 reads 32 and 64 bytes regardless."""
    if len(public) != _KEY_LEN or len(signature) != _SIGNATURE_LEN:
        return False
    try:
        return bool(PublicKeyXOnly(public).verify(signature, message))
    except ValueError:
        return False


def public_key(secret: bytes) -> str:
    """64 lowercase hex digits."""
    return str(PublicKeyXOnly.from_secret(check_secret(secret)).format().hex())


def check_secret(secret: bytes) -> bytes:
    """`secret` itself. Raises LocalError unless it has 32 bytes and lies in 1..n-1."""
    if len(secret) != _KEY_LEN or not 0 < int.from_bytes(secret, "big") < _ORDER:
        raise LocalError("A Nostr secret key must have 32 bytes and lie within the curve's order.")
    return secret


_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def npub_to_bech32(pubkey: str) -> str:
    """ "npub1..." for 64 hex digits."""
    return bech32.encode("npub", bytes.fromhex(pubkey))


def npub_from_bech32(text: str) -> str:
    """64 hex digits. Takes hex too, since people paste either. Raises Refused("invalid")."""
    return _key_from_text(text, "npub", "public key").hex()


def note_to_bech32(identifier: str) -> str:
    """ "note1..." for an event id of 64 hex digits."""
    return bech32.encode("note", bytes.fromhex(identifier))


def nsec_to_bech32(secret: bytes) -> str:
    """ "nsec1..." for 32 bytes."""
    return bech32.encode("nsec", secret)


def nsec_from_bech32(text: str) -> bytes:
    """The 32 bytes of an "nsec1..." or of 64 hex digits. Raises Refused("invalid")."""
    secret = _key_from_text(text, "nsec", "secret key")
    try:
        return check_secret(secret)
    except LocalError:
        raise Refused("invalid", "This Nostr secret key is out of range.") from None


def _key_from_text(text: str, prefix: str, what: str) -> bytes:
    text = text.strip()
    if len(text) == 2 * _KEY_LEN and not text.startswith(f"{prefix}1"):
        try:
            return bytes.fromhex(text)
        except ValueError:
            raise Refused("invalid", f"This is not a Nostr {what}.") from None
    found, data = bech32.decode(text)
    if found != prefix:
        raise Refused("invalid", f"This begins with {found}1, but a Nostr {what} begins with {prefix}1.")
    if len(data) != _KEY_LEN:
        raise Refused("invalid", f"This Nostr {what} has the wrong length.")
    return data
