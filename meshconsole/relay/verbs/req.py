"""REQ and CLOSE (NIP-01): subscriptions. Pure.

A REQ under an id that is in use replaces what was open, even when it is refused itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused
from meshconsole.relay import messages
from meshconsole.relay.happening import Closed, Happening, Opened
from meshconsole.relay.session import Subscription
from meshconsole.relay.verbs.asking import ask, read_id

if TYPE_CHECKING:
    import msgspec

    from meshconsole.relay.session import Session


def open_(session: Session, parts: list[msgspec.Raw], now: float) -> list[Happening]:
    identifier = read_id(session, "REQ", parts)
    if identifier is None:
        return []
    happened = _end(session, identifier)
    try:
        filters = ask(session, "REQ", parts[2:], now)
        _check_room(session)
    except Refused as refused:
        session.refuse("REQ", identifier, refused)
        return happened
    subscription = Subscription(session, identifier, filters, messages.event_prefix(identifier))
    session.subscriptions[identifier] = subscription
    return [*happened, Opened(subscription)]


def close(session: Session, parts: list[msgspec.Raw], now: float) -> list[Happening]:
    """Nothing is said to it: an id that is not open is closed already."""
    identifier = read_id(session, "CLOSE", parts)
    return [] if identifier is None else _end(session, identifier)


def _check_room(session: Session) -> None:
    limit = session.config.max_subscriptions
    if len(session.subscriptions) >= limit:
        raise Refused("rate-limited", f"at most {limit} subscriptions at once; close one first")


def _end(session: Session, identifier: str) -> list[Happening]:
    subscription = session.subscriptions.get(identifier)
    if subscription is None:
        return []
    session.forget(subscription)
    return [Closed(subscription)]
