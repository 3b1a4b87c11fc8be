"""What an admin lists at run time (NIP-86): keys, events, kinds and addresses, and the relay's face. Pure.

Laws:
- A value of `Lists` never changes; an act makes a new one, so whoever reads sees all of an act or
  nothing of it.
- Allowing a key or an event takes it off the ban list and the other way round; taking it off one
  list does not put it on the other (NIP-86).
- What makes a team cannot be listed away: control kinds are neither banned nor disallowed, and who
  belongs is the roster's matter alone.
- The lists are bounded, so that judging and saving them stays cheap.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from meshconsole.core.errors import Refused
from meshconsole.core.kinds import CONTROL_KINDS, TEAM_KINDS
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse
from meshconsole.relay.event import MAX_KIND, is_hex

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.core.event import Event

MAX_LISTED = 10_000
"""Entries of one list."""

MAX_REASON = 200
MAX_NAME = 64
MAX_TEXT = 2000
"""Characters of a reason, of the relay's name, and of its description or its icon's URL."""


class Lists(msgspec.Struct, frozen=True):
    """Keys and event ids are 64 lowercase hex digits, mapped to the reason given ("" for none).

    `allowed_keys` may read and write beside the team's members. `allowed_events` pass the rules about
    authors and kinds. While `allowed_kinds` is not empty, no others are taken from plain clients.
    `name`, `description` and `icon` are what the relay says of itself, "" for its own words.
    """

    banned_keys: dict[str, str] = {}
    allowed_keys: dict[str, str] = {}
    banned_events: dict[str, str] = {}
    allowed_events: dict[str, str] = {}
    blocked_ips: dict[str, str] = {}
    allowed_kinds: frozenset[int] = frozenset()
    disallowed_kinds: frozenset[int] = frozenset()
    name: str = ""
    description: str = ""
    icon: str = ""

    # --- Judging -----------------------------------------------------------------------------------

    def judge_ip(self, ip: str) -> Verdict:
        """Before anything is said on a connection. `ip` as the socket has it."""
        if not self.blocked_ips:
            return ACCEPTED
        try:
            blocked = canonical_ip(ip) in self.blocked_ips
        except Refused:
            return ACCEPTED  # no address at all: a socket of this machine
        return refuse("blocked", "this address is blocked here") if blocked else ACCEPTED

    def judge_keys(self, npubs: Iterable[str]) -> Verdict:
        """A connection that has proven a banned key does nothing more, whatever else it has proven."""
        if self.banned_keys and any(npub in self.banned_keys for npub in npubs):
            return refuse("blocked", "this key is banned here")
        return ACCEPTED

    def allows(self, npubs: Iterable[str]) -> bool:
        """Whether one of these keys was let in beside the team."""
        return bool(self.allowed_keys) and any(npub in self.allowed_keys for npub in npubs)

    def judge_id(self, event: Event) -> Verdict:
        """For events from anywhere, links of the team included: a banned one does not come back."""
        if event.id in self.banned_events and event.kind not in CONTROL_KINDS:
            return refuse("blocked", "this event is banned here")
        return ACCEPTED

    def judge_event(self, event: Event) -> Verdict:
        """For events of plain clients: its id, its author, its kind."""
        if event.id in self.allowed_events:
            return ACCEPTED
        verdict = self.judge_id(event)
        if not verdict.accepted:
            return verdict
        if event.pubkey in self.banned_keys:
            return refuse("blocked", "its author is banned here")
        return self.judge_kind(event.kind)

    def judge_kind(self, kind: int) -> Verdict:
        if kind in self.disallowed_kinds or (self.allowed_kinds and kind not in self.allowed_kinds):
            return refuse("blocked", f"this kind of event is not taken here: {kind}")
        return ACCEPTED


# --- Acts: each gives the new lists, and raises Refused("invalid" or "restricted") --------------------


def ban_key(lists: Lists, npub: str, reason: str = "") -> Lists:
    _must_be_hex(npub, "a public key")
    banned = _with(lists.banned_keys, npub, reason)
    return replace(lists, banned_keys=banned, allowed_keys=_without(lists.allowed_keys, npub))


def unban_key(lists: Lists, npub: str) -> Lists:
    return replace(lists, banned_keys=_without(lists.banned_keys, npub))


def allow_key(lists: Lists, npub: str, reason: str = "") -> Lists:
    _must_be_hex(npub, "a public key")
    allowed = _with(lists.allowed_keys, npub, reason)
    return replace(lists, allowed_keys=allowed, banned_keys=_without(lists.banned_keys, npub))


def unallow_key(lists: Lists, npub: str) -> Lists:
    return replace(lists, allowed_keys=_without(lists.allowed_keys, npub))


def ban_event(lists: Lists, event_id: str, reason: str = "") -> Lists:
    _must_be_hex(event_id, "an event id")
    banned = _with(lists.banned_events, event_id, reason)
    return replace(lists, banned_events=banned, allowed_events=_without(lists.allowed_events, event_id))


def unban_event(lists: Lists, event_id: str) -> Lists:
    return replace(lists, banned_events=_without(lists.banned_events, event_id))


def allow_event(lists: Lists, event_id: str, reason: str = "") -> Lists:
    _must_be_hex(event_id, "an event id")
    allowed = _with(lists.allowed_events, event_id, reason)
    return replace(lists, allowed_events=allowed, banned_events=_without(lists.banned_events, event_id))


def unallow_event(lists: Lists, event_id: str) -> Lists:
    return replace(lists, allowed_events=_without(lists.allowed_events, event_id))


def allow_kind(lists: Lists, kind: int) -> Lists:
    """Takes back a `disallow_kind`. Otherwise the first one makes an allow list of what was none."""
    _must_be_kind(kind)
    disallowed = lists.disallowed_kinds - {kind}
    if kind in lists.disallowed_kinds and not lists.allowed_kinds:
        return replace(lists, disallowed_kinds=disallowed)
    return replace(lists, allowed_kinds=lists.allowed_kinds | {kind}, disallowed_kinds=disallowed)


def disallow_kind(lists: Lists, kind: int) -> Lists:
    """Taking the last kind off the allow list ends it: all kinds but those disallowed are taken again."""
    _must_be_kind(kind)
    if kind in TEAM_KINDS:
        raise Refused("restricted", "the kinds that the team itself is made of cannot be disallowed")
    allowed = lists.allowed_kinds - {kind}
    return replace(lists, allowed_kinds=allowed, disallowed_kinds=lists.disallowed_kinds | {kind})


def block_ip(lists: Lists, ip: str, reason: str = "") -> Lists:
    return replace(lists, blocked_ips=_with(lists.blocked_ips, canonical_ip(ip), reason))


def unblock_ip(lists: Lists, ip: str) -> Lists:
    return replace(lists, blocked_ips=_without(lists.blocked_ips, canonical_ip(ip)))


def rename(lists: Lists, name: str) -> Lists:
    return replace(lists, name=_text(name, MAX_NAME, "the name"))


def describe(lists: Lists, description: str) -> Lists:
    return replace(lists, description=_text(description, MAX_TEXT, "the description"))


def set_icon(lists: Lists, icon: str) -> Lists:
    icon = _text(icon, MAX_TEXT, "the icon's URL")
    if icon and not icon.startswith(("https://", "http://", "data:image/")):
        raise Refused("invalid", "an icon is named by an http or https URL")
    return replace(lists, icon=icon)


def canonical_ip(text: str) -> str:
    """One spelling of each address; an IPv4 address within IPv6 is the IPv4 address."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        raise Refused("invalid", "that is not an IP address") from None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _with(listed: dict[str, str], name: str, reason: str) -> dict[str, str]:
    if name not in listed and len(listed) >= MAX_LISTED:
        raise _full()
    return {**listed, name: _text(reason, MAX_REASON, "the reason")}


def _without(listed: dict[str, str], name: str) -> dict[str, str]:
    return {other: reason for other, reason in listed.items() if other != name} if name in listed else listed


def _text(text: str, length: int, what: str) -> str:
    if len(text) > length:
        raise Refused("invalid", f"{what} has more than {length} characters")
    return text.strip()


def _must_be_hex(text: str, what: str) -> None:
    if not is_hex(text, 64):
        raise Refused("invalid", f"{what} has 64 lowercase hex digits")


def _must_be_kind(kind: int) -> None:
    if not 0 <= kind <= MAX_KIND:
        raise Refused("invalid", f"a kind is a number between 0 and {MAX_KIND}")


def _full() -> Refused:
    return Refused("restricted", f"a list holds at most {MAX_LISTED} entries; take some off first")
