"""Messages from one device of the team to another, which only these two open. Pure.

A fresh secret is wrapped by HPKE to the KEM key of either device: the recipient, and the sender, who
can read again what was sent. With the epoch's `direct` key it gives the key of the sealed box, so that
neither a removed device's knowledge nor a stolen KEM key is enough by itself. Inside is an event that
its author signed and that names team and recipient: it cannot be passed off as said to another.
"""

from __future__ import annotations

import hmac
import os
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import Refused, RemoteError
from meshconsole.core.event import decode_event, encode_event
from meshconsole.core.kinds import DIRECT_MESSAGE
from meshconsole.crypto.encoding import b64, expand, lp, unb64
from meshconsole.crypto.schnorr import verify_event
from meshconsole.crypto.sealing import OVERHEAD, PADDING_FLOOR, pad, seal, unpad, unseal
from meshconsole.team.notes import check_text
from meshconsole.team.sealed import INNER_FLOOR, MAX_SEALED_TEXT, team_tags

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.core.event import Event, Tags
    from meshconsole.crypto.bundle import KeyBundle
    from meshconsole.crypto.identity import Identity
    from meshconsole.team.epochs import EpochKey

SECRET_LEN = 32
_ADDRESS_LEN = 32


class Direct(msgspec.Struct, frozen=True):
    """`author` and `recipient` are npubs in hex, `name` and `recipient_name` what the roster calls them."""

    author: str
    name: str
    recipient: str
    recipient_name: str
    text: str
    created_at: int
    author_removed: bool
    """The author belongs no more: it may have written this before its removal, or since and back-dated."""


def seal_direct(author: Identity, to: KeyBundle, epoch: EpochKey, text: str, now: int) -> Event:
    """Raises Refused for an empty message, one above 16 KiB of UTF-8, and one to the author itself."""
    check_text(text, "message")
    if to.npub == author.npub:
        raise Refused("invalid", "That is this device; a message goes to another one.")
    inner = author.sign(DIRECT_MESSAGE, _inner_tags(epoch.team, to.npub), text, now)
    secret = os.urandom(SECRET_LEN)
    wraps = [
        author.provider.hpke_seal(
            author.suite, bundle.kem_public, _info(epoch, author.npub, to.npub, bundle), secret
        )
        for bundle in (to, author.bundle)
    ]
    key, context = _key(epoch, secret), _context(epoch, author.npub, to.npub)
    box = seal(key, context, pad(encode_event(inner).ljust(INNER_FLOOR)))
    content = b64(b"".join((*wraps, box)))
    if len(content) > MAX_SEALED_TEXT:  # control characters take six bytes each in JSON
        raise Refused("invalid", "It holds too many control characters to be sent.")
    tags = _outer_tags(epoch, author.npub, to.npub, content)
    return author.sign(DIRECT_MESSAGE, tags, content, now)


def recipient_of(outer: Event, epoch: EpochKey, npubs: Iterable[str]) -> str | None:
    """The one of `npubs` that it is addressed to; only holders of the epoch's key can tell."""
    for npub in npubs:
        if outer.tags == _outer_tags(epoch, outer.pubkey, npub, outer.content):
            return npub
    return None


def open_direct(me: Identity, outer: Event, epoch: EpochKey, recipient: str) -> Event:
    """The signed event inside, for the recipient and for the author. Raises Refused("invalid", ...)."""
    wrap_len = me.suite.wrap_overhead + SECRET_LEN
    if len(outer.content) > MAX_SEALED_TEXT:
        raise Refused("invalid", "It is larger than any message between two devices.")
    try:
        sealed = unb64(outer.content)
        if len(sealed) < 2 * wrap_len + OVERHEAD + PADDING_FLOOR:
            raise Refused("invalid", "It is too short to be a message between two devices.")
        wrap = sealed[wrap_len : 2 * wrap_len] if me.npub == outer.pubkey else sealed[:wrap_len]
        secret = me.open_wrapped(_info(epoch, outer.pubkey, recipient, me.bundle), wrap)
        context = _context(epoch, outer.pubkey, recipient)
        inner = decode_event(unpad(unseal(_key(epoch, secret), context, sealed[2 * wrap_len :])))
    except (RemoteError, msgspec.DecodeError, UnicodeError, RecursionError):
        raise Refused("invalid", "It does not open with this device's key.") from None
    expected = (outer.pubkey, DIRECT_MESSAGE, _inner_tags(epoch.team, recipient), outer.created_at)
    if (inner.pubkey, inner.kind, inner.tags, inner.created_at) != expected:
        raise Refused("invalid", "It was written by another hand, or for another device or team.")
    if not verify_event(inner):
        raise Refused("invalid", "The signature inside is wrong.")
    return inner


def _outer_tags(epoch: EpochKey, author: str, recipient: str, content: str) -> Tags:
    return (
        ("h", epoch.routing_tag),
        ("k", epoch.kid),
        ("to", _address(epoch, author, recipient, content)),
    )


def _address(epoch: EpochKey, author: str, recipient: str, content: str) -> str:
    """Another one for each message, so that a relay cannot tell which ones go to the same device."""
    what = lp("mc/direct-address/v1", *_pair(author, recipient), sha256(content.encode()).digest())
    return epoch.blinded(what)[:_ADDRESS_LEN]


def _inner_tags(team: bytes, recipient: str) -> Tags:
    return (*team_tags(team), ("to", recipient))


def _key(epoch: EpochKey, secret: bytes) -> bytes:
    """Of 32 uniform bytes under a uniform key: a PRF (HMAC) of the one, keyed by the other."""
    return expand(hmac.digest(epoch.derive("direct"), secret, "sha512"), lp("mc/direct-key/v1"))


def _info(epoch: EpochKey, author: str, recipient: str, device: KeyBundle) -> bytes:
    """Whose wrap it is, too: the sender's copy is no message to the sender."""
    return lp("mc/direct/v1", *_bound(epoch, author, recipient), bytes.fromhex(device.npub), device.hash)


def _context(epoch: EpochKey, author: str, recipient: str) -> bytes:
    return lp("mc/direct-box/v1", *_bound(epoch, author, recipient))


def _bound(epoch: EpochKey, author: str, recipient: str) -> tuple[bytes | int, ...]:
    return (epoch.team, epoch.n, bytes.fromhex(epoch.commit), DIRECT_MESSAGE, *_pair(author, recipient))


def _pair(author: str, recipient: str) -> tuple[bytes, bytes]:
    return bytes.fromhex(author), bytes.fromhex(recipient)
