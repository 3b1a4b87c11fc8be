"""NIP-01 events: the struct, its canonical form and its id. Pure.

Parsing of untrusted frames is in `relay/event.py`; signatures are in `crypto/schnorr.py`.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

Tags = tuple[tuple[str, ...], ...]


class Event(msgspec.Struct, frozen=True, gc=False):
    """A Nostr event. Hex fields are lowercase; `created_at` is in seconds since the epoch."""

    id: str
    pubkey: str
    created_at: int
    kind: int
    tags: Tags
    content: str
    sig: str

    def tag(self, name: str) -> str | None:
        """The first value of the first tag called `name`, "" if it has none, None if absent."""
        for tag in self.tags:
            if tag and tag[0] == name:
                return tag[1] if len(tag) > 1 else ""
        return None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Event).decode


def canonical(pubkey: str, created_at: int, kind: int, tags: Tags, content: str) -> bytes:
    """The serialisation whose SHA-256 is the event's id (NIP-01)."""
    return _encode((0, pubkey, created_at, kind, tags, content))


def event_id(pubkey: str, created_at: int, kind: int, tags: Tags, content: str) -> bytes:
    """32 bytes."""
    return sha256(canonical(pubkey, created_at, kind, tags, content)).digest()


def has_valid_id(event: Event) -> bool:
    digest = event_id(event.pubkey, event.created_at, event.kind, event.tags, event.content)
    return digest.hex() == event.id


def encode_event(event: Event) -> bytes:
    """The compact JSON object, fields in the order of NIP-01. This is what is stored and sent."""
    return _encode(event)


def decode_event(raw: bytes) -> Event:
    """Raises msgspec.DecodeError or msgspec.ValidationError. For bytes that were checked before."""
    return _decode(raw)


def is_ephemeral(kind: int) -> bool:
    return 20000 <= kind < 30000


def is_replaceable(kind: int) -> bool:
    return kind in (0, 3) or 10000 <= kind < 20000


def is_addressable(kind: int) -> bool:
    return 30000 <= kind < 40000
