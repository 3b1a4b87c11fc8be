"""Blocks that go through nodes which did not want them: rules one by one, nets under a clock of their own,
then whole content stores in a line.
"""

from __future__ import annotations

from meshconsole.content.exchange.asking import MAX_HOPS
from meshconsole.content.exchange.bitswap import Message, Want
from meshconsole.content.exchange.passing import DIRECT_PER_S, FLOODS_AT_ONCE, MAX_PASSED, Passing, Reach
from meshconsole.content.exchange.transit import Transit
from meshconsole.content.exchange.wants import AT_ONCE, WIDEN_S, Wants
from meshconsole.content.formats.cid import RAW, Cid
from tests.content.deterministic import BLOCKS

GROUP = b"group"
A, B, C = BLOCKS[:3]


def passing(*peers: str) -> Passing:
    machine = Passing(Wants())
    for peer in peers:
        machine.attach(peer)
        machine.wants.attach(peer, 0.0, passes=True)
    return machine


def sent(machine: Passing) -> dict[str, list[tuple[Cid, bool, int]]]:
    """Wants that go out: CID, whether the block itself, hops."""
    out: dict[str, list[tuple[Cid, bool, int]]] = {}
    for peer, message in machine.wants.outbox():
        out.setdefault(peer, []).extend((want.cid, want.block, want.hops) for want in message.wants)
    return {peer: wants for peer, wants in out.items() if wants}


def test_a_want_goes_to_all_but_who_asked_and_says_how_far_it_has_come() -> None:
    machine = passing("p", "q", "r")
    machine.wants.attach("stranger", 0.0)
    assert machine.ask("p", [Want(A.cid, False, hops=2)], 0.0) == {}
    assert sent(machine) == {"q": [(A.cid, False, 3)], "r": [(A.cid, False, 3)]}


def test_who_asked_is_told_when_it_is_in_reach_and_when_not_any_more() -> None:
    machine = passing("p", "q", "r")
    machine.ask("p", [Want(A.cid, False)], 0.0)
    assert machine.news() == []
    machine.wants.presences("q", [], [A.cid], 0.0)
    assert machine.news() == []
    machine.wants.presences("r", [], [], 0.0, [(A.cid, 3)])
    assert machine.news() == [Reach("p", A.cid, 4)]
    machine.wants.presences("q", [A.cid], [], 0.0)
    assert machine.news() == [Reach("p", A.cid, 1)]
    machine.wants.detach("q", 0.0)
    machine.wants.presences("r", [], [A.cid], 0.0)
    assert machine.news() == [Reach("p", A.cid, None)]


def test_the_block_is_asked_for_only_when_it_is_wanted_and_of_the_nearest() -> None:
    machine = passing("p", "q", "r")
    machine.ask("p", [Want(A.cid, False)], 0.0)
    machine.wants.presences("q", [], [], 0.0, [(A.cid, 1)])
    machine.wants.presences("r", [A.cid], [], 0.0)
    sent(machine)
    assert machine.ask("p", [Want(A.cid, True)], 0.0) == {A.cid.multihash: 1}
    assert sent(machine) == {"r": [(A.cid, True, 1)]}
    assert machine.wants.blocks("r", [A], 0.0) == [A]
    assert machine.came(A.cid.multihash)
    assert not machine.came(A.cid.multihash)


def test_a_second_block_is_asked_for_at_once_where_the_first_came_from() -> None:
    machine = passing("p", "q", "r")
    machine.ask("p", [Want(A.cid, False)], 0.0)
    machine.wants.presences("q", [A.cid], [], 0.0)
    assert machine.news() == [Reach("p", A.cid, 1)]
    sent(machine)
    assert machine.ask("p", [Want(B.cid, True)], 0.0) == {B.cid.multihash: 1}
    assert sent(machine) == {"q": [(B.cid, True, 1)]}
    machine.wants.presences("q", [], [B.cid], 0.0)
    assert machine.news() == [Reach("p", B.cid, None)]
    assert sent(machine) == {"r": [(B.cid, False, 1)]}


def test_what_is_asked_for_already_is_not_passed_on_again() -> None:
    machine = passing("p", "q", "r")
    machine.ask("p", [Want(A.cid, False)], 0.0)
    sent(machine)
    machine.ask("p", [Want(A.cid, False)], 1.0)
    assert sent(machine) == {}
    machine.ask("q", [Want(A.cid, False, hops=1)], 1.0)
    # q wants it as well, so now p may be asked: it could reach somebody whom q cannot.
    assert sent(machine) == {"p": [(A.cid, False, 2)]}
    assert machine.passed == 1


def test_a_want_is_not_passed_on_for_ever() -> None:
    machine = passing("p", "q")
    machine.ask("p", [Want(A.cid, False, hops=MAX_HOPS)], 0.0)
    assert sent(machine) == {}
    machine.ask("p", [Want(A.cid, False, hops=MAX_HOPS - 1)], 0.0)
    assert sent(machine) == {"q": [(A.cid, False, MAX_HOPS)]}
    machine.wants.presences("q", [], [], 0.0, [(A.cid, MAX_HOPS)])
    assert machine.news() == []
    machine.wants.presences("q", [], [], 0.0, [(A.cid, 1 << 60)])
    assert machine.news() == []


def test_two_that_wait_for_each_other_do_not() -> None:
    machine = passing("p", "q", "r")
    machine.ask("p", [Want(A.cid, True)], 0.0)
    machine.wants.presences("q", [], [], 0.0, [(A.cid, 1)])
    assert sent(machine)["q"] == [(A.cid, False, 1), (A.cid, True, 1)]
    machine.ask("q", [Want(A.cid, True, hops=2)], 0.0)
    assert machine.news() == []  # p has heard nothing yet
    machine.wants.presences("r", [A.cid], [], 0.0)
    assert (A.cid, True, 1) in sent(machine)["r"]
    assert sorted(news.asker for news in machine.news()) == ["p", "q"]


def test_what_nobody_wants_any_more_is_cancelled() -> None:
    machine = passing("p", "q", "r")
    machine.ask("p", [Want(A.cid, False), Want(B.cid, False)], 0.0)
    machine.ask("q", [Want(B.cid, False)], 0.0)
    machine.wants.outbox()
    machine.receive("p", Message(cancels=(A.cid,)), 0.0)
    assert all(message.cancels == (A.cid,) for _, message in machine.wants.outbox())
    machine.receive("p", Message(full=True), 0.0)
    assert machine.wants.is_open(B.cid.multihash)
    machine.detach("q")
    machine.wants.detach("q", 0.0)
    assert not machine.wants.is_open(B.cid.multihash)


def test_a_want_goes_towards_known_holders_first() -> None:
    machine = passing("p", "q", "r")
    machine.towards = lambda _: ["r"]
    machine.ask("p", [Want(A.cid, False)], 0.0)
    assert sent(machine) == {"r": [(A.cid, False, 1)]}
    assert machine.wants.next_timer() == WIDEN_S
    machine.wants.handle_timer(WIDEN_S)
    assert sent(machine) == {"q": [(A.cid, False, 1)]}


def test_what_this_node_wants_itself_is_asked_of_everybody() -> None:
    machine = passing("p", "q")
    machine.wants.attach("stranger", 0.0)
    machine.ask("p", [Want(A.cid, False)], 0.0)
    sent(machine)
    machine.wants.want([A.cid], GROUP, 0.0)
    own = [(A.cid, False, 0)]
    # q as well: the want may go further than it was told.
    assert sent(machine) == {"p": own, "q": own, "stranger": own}


# Floods


def cids(count: int) -> list[Cid]:
    return [Cid.of(RAW, b"flood %d" % n) for n in range(count)]


def test_a_peer_has_so_many_wants_passed_on_at_a_time() -> None:
    machine = passing("p", "q")
    many = cids(MAX_PASSED + 50)
    machine.ask("p", [Want(cid, False) for cid in many], 0.0)
    assert len(sent(machine)["q"]) == MAX_PASSED
    machine.receive("p", Message(cancels=tuple(many[:10])), 0.0)
    machine.ask("p", [Want(cid, False) for cid in many[MAX_PASSED:]], 0.0)
    assert len(sent(machine)["q"]) == 10


def test_a_peer_that_asks_and_cancels_without_end_is_passed_on_at_a_rate() -> None:
    machine = passing("p", "q")
    passed = 0
    for cid in cids(1000):
        machine.ask("p", [Want(cid, False)], 0.0)
        passed += len(sent(machine).get("q", ()))
        machine.receive("p", Message(cancels=(cid,)), 0.0)
    assert passed == FLOODS_AT_ONCE
    assert not machine.wants._open


def test_wants_towards_one_that_gives_have_a_rate_of_their_own() -> None:
    machine = passing("p", "q")
    machine.ask("p", [Want(A.cid, False)], 0.0)
    machine.wants.presences("q", [A.cid], [], 0.0)
    for n, cid in enumerate(cids(int(3 * DIRECT_PER_S))):
        machine.ask("p", [Want(cid, True)], 0.0)
        machine.receive("p", Message(cancels=(cid,)), 0.0)
        if n == FLOODS_AT_ONCE + 1:
            assert machine.passed == n + 2
    assert machine.passed == 2 * DIRECT_PER_S + 1


def test_a_slow_peer_does_not_fill_the_memory() -> None:
    machine = passing("p", "q", "slow")
    machine.ask("slow", [Want(A.cid, False)], 0.0)
    machine.wants.presences("q", [A.cid], [], 0.0)
    sent(machine)
    machine.ask("slow", [Want(block.cid, True) for block in BLOCKS], 0.0)
    assert len(sent(machine)["q"]) == AT_ONCE
    transit = Transit()
    machine.wants.in_hand = transit.waiting
    machine.wants.blocks("q", [A], 0.0)
    transit.put(A.cid.multihash, A.data, ["slow"])
    machine.wants.assign(0.0)
    assert AT_ONCE - 1 <= len(machine.wants._peers["q"].owes) <= AT_ONCE
    assert transit.drop("slow", [A.cid.multihash])
    assert transit.get(A.cid.multihash) is None
    machine.wants.assign(0.0)
    assert len(machine.wants._peers["q"].owes) == AT_ONCE


# Whole stores
