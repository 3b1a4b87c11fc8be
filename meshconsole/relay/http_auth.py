"""NIP-98: who sent an HTTP request, and that it is sent for the first time. Pure.

Freshness without trust in clocks (docs/decisions): a token's id is good for one use. It must be no
older than WINDOW_S by this node's clock. It may be newer than that clock, as a node without a clock
battery is always behind, if it is newer than every token this key has used before.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec.structs import replace

from meshconsole.core.errors import Refused
from meshconsole.core.kinds import HTTP_AUTH
from meshconsole.relay.event import read_event
from meshconsole.relay.verify import has_valid_signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.core.event import Event

WINDOW_S = 600
MAX_TOKEN_BYTES = 8192
MAX_USED = 4096
"""Ids that are remembered, the latest ones."""

MAX_KEYS = 256


class HttpRequest(NamedTuple):
    """`headers` have names in lower case; `target` is the path with its query."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class UsedTokens(msgspec.Struct, frozen=True):
    """`newest` is the latest created_at that each public key has used."""

    ids: tuple[str, ...] = ()
    newest: dict[str, int] = {}


def read_token(request: HttpRequest, is_own_url: Callable[[str], bool]) -> Event:
    """The event of the Authorization header, all but its freshness. Raises Refused("auth-required").

    `is_own_url` says whether a URL means this relay. NIP-86 requires the hash of the body.
    """
    event = _decoded(request.headers.get("authorization", ""))
    if event.kind != HTTP_AUTH:
        raise _wrong(f"it takes an event of kind {HTTP_AUTH}")
    url = event.tag("u") or ""
    if not is_own_url(url) or not _is_target(url, request):
        raise _wrong("its u tag does not name this relay")
    if event.tag("method") != request.method:
        raise _wrong(f"its method tag is not {request.method}")
    if event.tag("payload") != sha256(request.body).hexdigest():
        raise _wrong("its payload tag is not the hash of the body")
    return event


def use_token(used: UsedTokens, token: Event, now: int) -> UsedTokens:
    """What is to be remembered, durably, before the request is acted upon. Raises
    Refused("auth-required") for a token that is used or stale. `now` is this node's clock."""
    if token.id in used.ids:
        raise _wrong("it was used before")
    newest = used.newest.get(token.pubkey, -1)
    if token.created_at < now - WINDOW_S:
        behind = now - token.created_at
        raise _wrong(f"it is {behind} s old by this node's clock; compare the two clocks")
    if token.created_at > now + WINDOW_S and token.created_at <= newest:
        raise _wrong("it is not newer than the last one of its key, and far from this node's clock")
    kept = {**used.newest, token.pubkey: max(newest, token.created_at)}
    while len(kept) > MAX_KEYS:
        del kept[min(kept, key=kept.__getitem__)]
    return replace(used, ids=(*used.ids, token.id)[-MAX_USED:], newest=kept)


def _decoded(header: str) -> Event:
    scheme, _, encoded = header.strip().partition(" ")
    if scheme.lower() != "nostr":
        raise _wrong("a request needs 'Authorization: Nostr' with a NIP-98 event")
    if len(encoded) > MAX_TOKEN_BYTES:
        raise _wrong(f"it has more than {MAX_TOKEN_BYTES} characters")
    try:
        read = read_event(base64.b64decode(encoded.strip(), validate=True), MAX_TOKEN_BYTES)
    except (binascii.Error, ValueError):
        raise _wrong("it is not Base64") from None
    except Refused as refused:
        raise _wrong(refused.sentence) from None
    if not has_valid_signature(read):
        raise _wrong("its signature is not the author's")
    return read.event


def _is_target(url: str, request: HttpRequest) -> bool:
    """Host and path as the request has them; ws and http, wss and https are the same place (NIP-86)."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in ("ws", "wss", "http", "https"):
        return False
    authority, slash, path = rest.partition("/")
    same_host = _host(authority, scheme) == _host(request.headers.get("host", ""), scheme)
    return same_host and (slash + path or "/") == request.target


def _host(authority: str, scheme: str) -> str:
    default = ":443" if scheme.lower() in ("wss", "https") else ":80"
    return authority.lower().removesuffix(default)


def _wrong(why: str) -> Refused:
    return Refused("auth-required", f"the authorization is not valid: {why}")
