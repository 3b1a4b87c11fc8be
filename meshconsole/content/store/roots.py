"""Roots: the CIDs that somebody asked for, who keeps them here, and how much of each is here. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from meshconsole.content.formats.cid import Cid
from meshconsole.core.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterable

OWNER = ""
"""Pins made at this node's console."""

TEAM = "team"
"""Pins of copies that this node keeps because the team wants so many."""

BLOSSOM = "blossom/"
"""Begins the owner of a pin that a Nostr key made with an upload; the key follows. What is pinned by nobody
else is no matter of the team: it is neither told of nor copied."""


PINNING = "pinning/"
"""Begins the owner of a pin that was asked for over the pinning service; the token's name follows. It holds
for this node alone: teammates make no copies because of it."""


class Pin(msgspec.Struct, frozen=True):
    """Somebody's wish that everything below a root stays here.

    `owner` is OWNER, TEAM, or whoever asked over an interface. `min_replicas` and `max_replicas` are how
    many copies the owner wants in the team, 0 where the team's own numbers hold. `expires_at` is in seconds
    since the epoch, None for a pin that stays.
    """

    owner: str = OWNER
    min_replicas: int = 0
    max_replicas: int = 0
    expires_at: float | None = None


class Root(msgspec.Struct, frozen=True):
    """`total_bytes` is a claim until the root is whole. `cid` is the text form. A root that is `wanted` is
    being fetched, unless it is `paused`."""

    cid: str
    name: str
    wanted: bool
    total_bytes: int | None
    added_at: float
    pins: tuple[Pin, ...] = ()
    paused: bool = False

    @property
    def pinned(self) -> bool:
        return bool(self.pins)

    def pin_of(self, owner: str) -> Pin | None:
        return next((pin for pin in self.pins if pin.owner == owner), None)

    def with_pin(self, pin: Pin) -> Root:
        """The owner's earlier pin is replaced."""
        return replace(self, pins=(*self.without_pin(pin.owner).pins, pin))

    def without_pin(self, owner: str) -> Root:
        return replace(self, pins=tuple(pin for pin in self.pins if pin.owner != owner))

    @property
    def is_of_programs(self) -> bool:
        """Nobody but clients of the HTTP edge, one of whom uploaded it, wants it here."""
        return are_of_keys((self,))

    def unexpired(self, now: float) -> Root:
        pins = tuple(pin for pin in self.pins if pin.expires_at is None or pin.expires_at > now)
        return self if len(pins) == len(self.pins) else replace(self, pins=pins)


class Presence(msgspec.Struct, frozen=True):
    """How much of what is below a root is here. `bytes` are those of its distinct blocks.

    `total_bytes` is None while inner blocks are missing that would tell.
    """

    bytes: int
    total_bytes: int | None
    complete: bool


ABSENT = Presence(0, None, False)


def are_of_keys(roots: Iterable[Root]) -> bool:
    """Whether a block of these roots is there because Nostr keys uploaded it, and neither this node's owner
    nor the team keeps it. A token's pin does not count: whoever has one could read by it what the relay's
    policies keep from them.
    """
    owners = [pin.owner for root in roots for pin in root.pins]
    return any(owner.startswith(BLOSSOM) for owner in owners) and all(
        owner.startswith((BLOSSOM, PINNING)) for owner in owners
    )


def canonical(cid: str) -> Cid:
    """Of a root: they are known by their text, so there must be one text for each. Raises RemoteError."""
    parsed = Cid.parse(cid)
    if str(parsed) != cid:
        raise RemoteError("bad-cid", f"Write this CID as {parsed}.")
    return parsed


def renamed(old: Root | None, cid: str, name: str, now: float) -> Root:
    """The root under its new name, if it gets one; a new one if there is none."""
    if old is None:
        return Root(cid, name, False, None, now)
    return replace(old, name=name or old.name)
