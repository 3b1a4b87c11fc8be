"""Who links to whom in large teams: few links each, all connected, whoever is away."""

from __future__ import annotations

import random
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.mesh.topology import FULL_MESH, KEPT_LINKS, around, surplus, wanted
from tests.mesh.sync_net import Net
from tests.mesh.sync_pair import make_event


def key(name: str) -> str:
    return sha256(name.encode()).hexdigest()


def anybody(_npub: str) -> bool:
    return True


def team(count: int, relays: int = 0) -> dict[str, str]:
    roles = {key(f"d{number}"): "member" for number in range(count)}
    return roles | {key(f"r{number}"): "relay" for number in range(relays)}


def edges(roles: dict[str, str], away: frozenset[str] = frozenset()) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for me in roles.keys() - away:
        for other in (wanted(me, roles, away.__contains__) or frozenset(roles)) - away - {me}:
            found.add((min(me, other), max(me, other)))
    return found


def is_connected(names: set[str], links: set[tuple[str, str]]) -> bool:
    reached, new = set(), {min(names)}
    while new:
        reached |= new
        new = {b for a, b in links if a in reached} | {a for a, b in links if b in reached}
        new -= reached
    return reached >= names


def degree(links: set[tuple[str, str]], name: str) -> int:
    return sum(name in link for link in links)


def test_a_small_team_is_a_full_mesh() -> None:
    assert wanted(key("d0"), team(FULL_MESH), lambda _: False) is None


@pytest.mark.parametrize("count", [13, 20, 21, 60])
def test_data_channels_are_offered_to_few_and_the_same_on_both_sides(count: int) -> None:
    roles = team(count)
    assert around(key("d0"), team(FULL_MESH)) is None
    for me in roles:
        near = around(me, roles) or frozenset()
        assert len(near) <= KEPT_LINKS
        mine = wanted(me, roles, lambda _: False) or frozenset()
        theirs = {npub for npub in roles if me in (wanted(npub, roles, lambda _: False) or ())}
        assert near == mine | theirs
    assert edges(team(count)) == {(min(a, b), max(a, b)) for a in roles for b in around(a, roles) or ()}


@given(st.integers(13, 80), st.integers(0, 6), st.randoms(use_true_random=False))
def test_all_that_are_there_are_connected_without_relays(count: int, relays: int, rng: random.Random) -> None:
    roles = team(count, relays)
    away = frozenset(rng.sample(sorted(roles), rng.randrange(count // 2)))
    links = edges(roles, away)
    there = {npub for npub, role in roles.items() if npub not in away and role == "member"}
    assert is_connected(there, {(a, b) for a, b in links if a in there and b in there})
    assert is_connected(roles.keys() - away, links), "and each relay is linked to some device"


@pytest.mark.parametrize("count", [20, 50, 200])
def test_each_keeps_few_links(count: int) -> None:
    roles = team(count)
    links = edges(roles)
    degrees = [degree(links, npub) for npub in roles]
    assert max(degrees) <= 15
    assert min(degrees) >= 4


def test_a_hub_is_linked_by_many_and_cuts_off_none() -> None:
    roles = team(200, relays=1)
    links = edges(roles)
    assert degree(links, key("r0")) == 200
    mine = wanted(key("r0"), roles, lambda _: False)
    assert surplus(key("r0"), roles, [(npub, True) for npub in roles], mine, anybody) is None


def test_what_nobody_wants_goes_and_what_the_other_side_wants_stays() -> None:
    roles = team(60)
    me = key("d0")
    mine = wanted(me, roles, lambda _: False)
    assert mine is not None
    everybody = [(npub, True) for npub in roles if npub != me]
    held = dict(everybody)
    while (gone := surplus(me, roles, held.items(), mine, anybody)) is not None:
        assert gone not in mine
        assert me not in (wanted(gone, roles, lambda _: False) or ())
        del held[gone]
    assert len(held) <= 20
    assert mine <= held.keys()
    dialled_by_them = [(npub, False) for npub in list(roles)[: KEPT_LINKS + 8]]
    assert surplus(me, roles, dialled_by_them, mine, anybody) is None


def test_who_has_nobody_else_is_not_cut_off() -> None:
    roles = team(200)
    me = key("d0")
    held = [(npub, False) for npub in roles if npub != me]
    mine = wanted(me, roles, lambda _: False)
    assert surplus(me, roles, held, mine, lambda _: False) is None
    gone = surplus(me, roles, held, mine, anybody)
    assert gone is not None
    assert surplus(me, roles, held, mine, lambda npub: npub == gone) == gone


def test_a_burst_in_a_large_team_reaches_all_once_also_when_some_are_away() -> None:
    roles = team(28)
    away = frozenset(sorted(roles)[5:8])
    net = Net(sorted(roles.keys() - away))
    for a, b in sorted(edges(roles, away)):
        net.link(a, b)
    rng = random.Random(2)
    for number in range(50):
        net.write(rng.choice(list(net.nodes)), make_event(f"e{number}", size=300))
    net.run()
    assert all(len(node.store.ids) == 50 and node.lag == 0 for node in net.nodes.values())
    assert sum(node.store.offered_again for node in net.nodes.values()) <= 0.02 * 50 * 25
