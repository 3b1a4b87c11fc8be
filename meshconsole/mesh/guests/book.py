"""Who asks to be a guest, who is one, and until when. Pure.

Laws:
- Nobody is a guest before the owner has said yes to the code that this browser shows.
- A link lets one browser ask while it is valid. Whoever else has it learns that it is used; it is free again
  only when that browser gives up before the owner has answered.
- The owner's yes is for one key, for a time, and can be taken back; who was let in may come again in that
  time without being asked for.
- Everything is bounded: guests, and links together with the browsers that wait, as each of those may free
  its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import Refused
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LINKS = 8
MAX_GUESTS = 8
MAX_NAME = 32
CODE_DIGITS = 6
SHORTEST_KEY = 4
"""Digits of a key that are enough to name a guest."""


class Admitted(msgspec.Struct, frozen=True):
    """Times are seconds since the epoch."""

    npub: str
    name: str
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Link:
    """A one-time invitation. `name` is what the owner calls whoever uses it, "" for what they say."""

    token: str
    until: float
    name: str
    hours: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """A browser that shows its code."""

    code: str
    npub: str
    name: str
    since: float
    link: Link


@dataclass(slots=True)
class GuestBook:
    """`saved` are guests of earlier; `code` makes a random number of CODE_DIGITS digits."""

    saved: tuple[Admitted, ...]
    code: Callable[[], str]
    links: dict[str, Link] = field(default_factory=dict)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    """By code."""
    guests: dict[str, Admitted] = field(default_factory=dict)
    """By npub."""

    def __post_init__(self) -> None:
        self.guests = {guest.npub: guest for guest in self.saved}

    # --- The owner ---------------------------------------------------------------------------------

    def open_link(self, link: Link, now: float) -> None:
        """Raises Refused."""
        self._forget_links(now)
        if len(self.links) + len(self.waiting) >= MAX_LINKS:
            raise Refused(
                "restricted",
                f"{MAX_LINKS} links to guests are open already, or used by browsers that wait.",
                hint="Answer those: meshconsole guest list. Links end by themselves.",
            )
        self.links[link.token] = link

    def to_admit(self, code: str, name: str, hours: float | None, now: float) -> tuple[Waiting, Admitted]:
        """Who shows the code, and as whom it would be let in. Raises Refused."""
        found = self._waiting(code)
        if len(self.guests) >= MAX_GUESTS:
            raise Refused("restricted", f"There are {MAX_GUESTS} guests already.", hint="Remove one first.")
        length = found.link.hours if hours is None else hours
        named = self._free_name(_name(name) or found.name)
        return found, Admitted(found.npub, named, now, now + length * 3600)

    def admit(self, waiting: Waiting, guest: Admitted) -> None:
        """The link is used up, though the browser may have given up meanwhile."""
        self.waiting.pop(waiting.code, None)
        self.links.pop(waiting.link.token, None)
        self.guests[guest.npub] = guest

    def refuse(self, code: str) -> Waiting:
        """Raises Refused."""
        return self.waiting.pop(self._waiting(code).code)

    def called(self, who: str) -> Admitted:
        """The guest, by name, or by the beginning of the key. Raises Refused."""
        wanted = who.strip()
        found = [guest for guest in self.guests.values() if guest.name == wanted]
        if not found and len(wanted) >= SHORTEST_KEY:
            found = [guest for guest in self.guests.values() if guest.npub.startswith(wanted.lower())]
        if len(found) != 1:
            what = "No guest" if not found else "More than one guest"
            raise Refused("invalid", f"{what} is called {safe(who, 64)}.", hint="See: meshconsole guest list")
        return found[0]

    # --- The browser -------------------------------------------------------------------------------

    def ask(self, token: str, npub: str, name: str, now: float) -> Waiting:
        """A browser comes with a link, which is used up by that. Raises Refused."""
        self._forget_links(now)
        link = self.links.pop(token, None)
        if link is None:
            raise Refused("restricted", "This link was used already, or its time is over. Ask for a new one.")
        code = next(code for code in iter(self.code, None) if code not in self.waiting)
        found = Waiting(code, npub, _name(link.name or name) or "guest", now, link)
        self.waiting[code] = found
        return found

    def gave_up(self, code: str) -> None:
        """The browser that waited has gone. Its link may be used again, by whoever reloads the page."""
        found = self.waiting.pop(code, None)
        if found is not None:
            self.links[found.link.token] = found.link

    def guest(self, npub: str, now: float) -> Admitted | None:
        found = self.guests.get(npub)
        return found if found is not None and now < found.until else None

    def over(self, now: float) -> tuple[Admitted, ...]:
        """The guests whose time is over. Links whose time is over are forgotten."""
        self._forget_links(now)
        return tuple(guest for guest in self.guests.values() if now >= guest.until)

    def without(self, guest: Admitted) -> tuple[Admitted, ...]:
        return tuple(other for other in self.guests.values() if other.npub != guest.npub)

    def _forget_links(self, now: float) -> None:
        self.links = {token: link for token, link in self.links.items() if now < link.until}

    def _waiting(self, code: str) -> Waiting:
        found = self.waiting.get("".join(filter(str.isdigit, code)))
        if found is None:
            raise Refused(
                "invalid", "No browser shows that code now.", hint="See who waits: meshconsole guest list"
            )
        return found

    def _free_name(self, name: str) -> str:
        """So that two guests can be told apart."""
        taken = {guest.name for guest in self.guests.values()}
        number, free = 2, name
        while free in taken:
            free = f"{name[: MAX_NAME - 3]} {number}"
            number += 1
        return free


def _name(text: str) -> str:
    return " ".join(safe(text, MAX_NAME).split())[:MAX_NAME]
