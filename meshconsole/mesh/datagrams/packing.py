"""A sealed note packed into datagrams, and unpacked to the very same event. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.errors import RemoteError
from meshconsole.core.event import Event, event_id
from meshconsole.core.kinds import TEAM_NOTE
from meshconsole.core.precedence import TAG
from meshconsole.crypto.encoding import b64, unb64
from meshconsole.mesh.datagrams.messages import FlashNote, ShortNote
from meshconsole.mesh.datagrams.parts import take_apart
from meshconsole.mesh.datagrams.sealing import MAX_PAYLOAD
from meshconsole.mesh.messages import encode

if TYPE_CHECKING:
    from meshconsole.core.event import Tags


def pack_note(event: Event) -> tuple[bytes, ...] | None:
    """In one datagram, or in parts; None for a note that is too long for that: it goes over links only."""
    tags = dict(tag for tag in event.tags if len(tag) == 2)
    names = tuple(tag[0] for tag in event.tags)
    if event.kind != TEAM_NOTE or names not in (("h", "k", TAG), ("h", "k")):
        return None
    try:
        note = FlashNote(
            npub=bytes.fromhex(event.pubkey),
            created_at=event.created_at,
            route=bytes.fromhex(tags["h"]),
            kid=bytes.fromhex(tags["k"]),
            precedence=tags.get(TAG, ""),
            content=unb64(event.content),
            sig=bytes.fromhex(event.sig),
        )
    except (ValueError, RemoteError):
        return None
    payload = encode(note)
    return (payload,) if len(payload) <= MAX_PAYLOAD else take_apart(payload)


def pack_short(short: bytes | None) -> tuple[bytes, ...] | None:
    """Of a note without what follows from the rest; None if it does not fit one datagram."""
    payload = encode(ShortNote(short)) if short is not None and len(short) < MAX_PAYLOAD else b""
    return (payload,) if 0 < len(payload) <= MAX_PAYLOAD else None


def unpack_note(note: FlashNote) -> Event:
    """The event as its author signed it; whether he did, the relay checks."""
    npub, content = note.npub.hex(), b64(note.content)
    tags: Tags = (("h", note.route.hex()), ("k", note.kid.hex()))
    if note.precedence:
        tags = (*tags, (TAG, note.precedence))
    digest = event_id(npub, note.created_at, TEAM_NOTE, tags, content)
    return Event(digest.hex(), npub, note.created_at, TEAM_NOTE, tags, content, note.sig.hex())
