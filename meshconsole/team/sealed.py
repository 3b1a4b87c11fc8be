"""Sealed events: a signed event inside, ciphertext and a rotating tag outside. Pure.

The inner event is signed by its author and names the team, so that it cannot be passed off as said to
somebody else; it is padded and sealed under the epoch's `event` key. The outer event carries it, with
the same author, and tells an outsider nothing but author, time, size class,
a note's precedence and the epoch's blinded tag.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import Refused, RemoteError
from meshconsole.core.event import Event, decode_event, encode_event
from meshconsole.crypto.encoding import b64, lp, unb64
from meshconsole.crypto.schnorr import verify_event
from meshconsole.crypto.sealing import pad, reseal, seal, unpad, unseal

if TYPE_CHECKING:
    from meshconsole.core.event import Tags
    from meshconsole.crypto.identity import Identity
    from meshconsole.team.epochs import EpochKey

MAX_SEALED_TEXT = 96 * 1024
"""Characters of Base64 that are made and looked at."""

INNER_FLOOR = 920
"""Bytes: with its length this fills one of the padding's classes, so that all notes of up to 490 bytes look
alike; and it is the largest class that fits a datagram of the flash path with what goes around it."""


def seal_event(author: Identity, epoch: EpochKey, inner: Event, kind: int, outside: Tags = ()) -> Event:
    """`inner` is signed by `author` and carries `team_tags`; `outside` are tags that everybody may see.
    Raises Refused for what nobody would open."""
    key, context = epoch.derive("event"), _context(epoch, kind, inner.pubkey)
    content = b64(seal(key, context, pad(encode_event(inner).ljust(INNER_FLOOR))))
    if len(content) > MAX_SEALED_TEXT:  # control characters take six bytes each in JSON
        raise Refused("invalid", "It holds too many control characters to be sent.")
    tags = (("h", epoch.routing_tag), ("k", epoch.kid), *outside)
    return author.sign(kind, tags, content, inner.created_at)


def reseal_event(epoch: EpochKey, inner: bytes, kind: int, npub: str, salt: bytes) -> str:
    """The content that `seal_event` made of these bytes under that salt."""
    return b64(reseal(epoch.derive("event"), _context(epoch, kind, npub), salt, pad(inner)))


def open_event(outer: Event, epoch: EpochKey, *inner_kinds: int) -> Event:
    """The inner event, its signature, author and team checked. Raises Refused("invalid", ...)."""
    if len(outer.content) > MAX_SEALED_TEXT:
        raise Refused("invalid", "It is larger than any sealed event.")
    key, context = epoch.derive("event"), _context(epoch, outer.kind, outer.pubkey)
    try:
        inner = decode_event(unpad(unseal(key, context, unb64(outer.content))))
    except (RemoteError, msgspec.DecodeError, UnicodeError, RecursionError):
        raise Refused("invalid", "It does not open under its epoch's key.") from None
    if inner.pubkey != outer.pubkey or inner.kind not in inner_kinds or inner.tags != team_tags(epoch.team):
        raise Refused("invalid", "It was written by another hand or for another team.")
    if not verify_event(inner):
        raise Refused("invalid", "The signature inside is wrong.")
    return inner


def key_id(outer: Event) -> str:
    """The key id of the epoch it is sealed under, "" if it names none."""
    return outer.tag("k") or ""


def team_tags(team: bytes) -> Tags:
    return (("team", team.hex()),)


def _context(epoch: EpochKey, kind: int, npub: str) -> bytes:
    return lp("mc/sealed-event/v1", epoch.team, epoch.n, kind, bytes.fromhex(npub))
