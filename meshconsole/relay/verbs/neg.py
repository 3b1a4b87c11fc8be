"""NEG-OPEN, NEG-MSG and NEG-CLOSE (NIP-77): a client reconciles its events with the relay's. Pure.

The gates are those of REQ, asked again with every message: ids tell what there is. Ids of negotiations
are a namespace of their own. An open one costs memory, so there are few of them, one message of each
is under way at a time, and one that is not used ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import Refused
from meshconsole.core.verdict import refuse
from meshconsole.relay.happening import Happening, Negotiated
from meshconsole.relay.policy import may_ask
from meshconsole.relay.session import Negotiation
from meshconsole.relay.verbs.asking import MAX_SUBSCRIPTION_ID, ask

if TYPE_CHECKING:
    from meshconsole.relay.session import Session

MAX_NEGOTIATIONS = 4
"""Open at once on one connection."""

IDLE_S = 60.0
"""A negotiation that hears nothing for so long ends."""


def open_(session: Session, parts: list[msgspec.Raw], now: float) -> list[Happening]:
    identifier = _read_id(session, "NEG-OPEN", parts)
    if identifier is None:
        return []
    _forget(session, identifier)
    try:
        if len(parts) != 4:
            raise Refused("invalid", "NEG-OPEN takes an id, one filter and one message")
        message = _read_message(parts[3])
        (wanted,) = ask(session, "NEG-OPEN", parts[2:3], now)
        if wanted.search:
            raise Refused("unsupported", "what a search finds cannot be reconciled")
        if len(session.negotiations) >= MAX_NEGOTIATIONS:
            raise Refused("rate-limited", f"at most {MAX_NEGOTIATIONS} negotiations at once; close one first")
    except Refused as refused:
        session.refuse_negotiation(identifier, refused)
        return []
    negotiation = Negotiation(session, identifier, wanted, heard_at=now)
    session.negotiations[identifier] = negotiation
    return [Negotiated(negotiation, message)]


def message(session: Session, parts: list[msgspec.Raw], now: float) -> list[Happening]:
    identifier = _read_id(session, "NEG-MSG", parts)
    if identifier is None:
        return []
    negotiation = session.negotiations.get(identifier)
    try:
        if negotiation is None:
            raise Refused("closed", "no negotiation is open under this id")
        verdict = may_ask(session.client)
        if not verdict.accepted:
            raise Refused(verdict.code, verdict.sentence)
        if negotiation.busy:
            raise Refused("invalid", "wait for the answer before you send the next message")
        if len(parts) != 3:
            raise Refused("invalid", "NEG-MSG takes an id and one message")
        said = _read_message(parts[2])
    except Refused as refused:
        _forget(session, identifier)
        session.refuse_negotiation(identifier, refused)
        return []
    negotiation.busy, negotiation.heard_at = True, now
    return [Negotiated(negotiation, said)]


def close(session: Session, parts: list[msgspec.Raw], now: float) -> list[Happening]:
    identifier = _read_id(session, "NEG-CLOSE", parts)
    if identifier is not None:
        _forget(session, identifier)
    return []


def end_idle(session: Session, now: float) -> None:
    """Ends what has not been used for IDLE_S."""
    for negotiation in list(session.negotiations.values()):
        if not negotiation.busy and now - negotiation.heard_at >= IDLE_S:
            session.fail_negotiation(negotiation, Refused("closed", "you took too long to go on"))


def _forget(session: Session, identifier: str) -> None:
    negotiation = session.negotiations.pop(identifier, None)
    if negotiation is not None:
        negotiation.closed = True


def _read_id(session: Session, verb: str, parts: list[msgspec.Raw]) -> str | None:
    try:
        identifier = msgspec.json.decode(parts[1], type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError, IndexError):
        identifier = ""
    if 1 <= len(identifier) <= MAX_SUBSCRIPTION_ID:
        return identifier
    session.complain("NEG", refuse("invalid", f"{verb} needs an id of 1 to {MAX_SUBSCRIPTION_ID} characters"))
    return None


def _read_message(part: msgspec.Raw) -> bytes:
    try:
        text = msgspec.json.decode(part, type=str)
        message = bytes.fromhex(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        raise Refused("invalid", "the message is not hex") from None
    if len(message) * 2 != len(text):
        raise Refused("invalid", "the message is not hex")  # bytes.fromhex lets spaces pass
    return message
