"""Guests: what a browser may say and hear that the owner let in beside the team. Pure.

A guest is a Nostr key on one connection which the owner admitted, for a time. The standing holds on that
connection alone and for nothing but one room: plain notes with the tag `["h", "guests"]`. Laws:

- A guest hears notes of the room, whoever wrote them, and nothing else. No sealed event, no roster, no
  profile, no wrap is among them, whatever it asks for.
- A guest writes notes of the room, signed by the key that was admitted and carrying the name under which it
  was: so a teammate's node, which does not know the guest, can call it by a name that was checked.
- Whether a guest may be here is asked again each time: who is removed hears nothing more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from meshconsole.core.kinds import TEXT_NOTE
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from meshconsole.core.event import Event
    from meshconsole.relay.filter import Filter

ROOM_TAG = "h"
ROOM = "guests"
NAME_TAG = "name"
KINDS = frozenset({TEXT_NOTE})
MAX_NOTE = 4096
"""Characters of a guest's note."""
MAX_TAGS = 16
MAX_TAG = 256
"""Characters of one value of a tag."""


class Guest(Protocol):
    """Somebody whom the owner let in, on one connection."""

    @property
    def npub(self) -> str: ...

    @property
    def name(self) -> str: ...

    def may_be_here(self) -> Verdict:
        """By now: removed guests and those whose time is over may not."""


def is_of_the_room(event: Event) -> bool:
    return event.kind in KINDS and event.tag(ROOM_TAG) == ROOM


def name_in(event: Event) -> str:
    """Under which name a guest wrote that, as the relay that took it in has checked; "" for none."""
    return event.tag(NAME_TAG) or ""


def judge_guest(guest: Guest, npubs: Collection[str]) -> Verdict:
    """The gate: the key that was admitted must be proven on this connection."""
    verdict = guest.may_be_here()
    if not verdict.accepted or guest.npub in npubs:
        return verdict
    return refuse("auth-required", "log in with the key that was let in")


def judge_note(event: Event, guest: Guest) -> Verdict:
    if event.pubkey != guest.npub:
        return refuse("restricted", "a guest publishes its own notes only")
    if event.kind not in KINDS:
        return refuse("restricted", "a guest writes plain notes (kind 1) and nothing else")
    rooms = [tag[1:2] for tag in event.tags if tag[0] == ROOM_TAG]
    names = [tag[1:2] for tag in event.tags if tag[0] == NAME_TAG]
    if rooms != [(ROOM,)]:
        return refuse("restricted", f'a guest writes into the room of guests: ["{ROOM_TAG}","{ROOM}"]')
    if names != [(guest.name,)]:
        return refuse("restricted", f'a guest\'s note bears its name as it was let in: ["{NAME_TAG}",…]')
    if len(event.content) > MAX_NOTE:
        return refuse("invalid", f"a guest's note has at most {MAX_NOTE} characters")
    if len(event.tags) > MAX_TAGS or any(len(value) > MAX_TAG for tag in event.tags for value in tag):
        return refuse("invalid", f"at most {MAX_TAGS} tags of {MAX_TAG} characters")
    return ACCEPTED


def judge_question(filters: Sequence[Filter]) -> Verdict:
    """A question that can bring nothing is told why; from wider ones the rest is left out."""
    if filters and all(within_the_room(wanted).impossible for wanted in filters):
        return refuse("restricted", "a guest reads the notes of the room of guests and nothing else")
    return ACCEPTED


def within_the_room(wanted: Filter) -> Filter:
    """What is left of a guest's question."""
    asked = KINDS if wanted.kinds is None else wanted.kinds & KINDS
    rooms = frozenset({ROOM})
    tags = []
    for letter, values in wanted.tags:
        if letter == ROOM_TAG:
            rooms &= values
        else:
            tags.append((letter, values))
    return msgspec.structs.replace(wanted, kinds=asked, tags=(*tags, (ROOM_TAG, rooms)))
