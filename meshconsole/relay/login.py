"""NIP-42: which key an AUTH event proves. Pure.

The challenge, made for this connection alone, is the proof of freshness, not `created_at`: clocks
of a team without internet differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused
from meshconsole.core.kinds import CLIENT_AUTH
from meshconsole.relay.event import read_event
from meshconsole.relay.verify import has_valid_signature

if TYPE_CHECKING:
    from collections.abc import Callable


def proven_key(data: bytes, challenge: str, is_own_url: Callable[[str], bool], max_bytes: int) -> str:
    """The public key in hex. Raises Refused("invalid") with the reason.

    `challenge` is what this connection was sent, "" if nothing yet.
    """
    read = read_event(data, max_bytes)
    event = read.event
    if event.kind != CLIENT_AUTH:
        raise Refused("invalid", f"AUTH takes an event of kind {CLIENT_AUTH}")
    if not is_own_url(event.tag("relay") or ""):
        raise Refused("invalid", "the relay tag of the AUTH event does not name this relay")
    if not challenge or event.tag("challenge") != challenge:
        raise Refused("invalid", "the challenge is not the one of this connection")
    if not has_valid_signature(read):
        raise Refused("invalid", "the signature is not the author's")
    return event.pubkey
