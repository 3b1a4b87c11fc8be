"""Sync in nets of many nodes: lines, rings with chords, hubs, cuts; everything arrives, and hardly twice."""

from __future__ import annotations

import random

from meshconsole.core.kinds import TEAM_NOTE, TEXT_NOTE
from tests.mesh.sync_net import Net
from tests.mesh.sync_pair import id_of, make_event


def assert_equal(net: Net, count: int) -> None:
    for node in net.nodes.values():
        assert len(node.store.ids) == count, node.name
        assert node.lag == 0, node.name


def received_twice(net: Net) -> int:
    return sum(node.store.offered_again for node in net.nodes.values())


def test_a_line_of_four_passes_everything_on_once() -> None:
    net = Net("abcd")
    for near, far in ("ab", "bc", "cd"):
        net.link(near, far)
    for number in range(50):
        net.write("a", make_event(f"a{number}"))
        net.write("d", make_event(f"d{number}"))
    net.run()
    assert_equal(net, 100)
    assert received_twice(net) == 0


def test_a_relay_in_the_middle_passes_on_what_it_cannot_read_and_nothing_else() -> None:
    net = Net("abc")
    net.nodes["b"].role = "relay"
    net.link("a", "b")
    net.link("b", "c")
    sealed, plain = make_event("sealed", TEAM_NOTE), make_event("plain", TEXT_NOTE)
    net.write("a", sealed)
    net.write("a", plain)
    net.run()
    assert net.nodes["b"].store.ids == net.nodes["c"].store.ids == {id_of(sealed)}
    assert net.nodes["b"].lag == net.nodes["c"].lag == 0


def ring(net: Net, chords: int, rng: random.Random) -> None:
    names = list(net.nodes)
    edges = {(names[n], names[(n + 1) % len(names)]) for n in range(len(names))}
    while len(edges) < len(names) + chords:
        a, b = rng.sample(names, 2)
        if (b, a) not in edges:
            edges.add((a, b))
    for a, b in edges:
        net.link(a, b)


def test_a_burst_in_a_partial_mesh_of_twenty_comes_exactly_once() -> None:
    net = Net([f"n{number}" for number in range(20)])
    ring(net, 20, random.Random(3))
    net.run()
    rng = random.Random(4)
    for number in range(300):
        net.write(rng.choice(list(net.nodes)), make_event(f"e{number}", size=300))
    net.run()
    assert_equal(net, 300)
    assert received_twice(net) <= 0.05 * 300 * 19


def test_two_halves_that_wrote_apart_are_equal_again_for_little_more_than_the_difference() -> None:
    names = "abcde"
    net = Net(names)
    across = [(near, far) for near in "ab" for far in "cde"]
    within = [("a", "b"), ("c", "d"), ("d", "e"), ("c", "e")]
    for a, b in within:
        net.link(a, b)
    for number in range(200):
        net.write("ab"[number % 2], make_event(f"l{number}", size=400))
        net.write("cde"[number % 3], make_event(f"r{number}", size=400))
    net.run()
    before = net.bytes_carried
    for a, b in across:
        net.link(a, b)
    net.run()
    assert_equal(net, 400)
    difference = 5 * 200 * len(make_event("l0", size=400))
    assert net.bytes_carried - before < 1.5 * difference
    assert received_twice(net) <= 40


def test_along_a_line_nothing_waits_for_others_that_might_bring_it() -> None:
    net = Net("abcd", delay_s=0.001)
    for near, far in ("ab", "bc", "cd"):
        net.link(near, far)
    net.run()
    took = []
    for number in range(60):
        began = net.now
        net.write("a", make_event(f"a{number}"))
        net.run(within_s=0.0 if number else 60.0)
        while len(net.nodes["d"].store.ids) <= number:
            net.run(within_s=0.06)
        took.append(net.now - began)
    assert sum(took[:3]) > 0.1, "at first each hop waits whether another brings it"
    assert max(took[40:]) < 0.05
