"""NIP-11: what this relay tells about itself over HTTP. Pure. Only what works, only true limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from meshconsole import __version__
from meshconsole.core.event import Event, encode_event
from meshconsole.relay.event import MAX_TAGS
from meshconsole.relay.session import max_message_bytes
from meshconsole.relay.verbs.asking import MAX_SUBSCRIPTION_ID

if TYPE_CHECKING:
    from meshconsole.core.sections import RelaySection

ALWAYS = (1, 9, 11, 17, 40, 42, 45, 59, 62, 65, 67, 70, 77)
_KEY = "0" * 64
SMALLEST_EVENT = len(encode_event(Event(_KEY, _KEY, 1_000_000_000, 1, (), "", _KEY + _KEY)))
"""So much of an event is no content."""

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


class Face(NamedTuple):
    """What the relay shows of itself; what is "" is left out.

    `npub` is the administrative contact, `own_npub` the relay's own key (NIP-43), both 64 hex digits.
    `is_managed`: NIP-86 is answered. `only_kinds`: no other kinds of events are taken.
    """

    name: str
    description: str = ""
    icon: str = ""
    npub: str = ""
    own_npub: str = ""
    is_managed: bool = False
    only_kinds: bool = False


def document(config: RelaySection, face: Face, *, public: bool) -> bytes:
    """The JSON object."""
    information: dict[str, object] = {
        "name": face.name,
        "description": face.description or "A team's own relay, part of a meshconsole node.",
        "supported_nips": supported_nips(config, face),
        "version": __version__,
        "limitation": {
            "max_message_length": max_message_bytes(config),
            "max_subscriptions": config.max_subscriptions,
            "max_filters": config.max_filters,
            "max_limit": config.max_limit,
            "default_limit": config.max_limit,
            "max_subid_length": MAX_SUBSCRIPTION_ID,
            "max_event_tags": MAX_TAGS,
            "max_content_length": config.max_event_bytes - SMALLEST_EVENT,
            "min_pow_difficulty": config.min_pow_difficulty,
            "auth_required": not public,
            "payment_required": False,
            "restricted_writes": not public or config.min_pow_difficulty > 0 or face.only_kinds,
            **({"created_at_upper_limit": config.max_future_s} if config.max_future_s else {}),
        },
    }
    more = {"icon": face.icon, "pubkey": face.npub, "self": face.own_npub}
    information |= {field: value for field, value in more.items() if value}
    return msgspec.json.encode(information)


def supported_nips(config: RelaySection, face: Face) -> list[int]:
    """Those that are switched on."""
    chosen = {
        13: config.min_pow_difficulty > 0,
        43: bool(face.own_npub),
        50: config.search,
        86: face.is_managed,
    }
    return sorted([*ALWAYS, *(number for number, is_on in chosen.items() if is_on)])


def wants_document(accept: str) -> bool:
    """Whether an Accept header asks for the document; media types may carry parameters."""
    return any(part.partition(";")[0].strip().lower() == MEDIA_TYPE for part in accept.split(","))
