"""BUD-11: what a Nostr key allows a Blossom server to do, in a header. Pure.

Such a token may be used again until it expires; that is the standard's choice. What it names, it is good
for: a verb, hashes, servers.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Literal

from meshconsole.core.errors import Refused
from meshconsole.relay.event import read_event
from meshconsole.relay.verify import has_valid_signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.core.event import Event

Verb = Literal["get", "upload", "list", "delete"]

KIND = 24242
MAX_TOKEN_CHARS = 16 * 1024
SKEW_S = 60
"""How far the client's clock may be ahead of this one."""


def read_token(header: str) -> Event:
    """The event of the Authorization header, with a valid signature. Raises Refused("auth-required")."""
    scheme, _, encoded = header.strip().partition(" ")
    if scheme.lower() != "nostr":
        raise Refused("auth-required", "this needs 'Authorization: Nostr' with an event of kind 24242")
    encoded = encoded.strip().rstrip("=")
    if len(encoded) > MAX_TOKEN_CHARS:
        raise _wrong(f"it has more than {MAX_TOKEN_CHARS} characters")
    try:
        # Base64url without padding (BUD-11); clients from before it use the plain alphabet.
        plain = encoded.replace("-", "+").replace("_", "/") + "=" * (-len(encoded) % 4)
        read = read_event(base64.b64decode(plain, validate=True), MAX_TOKEN_CHARS)
    except (binascii.Error, ValueError):
        raise _wrong("it is not Base64") from None
    except Refused as refused:
        raise _wrong(refused.sentence) from None
    if read.event.kind != KIND:
        raise _wrong(f"it takes an event of kind {KIND}")
    if not has_valid_signature(read):
        raise _wrong("its signature is not the author's")
    return read.event


def check_token(
    token: Event, verb: Verb, now: float, is_us: Callable[[str], bool], sha256: str = "", *, x_required: bool
) -> None:
    """`is_us` says whether a host is this server; `sha256` is the blob that it is used for, "" while that is
    not known. Raises Refused("auth-required")."""
    if token.created_at > now + SKEW_S:
        ahead = token.created_at - now
        raise _wrong(f"it is from {ahead:.0f} s in the future by this node's clock; compare the two clocks")
    expiration = token.tag("expiration") or ""
    if not (expiration.isascii() and expiration.isdecimal() and len(expiration) < 16):
        raise _wrong("it has no expiration")
    if int(expiration) <= now:
        raise _wrong("it has expired, by this node's clock")
    if verb not in _values(token, "t"):
        raise _wrong(f'its t tag is not "{verb}"')
    servers = _values(token, "server")
    if servers and not any(is_us(server) for server in servers):
        raise _wrong("its server tags name other servers")
    hashes = _values(token, "x")
    if x_required and not hashes:
        raise _wrong("it has no x tag, which names the blob")
    if sha256 and hashes and sha256 not in hashes:
        raise _wrong("its x tags name other blobs")


def hashes_of(token: Event) -> list[str]:
    return _values(token, "x")


def _values(token: Event, name: str) -> list[str]:
    return [tag[1] for tag in token.tags if tag[0] == name and len(tag) > 1]


def _wrong(why: str) -> Refused:
    return Refused("auth-required", f"the authorization is not valid: {why}")
