"""Policies: who may ask and publish what. A policy is a pure function that returns a Verdict.

Three lists say everything: `GATES` are asked before any work is done for a client, `WRITE_RULES`
once its event is known to be genuine, `READ_RULES` for the filters of a REQ. Live delivery asks
the read gate again, so that a member who was removed hears nothing more. Events that come over an
enrolled node's link, or from this node itself, are `trusted`: the gates for plain clients do not
apply to them, the rules of NIP-01 always do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

from meshconsole.core import kinds
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse
from meshconsole.relay.event import is_protected
from meshconsole.relay.lists import Lists

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from meshconsole.core.event import Event
    from meshconsole.relay.filter import Filter


class Access(Protocol):
    """The owner's privacy settings joined with the roster. `npubs` are keys proven by NIP-42."""

    def public(self) -> bool:
        """Anybody may read and write without saying who they are."""

    def may_write(self, npubs: Collection[str]) -> Verdict: ...

    def may_read(self, npubs: Collection[str]) -> Verdict: ...


@dataclass(slots=True)
class Client:
    """Who offers or asks. `npubs` grows as keys are proven on the connection; `lists` gives what admins
    have listed by now."""

    access: Access
    npubs: tuple[str, ...] = ()
    trusted: bool = False
    lists: Callable[[], Lists] = Lists


def may_offer(client: Client) -> Verdict:
    """The gate before an event is even parsed."""
    return ACCEPTED if client.trusted else client.access.may_write(client.npubs)


def may_ask(client: Client) -> Verdict:
    """The gate before a query is run, and again before each live delivery."""
    return ACCEPTED if client.trusted else client.access.may_read(client.npubs)


def judge_event(event: Event, client: Client) -> Verdict:
    """The first refusal of the write rules, or ACCEPTED."""
    for rule in WRITE_RULES:
        verdict = rule(event, client)
        if not verdict.accepted:
            return verdict
    return ACCEPTED


def judge_filters(filters: Sequence[Filter], client: Client) -> Verdict:
    """The first refusal of the read rules, or ACCEPTED."""
    for rule in READ_RULES:
        verdict = rule(filters, client)
        if not verdict.accepted:
            return verdict
    return ACCEPTED


def narrowed(wanted: Filter, client: Client) -> Filter:
    """The filter without what this client never sees, alike for stored and live events."""
    return wanted if client.trusted else msgspec.structs.replace(wanted, hidden=kinds.TEAM_KINDS)


def no_published_logins(event: Event, client: Client) -> Verdict:
    """NIP-42: kind 22242 must not reach anybody else."""
    if event.kind == kinds.CLIENT_AUTH:
        return refuse("invalid", "send this kind as AUTH; it is never published")
    return ACCEPTED


def only_authors_publish_protected(event: Event, client: Client) -> Verdict:
    """NIP-70. Enrolled nodes pass protected events on: they are one relay to their team."""
    if client.trusted or not is_protected(event) or event.pubkey in client.npubs:
        return ACCEPTED
    sentence = "this event may only be published by its author"
    return refuse("restricted", sentence) if client.npubs else refuse("auth-required", sentence)


def no_reposts_of_protected(event: Event, client: Client) -> Verdict:
    """NIP-70: a repost that embeds a protected event would undo the protection."""
    if client.trusted or event.kind not in (6, 16) or '"-"' not in event.content:
        return ACCEPTED
    try:
        embedded = msgspec.json.decode(event.content, type=_Embedded)
    except (msgspec.MsgspecError, RecursionError):
        return ACCEPTED
    if ["-"] in embedded.tags:
        return refuse("blocked", "a repost must not embed a protected event")
    return ACCEPTED


def team_kinds_need_a_link(event: Event, client: Client) -> Verdict:
    if client.trusted or event.kind not in kinds.TEAM_KINDS:
        return ACCEPTED
    return refuse("restricted", "this kind travels between the team's own nodes only")


def team_kinds_are_not_asked_for(filters: Sequence[Filter], client: Client) -> Verdict:
    """A filter for nothing else is told so; from wider filters these kinds are left out."""
    asked = [wanted.kinds for wanted in filters]
    if not client.trusted and asked and all(k and k <= kinds.TEAM_KINDS for k in asked):
        return refuse("restricted", "these kinds travel between the team's own nodes only")
    return ACCEPTED


WRITE_RULES: tuple[Callable[[Event, Client], Verdict], ...] = (
    no_published_logins,
    team_kinds_need_a_link,
    only_authors_publish_protected,
    no_reposts_of_protected,
)

READ_RULES: tuple[Callable[[Sequence[Filter], Client], Verdict], ...] = (team_kinds_are_not_asked_for,)


class _Embedded(msgspec.Struct):
    tags: list[list[str]] = []
