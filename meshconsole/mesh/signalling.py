"""Signals to a teammate without a link: signed, sealed ephemeral events over whatever path there is. Pure.

An event of kind 24201 travels over the links of others, or through a plain Nostr relay. Outside stand its
author, a tag that changes with the team's key, and random bytes; inside, for whom it is and the message.
That the author belongs, and that an answer is to a question of this node's, the receiver checks: an event
that is played again brings nothing.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from meshconsole.core.errors import RemoteError
from meshconsole.core.kinds import SIGNAL
from meshconsole.crypto.encoding import b64, lp, unb64
from meshconsole.crypto.schnorr import verify_event
from meshconsole.crypto.sealing import pad, seal, unpad, unseal
from meshconsole.mesh.messages import MALFORMED, Describe, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshconsole.core.event import Event
    from meshconsole.crypto.identity import Identity

MAX_SIGNAL_TEXT = 64 * 1024
"""Characters of Base64 that are looked at."""


class Addressed(msgspec.Struct, frozen=True, array_like=True):
    to: Annotated[bytes, Meta(min_length=32, max_length=32)]
    message: Describe


_decode = msgspec.msgpack.Decoder(Addressed).decode


def route(key: bytes) -> str:
    """What stands on the outside of a team's signals: 32 hex digits for each key."""
    return hmac.digest(key, b"mc/signal-route/v1", "sha256").hex()[:32]


def seal_signal(me: Identity, key: bytes, to: str, message: Describe, now: int) -> Event:
    """`key` is one of the team's datagram keys, `to` an npub."""
    payload = encode(Addressed(bytes.fromhex(to), message))
    content = b64(seal(_key(key), _context(me.npub), pad(payload)))
    return me.sign(SIGNAL, (("h", route(key)),), content, now)


def open_signal(event: Event, keys: Sequence[bytes], me: str) -> Describe | None:
    """None for what is not sealed by the team's key, not for this node, or not signed by its author."""
    if event.kind != SIGNAL or len(event.content) > MAX_SIGNAL_TEXT:
        return None
    key = next((key for key in keys if route(key) == event.tag("h")), None)
    if key is None:
        return None
    try:
        payload = unpad(unseal(_key(key), _context(event.pubkey), unb64(event.content)))
        addressed = _decode(payload)
    except (RemoteError, *MALFORMED):
        return None
    if addressed.to.hex() != me or not verify_event(event):
        return None
    return addressed.message


def _key(key: bytes) -> bytes:
    return hmac.digest(key, b"mc/signal/v1", "sha256")


def _context(npub: str) -> bytes:
    return lp("mc/signal/v1", npub)
