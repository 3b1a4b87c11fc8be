"""AUTH (NIP-42): a client proves a key. It may prove several; all of them count. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse
from meshconsole.relay.event import readable_id
from meshconsole.relay.happening import Happening, Widened
from meshconsole.relay.login import proven_key
from meshconsole.relay.policy import narrowed

if TYPE_CHECKING:
    import msgspec

    from meshconsole.relay.session import Session

MAX_KEYS = 16
"""Public keys that one connection may prove."""


def take(session: Session, parts: list[msgspec.Raw], now: float) -> list[Happening]:
    if len(parts) != 2:
        session.complain("AUTH", refuse("invalid", "AUTH takes exactly one event"))
        return []
    data = bytes(parts[1])
    known = len(session.client.npubs)
    verdict = _prove(session, data, now)
    if not verdict.accepted:
        session.refused("AUTH", verdict)
    session.say(readable_id(data), verdict)
    return _widen(session) if len(session.client.npubs) > known else []


def _widen(session: Session) -> list[Happening]:
    """Open subscriptions hear from now on what is addressed to the new key too."""
    widened: list[Happening] = []
    for subscription in session.subscriptions.values():
        subscription.filters = tuple(narrowed(wanted, session.client) for wanted in subscription.filters)
        widened.append(Widened(subscription))
    return widened


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
