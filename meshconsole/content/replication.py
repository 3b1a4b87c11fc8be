"""How many copies of each pinned root there are, how many there should be, and who makes or drops one. Pure.

Every node decides for itself, from what the sites of a team say that they hold. There is no leader: all rank
the sites that could take a copy by a hash of root and site, and the first ones in that ranking act. Who does
not see the same sites may act too; the result is a copy too many, never one too few.

Laws:
1. A site that is away still counts, with all it holds, until it has been away for the grace period. So a
   peer that is away for an hour causes no copying.
2. Nobody drops a copy while there are fewer than are wanted, and nobody drops what an owner pinned.
3. What was pinned by a site that is away or has left the team stays pinned: it never said otherwise.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

WIDEN_S = 900.0
"""When nobody has begun a missing copy for so long, one more site of the ranking may."""

STALLED_S = 3600.0
"""When copies have been too few for so long, those that are on their way count no more."""

AT_ONCE = 2
"""Copies that one site makes at a time."""


class Held(msgspec.Struct, frozen=True):
    """A root as one site says that it holds it. `pinned`: by an owner, with the numbers that go with it;
    `kept`: as a copy for the team. `size` is in bytes, 0 while unknown."""

    percent: int
    pinned: bool = False
    kept: bool = False
    min_replicas: int = 0
    max_replicas: int = 0
    size: int = 0

    @property
    def whole(self) -> bool:
        return self.percent >= 100


class Site(msgspec.Struct):
    """`seen_at` is when it was last known to be there, in seconds; `gone`: it belongs no more."""

    name: str
    seen_at: float
    room_bytes: int = 0
    held: dict[str, Held] = msgspec.field(default_factory=dict)
    gone: bool = False


class Targets(msgspec.Struct, frozen=True):
    """What holds where a pin names no number of its own. A `max_replicas` of 0 is no limit."""

    min_replicas: int = 1
    max_replicas: int = 0
    grace_s: float = 86_400.0


class Copies(msgspec.Struct, frozen=True):
    """Of one root: sites that hold all of it and count, sites that do but have been away for too long, and
    sites that are fetching it to keep it."""

    wanted: int
    here: tuple[str, ...]
    away: tuple[str, ...]
    coming: tuple[str, ...]

    @property
    def short(self) -> int:
        return max(0, self.wanted - len(self.here))


class Plan(msgspec.Struct, frozen=True):
    """What this site should do now. `short` are all roots with too few copies."""

    copy: tuple[str, ...]
    drop: tuple[str, ...]
    short: frozenset[str]


def copies_of(cid: str, sites: Collection[Site], targets: Targets, now: float) -> Copies:
    here: list[str] = []
    away: list[str] = []
    coming: list[str] = []
    wanted = 0
    for site in sites:
        held = site.held.get(cid)
        if held is None:
            continue
        if held.pinned:
            wanted = max(wanted, targets.min_replicas, held.min_replicas)
        if site.gone:
            continue
        is_away = now - site.seen_at > targets.grace_s
        if held.whole:
            (away if is_away else here).append(site.name)
        elif (held.pinned or held.kept) and not is_away:
            coming.append(site.name)
    return Copies(wanted, tuple(sorted(here)), tuple(sorted(away)), tuple(sorted(coming)))


def plan(
    me: str,
    sites: Collection[Site],
    targets: Targets,
    now: float,
    *,
    reachable: Collection[str],
    short_since: Mapping[str, float],
) -> Plan:
    """`reachable` are the sites that are there at this moment; `short_since` tells for how long which roots
    have had too few copies, as far as this was noticed before."""
    mine = next((site for site in sites if site.name == me), None)
    everything = {cid for site in sites for cid in site.held}
    states = {cid: copies_of(cid, sites, targets, now) for cid in everything}
    short = frozenset(cid for cid, copies in states.items() if copies.short)
    if mine is None or mine.gone:
        return Plan((), (), short)
    under_way = sum(held.kept and not held.whole for held in mine.held.values())
    copy: list[str] = []
    for cid in sorted(short, key=lambda cid: (len(states[cid].here), cid)):
        if under_way + len(copy) >= AT_ONCE:
            break
        waited = now - short_since.get(cid, now)
        if _should_copy(cid, me, sites, states[cid], reachable, waited):
            copy.append(cid)
    drop = [cid for cid in mine.held if _should_drop(cid, me, sites, states[cid], targets)]
    return Plan(tuple(copy), tuple(sorted(drop)), short)


def _should_copy(
    cid: str, me: str, sites: Collection[Site], copies: Copies, reachable: Collection[str], waited: float
) -> bool:
    if not copies.here:
        return False  # nobody is there to copy it from
    size = max((site.held[cid].size for site in sites if cid in site.held), default=0)
    missing = copies.short - (len(copies.coming) if waited < STALLED_S else 0)
    if missing <= 0:
        return False
    candidates = [
        site.name
        for site in sites
        if (site.name == me or site.name in reachable)
        and not site.gone
        and site.room_bytes > size
        and site.name not in copies.here
        and site.name not in copies.coming
    ]
    return me in _ranked(cid, candidates)[: missing + int(waited // WIDEN_S)]


def _should_drop(cid: str, me: str, sites: Collection[Site], copies: Copies, targets: Targets) -> bool:
    holding = {site.name: site.held[cid] for site in sites if cid in site.held}
    mine = holding[me]
    if mine.pinned or not mine.kept:
        return False
    if not any(held.pinned for held in holding.values()):
        return True
    limit = max((held.max_replicas for held in holding.values() if held.pinned), default=0)
    limit = max(limit or targets.max_replicas, copies.wanted) if limit or targets.max_replicas else 0
    too_many = len(copies.here) - limit if limit else 0
    if too_many <= 0:
        return False
    kept = [name for name in copies.here if holding[name].kept and not holding[name].pinned]
    return me in _ranked(cid, kept)[::-1][:too_many]


def _ranked(cid: str, names: Collection[str]) -> list[str]:
    return sorted(names, key=lambda name: sha256(f"{cid} {name}".encode()).digest())
