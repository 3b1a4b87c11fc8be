"""AUTH (NIP-42): a client proves a key. It may prove several; all of them count. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse
from meshconsole.relay import messages
from meshconsole.relay.event import readable_id
from meshconsole.relay.login import proven_key

if TYPE_CHECKING:
    import msgspec

    from meshconsole.relay.happening import Happening
    from meshconsole.relay.session import Session

MAX_KEYS = 16
"""Public keys that one connection may prove."""


def take(session: Session, parts: list[msgspec.Raw], now: float) -> list[Happening]:
    if len(parts) != 2:
        session.send(messages.notice("invalid: AUTH takes exactly one event"))
        return []
    data = bytes(parts[1])
    session.say(readable_id(data), _prove(session, data, now))
    return []


def _prove(session: Session, data: bytes, now: float) -> Verdict:
    if not session.requests.try_take(1, now):
        return refuse("rate-limited", "too many AUTH messages")
    try:
        npub = proven_key(data, session.challenge, session.is_own_url, session.config.max_event_bytes)
    except Refused as refused:
        return refuse("invalid", refused.sentence)
    client = session.client
    if npub not in client.npubs:
        if len(client.npubs) >= MAX_KEYS:
            return refuse("restricted", f"at most {MAX_KEYS} keys on one connection")
        client.npubs += (npub,)
    return ACCEPTED
