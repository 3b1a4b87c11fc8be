"""Who may publish what: the rules that every offered event passes once it is known to be genuine. Pure.

A rule is a function that returns a Verdict. Beside each stands which kinds it has anything to say of, so
that a note is not asked whether it is a login. `may_offer`, the gate before an event is even read, and
the rules for questions are in `policy.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core import kinds
from meshconsole.core.event import Event
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse
from meshconsole.relay.event import is_protected
from meshconsole.relay.guests import judge_note
from meshconsole.relay.membership import (
    nobody_joins_by_a_claim,
    nobody_leaves_by_an_event,
    only_this_relay_tells_of_members,
)
from meshconsole.relay.policy import Client, House, may_offer, unseen_kinds
from meshconsole.relay.work import committed_target, difficulty

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_GOODBYE = 4096
"""Characters of a request to vanish by who may not write here."""

REPOSTS = frozenset({kinds.REPOST, kinds.GENERIC_REPOST})

Rule = Callable[[Event, Client, float], Verdict]


def judge_event(event: Event, client: Client, now: float) -> Verdict:
    """The first refusal of the write rules, or ACCEPTED. `now` is in seconds since the epoch. What needs
    no publishing may be a "duplicate", which ends it too."""
    rules = WRITE_RULES
    if client.trusted:
        rules = RULES_FOR_ALL
    elif vanishes_here(event, client.house) and client.guest is None:
        rules = VANISH_RULES
    for rule in rules.of(event.kind):
        verdict = rule(event, client, now)
        if verdict.code:
            return verdict
    return ACCEPTED


def vanishes_here(event: Event, house: House) -> bool:
    """NIP-62: a request to vanish from this relay, or from all of them. In capitals, and nowhere else."""
    return event.kind == kinds.VANISH and any(
        tag[0] == "relay" and len(tag) > 1 and (tag[1] == "ALL_RELAYS" or house.names_us(tag[1]))
        for tag in event.tags
    )


def no_published_logins(event: Event, client: Client, now: float) -> Verdict:
    """NIP-42: kind 22242 must not reach anybody else."""
    if event.kind == kinds.CLIENT_AUTH:
        return refuse("invalid", "send this kind as AUTH; it is never published")
    return ACCEPTED


def no_banned_events(event: Event, client: Client, now: float) -> Verdict:
    return client.house.lists().judge_id(event)


def no_relay_of_nobody(event: Event, client: Client, now: float) -> Verdict:
    """NIP-62: the tags of a request to vanish must name a relay."""
    if event.kind == kinds.VANISH and not event.tag("relay"):
        return refuse("invalid", "a request to vanish must name a relay, or ALL_RELAYS")
    return ACCEPTED


def no_long_goodbyes(event: Event, client: Client, now: float) -> Verdict:
    """Who may not write here may still ask to vanish, but not fill the disk with it."""
    size = len(event.content) + sum(len(value) for tag in event.tags for value in tag)
    if size <= MAX_GOODBYE or may_offer(client).accepted:
        return ACCEPTED
    return refuse("invalid", f"a request to vanish has at most {MAX_GOODBYE} characters here")


def only_who_may_write(event: Event, client: Client, now: float) -> Verdict:
    """The gate once more: what looked like a request to vanish was let through it unread."""
    return may_offer(client)


def nothing_listed_away(event: Event, client: Client, now: float) -> Verdict:
    return client.house.lists().judge_event(event)


def team_kinds_need_a_link(event: Event, client: Client, now: float) -> Verdict:
    """Or, where they are sealed, a device of the team that says who it is: an uplink."""
    if event.kind not in kinds.TEAM_KINDS or event.kind not in unseen_kinds(client):
        return ACCEPTED
    return refuse("restricted", "this kind travels between the team's own nodes only")


def only_by_role(event: Event, client: Client, now: float) -> Verdict:
    if event.kind not in kinds.TEAM_KINDS or client.own:
        return ACCEPTED
    return client.house.by_role(event)


def guests_write_notes_of_their_room(event: Event, client: Client, now: float) -> Verdict:
    return ACCEPTED if client.guest is None else judge_note(event, client.guest)


def only_authors_publish_protected(event: Event, client: Client, now: float) -> Verdict:
    """NIP-70. Enrolled nodes pass protected events on: they are one relay to their team."""
    if not is_protected(event) or event.pubkey in client.npubs:
        return ACCEPTED
    sentence = "this event may only be published by its author"
    return refuse("restricted", sentence) if client.npubs else refuse("auth-required", sentence)


def no_reposts_of_protected(event: Event, client: Client, now: float) -> Verdict:
    """NIP-70: a repost that embeds a protected event would undo the protection."""
    if event.kind not in REPOSTS or not event.content:
        return ACCEPTED
    try:
        embedded = msgspec.json.decode(event.content, type=_Embedded)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return ACCEPTED
    if any(tag and tag[0] == "-" for tag in embedded.tags):
        return refuse("blocked", "a repost must not embed a protected event")
    return ACCEPTED


def only_whom_we_serve_writes(event: Event, client: Client, now: float) -> Verdict:
    """relay.authors: whose events a client may bring. The author of a wrap is a key that was made for it
    alone (NIP-59), so it is judged by whom it is for."""
    house = client.house
    if house.config.authors == "anyone" or client.guest is not None:
        return ACCEPTED
    if event.kind in kinds.GATED_KINDS:
        readers = (tag[1] for tag in event.tags if tag[0] == "p" and len(tag) > 1)
        if any(_belongs(house, reader, house.access.may_read) for reader in readers):
            return ACCEPTED
        return refuse("restricted", "nobody whom this wrap is addressed to reads here")
    if house.config.authors == "self" and not house.access.public():
        if event.pubkey in client.npubs:
            return ACCEPTED
        return refuse("restricted", "publish events of the keys you have logged in with")
    if _belongs(house, event.pubkey, house.access.may_write):
        return ACCEPTED
    return refuse("restricted", "the event's author may not write here")


def _belongs(house: House, npub: str, ask: Callable[[Collection[str]], Verdict]) -> bool:
    return house.lists().allows((npub,)) or ask((npub,)).accepted


def enough_work(event: Event, client: Client, now: float) -> Verdict:
    """NIP-13: enough zero bits, and a target that was not lower: luck is no work."""
    needed = client.house.config.min_pow_difficulty
    if not needed:
        return ACCEPTED
    done = difficulty(event.id)
    if done < needed:
        return refuse("pow", f"too little work: difficulty {done} is less than {needed}")
    target = committed_target(event)
    if target is not None and target < needed:
        return refuse("pow", f"too little work: it commits to a difficulty of {target}, less than {needed}")
    return ACCEPTED


def not_from_the_future(event: Event, client: Client, now: float) -> Verdict:
    """Only if the owner wants it: clocks of a team without internet differ."""
    ahead = client.house.config.max_future_s
    if not ahead or event.created_at <= now + ahead:
        return ACCEPTED
    early = event.created_at - int(now)
    return refuse(
        "invalid", f"created_at is too far ahead of this relay's clock: {early} s; {ahead} s are allowed"
    )


class Rules:
    """In this order. Each comes with the kinds that it may refuse, None for any."""

    MAX_KINDS = 256
    """Whose rules are kept at hand; beyond it they are all gathered anew, whatever kinds strangers send."""

    def __init__(self, *rules: tuple[frozenset[int] | None, Rule]) -> None:
        self.all = rules
        self._by_kind: dict[int, tuple[Rule, ...]] = {}

    def of(self, kind: int) -> tuple[Rule, ...]:
        found = self._by_kind.get(kind)
        if found is None:
            if len(self._by_kind) >= self.MAX_KINDS:
                self._by_kind.clear()
            found = tuple(rule for refused, rule in self.all if refused is None or kind in refused)
            self._by_kind[kind] = found
        return found


RULES_FOR_ALL = Rules(
    (frozenset({kinds.CLIENT_AUTH}), no_published_logins),
    (None, no_banned_events),
    (kinds.MEMBERSHIP_KINDS, only_this_relay_tells_of_members),
    (kinds.TEAM_KINDS, only_by_role),
)

VANISH_RULES = Rules(
    (None, no_banned_events),
    (None, no_long_goodbyes),
    (None, only_authors_publish_protected),
)
"""NIP-62: whoever wants to vanish from here may, whatever else they may not do."""

WRITE_RULES = Rules(
    (frozenset({kinds.CLIENT_AUTH}), no_published_logins),
    (frozenset({kinds.VANISH}), no_relay_of_nobody),
    (None, only_who_may_write),
    (None, guests_write_notes_of_their_room),
    (None, nothing_listed_away),
    (kinds.TEAM_KINDS, team_kinds_need_a_link),
    (kinds.TEAM_KINDS, only_by_role),
    (kinds.MEMBERSHIP_KINDS, only_this_relay_tells_of_members),
    (frozenset({kinds.JOIN_REQUEST}), nobody_joins_by_a_claim),
    (frozenset({kinds.LEAVE_REQUEST}), nobody_leaves_by_an_event),
    (None, only_authors_publish_protected),
    (REPOSTS, no_reposts_of_protected),
    (None, only_whom_we_serve_writes),
    (None, enough_work),
    (None, not_from_the_future),
)


class _Embedded(msgspec.Struct):
    tags: list[list[str]] = []
