"""Policies: who may ask and publish what. A policy is a pure function that returns a Verdict.

Whatever asks passes the same three, be it REQ, COUNT, a search, a reconciliation or a blob: `may_ask`
before any work is done, `READ_RULES` for the filters, and `narrowed`, which leaves out what this
client never sees. Live delivery follows the narrowed filters and asks `may_ask` again, so that a
member who was removed hears nothing more. Whatever is published passes `may_offer` before it is read
and the rules of `judging.py` once it is known to be genuine.

Events that come over an enrolled node's link, or from this node itself, are `trusted`: the rules for
plain clients do not apply to them, so history is never refused for its age; a few do, and those of
NIP-01. What comes over a link is judged by its author's role as well (`by_role`): a teammate that passes
something on does not vouch for who wrote it.

A `guest` is a browser that the owner let in: the same rules, and those of `guests.py` besides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import msgspec

from meshconsole.core import kinds
from meshconsole.core.sections import RelaySection
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse
from meshconsole.relay.frequent import Use
from meshconsole.relay.guests import judge_guest, judge_question, within_the_room
from meshconsole.relay.lists import Lists

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from meshconsole.core.event import Event
    from meshconsole.relay.filter import Filter
    from meshconsole.relay.guests import Guest


NOT_YET = refuse("auth-required", "its author may not write that, as far as this node knows the team")
"""What a later entry of the roster may make good: to be kept aside and offered again."""


class Access(Protocol):
    """The owner's privacy settings joined with the roster. `npubs` are keys proven by NIP-42."""

    def public(self) -> bool:
        """Anybody may read and write without saying who they are."""

    def may_write(self, npubs: Collection[str]) -> Verdict: ...

    def may_read(self, npubs: Collection[str]) -> Verdict: ...


def _no_name(url: str) -> bool:
    return False


def _no_device(npubs: Collection[str]) -> bool:
    return False


def _anything(event: Event) -> Verdict:
    return ACCEPTED


@dataclass(slots=True, eq=False)
class House:
    """What holds for every client of a relay. The relay puts in a new `config` while it runs; `lists`
    gives what admins have listed by now, `names_us` says whether a URL means this relay."""

    access: Access
    config: RelaySection = field(default_factory=RelaySection)
    lists: Callable[[], Lists] = Lists
    names_us: Callable[[str], bool] = _no_name
    npub: str = ""
    """The relay's own key (`self` of NIP-11), "" while it has nothing to say."""
    is_device: Callable[[Collection[str]], bool] = _no_device
    """Whether one of these proven keys is that of a device of the team."""
    by_role: Callable[[Event], Verdict] = _anything
    """Whether the roster, as it is known here, lets the author write that: NOT_YET, or refused for good."""


@dataclass(slots=True)
class Client:
    """Who offers or asks. `npubs` grows as keys are proven on the connection."""

    house: House
    npubs: tuple[str, ...] = ()
    trusted: bool = False
    own: bool = False
    """This node itself, or what its owner imports."""
    network: str = ""
    """Where it comes from."""
    use: Use = field(default_factory=Use)
    """What it did so far."""
    guest: Guest | None = None
    """Whom the owner let in on this connection, beside the team."""


# --- Asked before any work is done -------------------------------------------------------------------


def may_offer(client: Client) -> Verdict:
    """The gate before an event is even parsed."""
    return _gate(client, client.house.access.may_write)


def may_ask(client: Client) -> Verdict:
    """The gate before a query is run, and again before each live delivery."""
    return _gate(client, client.house.access.may_read)


def is_stranger(client: Client) -> bool:
    """It may neither read nor write by what it has proven so far."""
    return not may_ask(client).accepted and not may_offer(client).accepted


def _gate(client: Client, ask: Callable[[Collection[str]], Verdict]) -> Verdict:
    if client.trusted:
        return ACCEPTED
    lists = client.house.lists()
    verdict = lists.judge_keys(client.npubs)
    if verdict.accepted and client.guest is not None:
        return judge_guest(client.guest, client.npubs)
    if not verdict.accepted or lists.allows(client.npubs):
        return verdict
    return ask(client.npubs)


# --- Asked for each question -------------------------------------------------------------------------


def judge_filters(filters: Sequence[Filter], client: Client) -> Verdict:
    """The first refusal of the read rules, or ACCEPTED."""
    if client.trusted:
        return ACCEPTED
    for rule in READ_RULES:
        verdict = rule(filters, client)
        if not verdict.accepted:
            return verdict
    return ACCEPTED


def narrowed(wanted: Filter, client: Client) -> Filter:
    """The filter without what this client never sees, alike for stored and live events. Narrowing again
    after the client has proven a key widens it by what is addressed to that key."""
    if client.trusted:
        return wanted
    if client.guest is not None:
        wanted = within_the_room(wanted)
    asked = wanted.kinds
    # Where no wrap can match, the filters of all clients stay equal: the live index compares them once.
    gated = asked is None or not asked.isdisjoint(kinds.GATED_KINDS)
    addressed = frozenset(client.npubs) if gated else None
    return msgspec.structs.replace(wanted, hidden=unseen_kinds(client), addressed=addressed)


def unseen_kinds(client: Client) -> frozenset[int]:
    return _NOT_CARRIED if client.house.is_device(client.npubs) else kinds.TEAM_KINDS


_NOT_CARRIED = kinds.TEAM_KINDS - kinds.CARRIED_KINDS


def team_kinds_are_not_asked_for(filters: Sequence[Filter], client: Client) -> Verdict:
    """A question for nothing else is told so; from wider ones these kinds are left out."""
    if _all_within(filters, unseen_kinds(client)):
        return refuse("restricted", "these kinds travel between the team's own nodes only")
    return ACCEPTED


def wraps_are_for_their_readers(filters: Sequence[Filter], client: Client) -> Verdict:
    """NIP-59, NIP-17: a question for wraps alone that can bring nothing is told why."""
    if not _all_within(filters, kinds.GATED_KINDS):
        return ACCEPTED
    if not client.npubs:
        return refuse("auth-required", "log in to see what is addressed to you")
    named = [values for wanted in filters for letter, values in wanted.tags if letter == "p"]
    if len(named) == len(filters) and not any(values & {*client.npubs} for values in named):
        return refuse("restricted", "wraps are shown only to those they are addressed to")
    return ACCEPTED


def no_invites_by_request(filters: Sequence[Filter], client: Client) -> Verdict:
    """NIP-43: invites are made by people here, and shown to the person they are for."""
    wanted = [asked.kinds for asked in filters]
    if wanted and all(asked is not None and asked == {kinds.RELAY_INVITE} for asked in wanted):
        return refuse("restricted", "invites to this team are made on an admin's own device")
    return ACCEPTED


def search_where_it_is_offered(filters: Sequence[Filter], client: Client) -> Verdict:
    if not client.house.config.search and any(wanted.search for wanted in filters):
        return refuse("unsupported", "search is not offered here")
    return ACCEPTED


def guests_ask_for_their_room(filters: Sequence[Filter], client: Client) -> Verdict:
    return ACCEPTED if client.guest is None else judge_question(filters)


def _all_within(filters: Sequence[Filter], some: frozenset[int]) -> bool:
    return bool(filters) and all(wanted.kinds and wanted.kinds <= some for wanted in filters)


READ_RULES: tuple[Callable[[Sequence[Filter], Client], Verdict], ...] = (
    search_where_it_is_offered,
    guests_ask_for_their_room,
    team_kinds_are_not_asked_for,
    no_invites_by_request,
    wraps_are_for_their_readers,
)
