"""Which teammates a device keeps links to, in teams too large for everybody to know everybody. Pure.

The devices that hold everything stand on a ring in the order of their keys, which all know alike from the
roster. The laws:

1. Up to FULL_MESH devices everybody links to everybody.
2. Beyond, each wants its next NEIGHBOURS on the ring that are there, and one at a half, a quarter, an eighth
   ... of the way around: the ring holds together whoever is away, and the chords keep ways short. Others
   want it in the same manner, so that it has about twice as many links as it wants.
3. Whoever is away is passed over for the next, and is tried all the same.
4. Devices of role relay pass on sealed kinds only, so no way may depend on them: they stand beside the ring,
   each linked to its next RELAY_LINKS devices, and each device to its next NEIGHBOURS relays.
5. Nobody is cut off for being too many unless this side dialled it or there are twice as many as it keeps;
   and only who has others to hold on to: a device behind a NAT may reach the hub and nobody else.
6. Who reaches others through somebody offers data channels only to those that it would want if nobody were
   away, and that want it: where none can be, all would try all for ever.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from meshconsole.mesh.peer import SEALED_ROLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

FULL_MESH = 12
NEIGHBOURS = 2
RELAY_LINKS = 4
KEPT_LINKS = 12
SURPLUS = "The mesh holds together by other links."


def wanted(me: str, roles: Mapping[str, str], is_away: Callable[[str], bool]) -> frozenset[str] | None:
    """`roles` by npub are those of all live devices, this one included. None stands for everybody."""
    if len(roles) <= FULL_MESH or me not in roles:
        return None
    ring = sorted(npub for npub, role in roles.items() if role != SEALED_ROLE)
    relays = sorted(npub for npub, role in roles.items() if role == SEALED_ROLE)
    found: set[str] = set()
    if roles[me] == SEALED_ROLE:
        found |= _next(ring, me, RELAY_LINKS, is_away)
        found |= _next(relays, me, 1, is_away)
    else:
        found |= _next(ring, me, NEIGHBOURS, is_away)
        place, distance = bisect_left(ring, me), len(ring) // 2
        while distance > NEIGHBOURS:
            start = ring[(place + distance) % len(ring)]
            found |= _next(ring, start, 1, is_away, beginning=True)
            distance //= 2
        found |= _next(relays, me, NEIGHBOURS, is_away)
    return frozenset(found - {me})


def around(me: str, roles: Mapping[str, str]) -> frozenset[str] | None:
    """Those that it wants when nobody is away, and on the ring those that want it; None stands for everybody.
    However many are away, there are no more."""
    mine = wanted(me, roles, lambda _: False)
    if mine is None or roles[me] == SEALED_ROLE:
        return mine
    ring = sorted(npub for npub, role in roles.items() if role != SEALED_ROLE)
    place, distance = bisect_left(ring, me), len(ring) // 2
    steps = set(range(1, NEIGHBOURS + 1))
    while distance > NEIGHBOURS:
        steps.add(distance)
        distance //= 2
    return mine | {ring[(place - step) % len(ring)] for step in steps} - {me}


def surplus(
    me: str,
    roles: Mapping[str, str],
    links: Iterable[tuple[str, bool]],
    mine: frozenset[str] | None,
    may_go: Callable[[str], bool],
) -> str | None:
    """One of the linked peers that may go, each named with whether this side dialled it; None if none may.
    `mine` is what this side wants, `may_go` says who has others to hold on to."""
    held = list(links)
    if mine is None or roles.get(me) == SEALED_ROLE or len(held) <= KEPT_LINKS:
        return None
    for npub, dialled in held:
        if npub in mine or not (dialled or len(held) > 2 * KEPT_LINKS) or not may_go(npub):
            continue
        theirs = wanted(npub, roles, lambda _: False)
        if theirs is not None and me not in theirs:
            return npub
    return None


def _next(
    ring: Sequence[str], me: str, count: int, is_away: Callable[[str], bool], *, beginning: bool = False
) -> set[str]:
    """The next `count` behind `me` that are there, with those that were passed over; with `me` itself where
    it is only a place to begin at."""
    place = bisect_left(ring, me)
    found: set[str] = set()
    for step in range(len(ring)):
        npub = ring[(place + step) % len(ring)]
        if npub == me and not beginning:
            continue
        found.add(npub)
        count -= not is_away(npub)
        if count == 0:
            break
    return found
