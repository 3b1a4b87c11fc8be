"""NIP-11: what this relay tells about itself over HTTP. Pure. Only what works, only true limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshconsole import __version__
from meshconsole.relay.event import MAX_TAGS
from meshconsole.relay.session import max_message_bytes
from meshconsole.relay.verbs.asking import MAX_SUBSCRIPTION_ID

if TYPE_CHECKING:
    from meshconsole.core.config import RelaySection

ALWAYS = (1, 9, 11, 17, 40, 42, 45, 59, 62, 65, 67, 70, 77)
MEDIA_TYPE = "application/nostr+json"
CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Headers", "*, Authorization"),  # the star does not mean this one
    ("Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS"),
)
PREFLIGHT = "\r\n".join(
    ["HTTP/1.1 204 No Content", *(f"{name}: {value}" for name, value in CORS), "Connection: close", "", ""]
).encode()
"""The whole answer to OPTIONS: browsers ask before they send a header of ours."""


def document(config: RelaySection, *, name: str, npub: str, public: bool) -> bytes:
    """The JSON object. `npub` (64 hex digits, or "") is the administrative contact."""
    information: dict[str, object] = {
        "name": name,
        "description": "A team's own relay, part of a meshconsole node.",
        "supported_nips": supported_nips(config),
        "version": __version__,
        "limitation": {
            "max_message_length": max_message_bytes(config),
            "max_subscriptions": config.max_subscriptions,
            "max_filters": config.max_filters,
            "max_limit": config.max_limit,
            "default_limit": config.max_limit,
            "max_subid_length": MAX_SUBSCRIPTION_ID,
            "max_event_tags": MAX_TAGS,
            "min_pow_difficulty": config.min_pow_difficulty,
            "auth_required": not public,
            "payment_required": False,
            "restricted_writes": not public or config.min_pow_difficulty > 0,
            **({"created_at_upper_limit": config.max_future_s} if config.max_future_s else {}),
        },
    }
    if npub:
        information["pubkey"] = npub
    return msgspec.json.encode(information)


def supported_nips(config: RelaySection) -> list[int]:
    """Those that are switched on."""
    chosen = {13: config.min_pow_difficulty > 0, 50: config.search}
    return sorted([*ALWAYS, *(number for number, is_on in chosen.items() if is_on)])


def wants_document(accept: str) -> bool:
    """Whether an Accept header asks for the document; media types may carry parameters."""
    return any(part.partition(";")[0].strip().lower() == MEDIA_TYPE for part in accept.split(","))
