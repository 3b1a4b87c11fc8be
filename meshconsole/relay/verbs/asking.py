"""What REQ and its relatives have in common: an id, filters, and the gates before a question. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import Refused
from meshconsole.core.verdict import refuse
from meshconsole.relay.filter import parse_filter
from meshconsole.relay.policy import judge_filters, may_ask, narrowed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshconsole.core.verdict import Verdict
    from meshconsole.relay.filter import Filter
    from meshconsole.relay.session import Session

MAX_SUBSCRIPTION_ID = 64
MAX_FILTER_VALUES = 10_000
"""Listed values of all filters of a session: each one costs memory for as long as it is open."""


def read_id(session: Session, verb: str, parts: list[msgspec.Raw]) -> str | None:
    """1 to 64 characters. Otherwise CLOSED where the client can tell what it belongs to, and None."""
    try:
        identifier = msgspec.json.decode(parts[1], type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError, IndexError):
        session.complain(verb, refuse("invalid", f"{verb} needs a subscription id"))
        return None
    if 1 <= len(identifier) <= MAX_SUBSCRIPTION_ID:
        return identifier
    bounds = Refused("invalid", f"a subscription id has 1 to {MAX_SUBSCRIPTION_ID} characters")
    if verb != "CLOSE" and len(identifier) <= 4 * MAX_SUBSCRIPTION_ID:
        session.refuse(verb, identifier, bounds)
    else:
        session.complain(verb, refuse("invalid", bounds.sentence))
    return None


def ask(session: Session, verb: str, parts: Sequence[msgspec.Raw], now: float) -> tuple[Filter, ...]:
    """The filters as this client may ask them. Raises Refused: by the rate, the gates, the form."""
    if not session.requests.try_take(1, now):
        rate = session.config.events_per_second
        raise Refused("rate-limited", f"at most {rate} requests per second")
    _check(may_ask(session.client))
    filters = _read_filters(session, verb, parts)
    _check(judge_filters(filters, session.client))
    kept = sum(wanted.size for open_ in session.subscriptions.values() for wanted in open_.filters)
    if kept + sum(wanted.size for wanted in filters) > MAX_FILTER_VALUES:
        raise Refused("rate-limited", f"at most {MAX_FILTER_VALUES} values in all filters of a connection")
    return tuple(narrowed(wanted, session.client) for wanted in filters)


def _check(verdict: Verdict) -> None:
    if not verdict.accepted:
        raise Refused(verdict.code, verdict.sentence)


def _read_filters(session: Session, verb: str, parts: Sequence[msgspec.Raw]) -> tuple[Filter, ...]:
    if not parts:
        raise Refused("invalid", f"{verb} needs at least one filter")
    if len(parts) > session.config.max_filters:
        raise Refused("invalid", f"at most {session.config.max_filters} filters in one {verb}")
    try:
        return tuple(parse_filter(msgspec.json.decode(part)) for part in parts)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("invalid", f"the filters are not valid JSON: {error}") from None
