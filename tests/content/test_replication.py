"""Who copies and who drops, as a pure decision; then whole teams that follow it, step by step."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from meshconsole.content.replication import (
    AT_ONCE,
    STALLED_S,
    WIDEN_S,
    Copies,
    Held,
    Site,
    Targets,
    copies_of,
    plan,
)

GRACE_S = 86_400.0
TARGETS = Targets(min_replicas=2, grace_s=GRACE_S)
PINNED = Held(100, pinned=True, size=10)
KEPT = Held(100, kept=True, size=10)
NOW = 1e9


def site(name: str, seen_at: float = NOW, room: int = 1000, *, gone: bool = False, **held: Held) -> Site:
    return Site(name, seen_at, room, held, gone)


def decide(
    me: str,
    *sites: Site,
    targets: Targets = TARGETS,
    now: float = NOW,
    reachable: set[str] | None = None,
    since: dict[str, float] | None = None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    there = {each.name for each in sites} if reachable is None else reachable
    todo = plan(me, sites, targets, now, reachable=there, short_since=since or {})
    return todo.copy, todo.drop


def test_how_many_there_are_and_where() -> None:
    sites = [
        site("hub", f=PINNED),
        site("pi", f=KEPT, seen_at=NOW - GRACE_S),
        site("old", f=KEPT, seen_at=NOW - GRACE_S - 1),
        site("out", f=KEPT, gone=True),
        site("new", f=Held(50, kept=True)),
        site("idle"),
    ]
    found = copies_of("f", sites, Targets(3, grace_s=GRACE_S), NOW)
    assert found == Copies(3, ("hub", "pi"), ("old",), ("new",))
    assert found.short == 1
    assert copies_of("other", sites, TARGETS, NOW) == Copies(0, (), (), ())


def test_one_of_those_with_room_makes_the_missing_copy() -> None:
    sites = [site("a", f=PINNED), *(site(name) for name in "bcd")]
    acting = [name for name in "abcd" if decide(name, *sites)[0]]
    assert len(acting) == 1
    assert acting != ["a"]
    # Who has no room is passed over.
    full = [site("a", f=PINNED), *(site(name, room=0 if name == acting[0] else 1000) for name in "bcd")]
    others = [name for name in "abcd" if decide(name, *full)[0]]
    assert len(others) == 1
    assert others != acting


def test_what_is_on_its_way_is_not_made_twice_unless_it_takes_long() -> None:
    sites = [site("a", f=PINNED), site("b", f=Held(0, kept=True)), site("c")]
    assert decide("c", *sites, since={"f": NOW - STALLED_S + 1}) == ((), ())
    assert decide("c", *sites, since={"f": NOW - STALLED_S})[0] == ("f",)


def test_where_the_first_in_the_ranking_does_nothing_the_next_one_acts() -> None:
    sites = [site("a", f=PINNED), *(site(name) for name in "bcd")]
    for waited, acting in ((0, 1), (WIDEN_S, 2), (2 * WIDEN_S, 3)):
        since = {"f": NOW - waited}
        assert sum(bool(decide(name, *sites, since=since)[0]) for name in "bcd") == acting


def test_a_pin_may_ask_for_more_than_the_team() -> None:
    sites = [site("a", f=replace(PINNED, min_replicas=4)), *(site(name) for name in "bcde")]
    assert sum(bool(decide(name, *sites)[0]) for name in "abcde") == 3


def test_a_peer_that_is_away_for_an_hour_causes_no_copies() -> None:
    held = {f"f{i}": PINNED for i in range(100)}
    a = Site("a", NOW, 1000, dict(held))
    b = Site("b", NOW - 3600, 1000, dict.fromkeys(held, KEPT))
    assert decide("c", a, b, site("c"), reachable={"a"}) == ((), ())
    b.seen_at = NOW - GRACE_S - 1
    copy, drop = decide("c", a, b, site("c"), reachable={"a"})
    assert len(copy) == AT_ONCE
    assert drop == ()


def test_who_belongs_no_more_neither_counts_nor_acts() -> None:
    sites = [site("a", f=PINNED), site("b", f=KEPT, gone=True), site("c")]
    assert decide("c", *sites)[0] == ("f",)
    assert decide("b", *sites) == ((), ())
    # What it pinned stays pinned.
    assert decide("c", site("a", f=PINNED, gone=True), site("c", f=KEPT)) == ((), ())


def test_nothing_can_be_copied_from_nobody() -> None:
    assert decide("c", site("a", f=Held(40, pinned=True)), site("c")) == ((), ())


def test_copies_that_nobody_wants_any_more_are_dropped() -> None:
    assert decide("b", site("a", f=Held(100)), site("b", f=KEPT)) == ((), ("f",))
    assert decide("b", site("a", f=PINNED), site("b", f=replace(KEPT, pinned=True))) == ((), ())


@pytest.mark.parametrize(("most", "dropped"), [(0, 0), (4, 0), (3, 1), (2, 2), (1, 2)])
def test_copies_over_the_maximum_are_dropped_and_never_below_what_is_wanted(most: int, dropped: int) -> None:
    sites = [site("a", f=replace(PINNED, max_replicas=most)), *(site(name, f=KEPT) for name in "bcd")]
    drops = [name for name in "abcd" if decide(name, *sites)[1]]
    assert len(drops) == dropped
    assert "a" not in drops


class Team:
    """Sites that all see each other when they are there, and act one after the other."""

    def __init__(self, names: str, chance: random.Random) -> None:
        self.now = NOW
        self.sites = {name: site(name) for name in names}
        self.there = set(names)
        self.since: dict[str, dict[str, float]] = {name: {} for name in names}
        self.chance = chance
        self.copied = 0

    def step(self, by_s: float = 60.0) -> None:
        self.now += by_s
        for name in self.there:
            self.sites[name].seen_at = self.now
        for name in self.chance.sample(sorted(self.there), len(self.there)):
            mine = self.sites[name]
            todo = plan(
                name,
                list(self.sites.values()),
                TARGETS,
                self.now,
                reachable=self.there,
                short_since=self.since[name],
            )
            self.since[name] = {cid: self.since[name].get(cid, self.now) for cid in todo.short}
            for cid, held in list(mine.held.items()):
                if held.kept and not held.whole:
                    mine.held[cid] = KEPT
            for cid in todo.copy:
                mine.held[cid] = Held(0, kept=True, size=10)
                self.copied += 1
            for cid in todo.drop:
                del mine.held[cid]


@pytest.mark.parametrize("seed", range(2))
def test_a_team_comes_to_rest_with_as_many_copies_as_it_wants(seed: int) -> None:
    chance = random.Random(seed)
    team = Team("abcdef", chance)
    for i in range(20):
        team.sites[chance.choice("abcdef")].held[f"f{i}"] = PINNED
    for _ in range(40):
        team.step()
    assert {len(copies_of(f"f{i}", team.sites.values(), TARGETS, team.now).here) for i in range(20)} == {2}
    assert team.copied == 20
    # Half of the team leaves for an hour and comes back: nothing moves.
    away = set(chance.sample("abcdef", 3))
    team.there -= away
    for _ in range(60):
        team.step()
    team.there |= away
    team.step()
    assert team.copied == 20
    # One is lost for good.
    team.there.discard("a")
    for _ in range(int(GRACE_S / 600) + 60):
        team.step(600.0)
    for i in range(20):
        copies = copies_of(f"f{i}", team.sites.values(), TARGETS, team.now)
        assert len(copies.here) == 2 or (not copies.here and copies.away == ("a",))
