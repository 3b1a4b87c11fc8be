"""The two-admin rule, as entries: one test for each way around it that somebody may try."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec
import pytest

from meshconsole.core.errors import Refused
from meshconsole.team.ops import AdmitClient, Policy, Refuse, Remove, SetRole
from tests.team.histories import ROOT, Graph, add, consent, entry, epoch

if TYPE_CHECKING:
    from meshconsole.team.ops import AnyOp

ON = Policy(two_admins=True)
OFF = Policy(two_admins=False)


def ruled(*, root: bool = False) -> tuple[Graph, str]:
    """Three admins, a member and an observer; the rule is on."""
    graph = Graph.found(["a0", "a1", "a2"], [add("u1"), add("watch", "observer")], root=root)
    return graph, graph.write("a0", [graph.first], ON)


GIVES: list[tuple[AnyOp, ...]] = [
    (add("new"),),
    (add("pi", "relay"),),
    (add("boss", "admin"),),
    (AdmitClient("phone", "phone", "observer"),),
    (SetRole("u1", "admin"),),
    (SetRole("watch", "member"),),
    (Remove("u1"), add("new")),
    (OFF,),
    (Policy(plain_messages=True),),
    (Policy(rotate_days=31),),
    (Policy(require_authentication=True, rotate_days=31),),
]


@pytest.mark.parametrize("ops", GIVES, ids=lambda ops: "-".join(type(op).__name__ for op in ops))
def test_what_gives_rights_takes_two(ops: tuple[AnyOp, ...]) -> None:
    graph, on = ruled()
    with pytest.raises(Refused, match="second admin must agree"):
        graph.write("a0", [on], *ops)
    graph.agree("a1", "a0", [on], *ops)
    state = graph.roster.state
    assert state.counted == state.entries


@pytest.mark.parametrize(
    "ops",
    [
        (Remove("u1"),),
        (SetRole("a2", "member"),),
        (epoch(2),),
        (Policy(rotate_days=1, plain_messages=False, require_authentication=True),),
        (Refuse("0" * 64),),
        (ON,),
    ],
    ids=lambda ops: type(ops[0]).__name__,
)
def test_what_only_takes_rights_away_takes_one(ops: tuple[AnyOp, ...]) -> None:
    graph, on = ruled()
    graph.write("a0", [on], *ops)
    state = graph.roster.state
    assert state.counted == state.entries


def test_the_root_key_needs_nobody() -> None:
    graph, on = ruled(root=True)
    graph.write(ROOT, [on], add("new", "admin"))
    graph.write(ROOT, graph.roster.heads, OFF)
    graph.write("a1", graph.roster.heads, add("u2"))
    assert graph.roles()["new"] == "admin"
    assert graph.roles()["u2"] == "member"


def test_a_captured_admin_does_not_get_around_the_rule_by_back_dating() -> None:
    graph, _ = ruled()
    forged = graph.write("a0", [graph.first], add("ghost", "admin"))
    graph.write("ghost", [forged], add("friend"))
    graph.write("a1", [graph.first], add("other"), SetRole("u1", "admin"))
    assert graph.roles() == {"a0": "admin", "a1": "admin", "a2": "admin", "u1": "member", "watch": "observer"}


def test_nor_by_removing_whoever_switched_it_on() -> None:
    graph, on = ruled()
    gone = graph.write("a1", [graph.first], Remove("a0"))
    graph.write("a1", [gone], add("ghost", "admin"))
    knowing = graph.write("a1", [on], Remove("a0"))
    with pytest.raises(Refused, match="second admin"):
        graph.write("a1", [knowing], add("ghost", "admin"))
    assert graph.roster.state.rules.two_admins
    assert "ghost" not in graph.roles()


def test_nor_by_a_switching_off_that_one_back_dates() -> None:
    graph, on = ruled()
    with pytest.raises(Refused, match="off already"):
        graph.write("a1", [graph.first], OFF)
    with pytest.raises(Refused, match="off already"):
        graph.agree("a1", "a2", [graph.first], OFF)
    with pytest.raises(Refused, match="second admin"):
        graph.write("a1", [on], OFF)


def test_whoever_is_not_the_most_senior_admin_cannot_switch_it_on() -> None:
    graph = Graph.found(["a0", "a1"], root=True)
    with pytest.raises(Refused, match="Only a0"):
        graph.write("a1", [graph.first], ON)
    graph.write(ROOT, [graph.first], ON)
    assert graph.roster.state.rules.two_admins


def test_a_team_with_one_admin_or_one_person_cannot_switch_it_on() -> None:
    graph = Graph.found(["a0"], [add("u1")], root=True)
    for author in ("a0", ROOT):
        with pytest.raises(Refused, match="two people"):
            graph.write(author, [graph.first], ON)
    phone = graph.write("a0", [graph.first], add("phone", "admin", person="a0"))
    with pytest.raises(Refused, match="two people"):
        graph.write("a0", [phone], ON)


def test_two_devices_of_one_person_are_not_two_admins() -> None:
    graph = Graph.found(["a0", "a1"])
    laptop = graph.write("a0", [graph.first], add("laptop", "admin", person="a1"))
    tablet = graph.write("a0", [laptop], add("tablet", "admin", person="laptop"))
    on = graph.write("a0", [tablet], ON)
    for author, other in (("a1", "laptop"), ("tablet", "a1"), ("laptop", "tablet"), ("a1", "a1")):
        with pytest.raises(Refused, match="Another person"):
            graph.agree(author, other, [on], add("ghost"))
    graph.agree("tablet", "a0", [on], add("new"))
    assert graph.roles()["new"] == "member"


def test_a_device_that_stands_in_for_a_lost_one_is_the_same_persons() -> None:
    graph, on = ruled()
    lost = stand_in("a2", "a2-new")
    back = graph.agree("a0", "a1", [on], Remove("a2"), lost)
    twice = graph.agree("a0", "a1", [back], add("a2-more", "admin", person="a2"))
    with pytest.raises(Refused, match="Another person"):
        graph.agree("a2-new", "a2-more", [twice], add("ghost"))


def test_a_member_an_observer_or_a_removed_admin_is_no_second_admin() -> None:
    graph, on = ruled()
    removed = graph.write("a0", [on], Remove("a2"))
    for other in ("u1", "watch", "a2", "nobody", ROOT):
        with pytest.raises(Refused, match="not an admin"):
            graph.agree("a0", other, [removed], add("new"))


def test_a_second_admin_who_was_removed_meanwhile_agreed_to_nothing() -> None:
    for remover in ("a0", "a2"):  # more senior, or more junior, than a1
        graph, on = ruled()
        graph.write(remover, [on], Remove("a1"))
        graph.agree("a0" if remover == "a2" else "a2", "a1", [on], add("new", "admin"))
        assert "new" not in graph.roles()
        assert "a1" not in graph.roles()
        assert not any(clean for _, clean in graph.roster.epochs_to_write())  # it may have got the key


def test_what_two_agreed_on_before_one_was_removed_stays() -> None:
    graph, on = ruled()
    agreed = graph.agree("a1", "a2", [on], add("new"))
    graph.write("a0", [agreed], Remove("a2"))
    assert graph.roles()["new"] == "member"


def test_an_admission_that_did_not_know_of_the_rule_is_void_and_can_be_made_again() -> None:
    graph, on = ruled()
    graph.write("a1", [graph.first], add("new"))
    assert "new" not in graph.roles()
    graph.agree("a1", "a2", graph.roster.heads, add("new"))
    assert graph.roles()["new"] == "member"
    del on


def test_a_removal_that_did_not_know_of_the_rule_stands_with_what_it_gave_void() -> None:
    graph, _ = ruled()
    graph.write("a1", [graph.first], Remove("u1"), add("new"))
    assert "u1" not in graph.roles()
    assert "new" not in graph.roles()


def test_what_was_there_before_the_rule_stays() -> None:
    graph = Graph.found(["a0", "a1"])
    before = graph.write("a1", [graph.first], add("new", "admin"))
    graph.write("a0", [before], ON)
    assert graph.roles()["new"] == "admin"


def test_after_two_switched_it_off_one_is_enough_until_it_is_on_again() -> None:
    graph, on = ruled()
    off = graph.agree("a1", "a2", [on], OFF)
    graph.write("a1", [off], add("new"))
    assert graph.roles()["new"] == "member"
    graph.write("a0", [off], ON)  # beside the admission
    assert "new" not in graph.roles()


def test_a_switching_off_falls_with_either_who_agreed_and_what_rests_on_it_too() -> None:
    graph, on = ruled()
    off = graph.agree("a1", "a2", [on], OFF)
    graph.write("a1", [off], add("new"))
    graph.write("a0", [on], Remove("a2"))
    assert graph.roster.state.rules.two_admins
    assert "new" not in graph.roles()


def test_a_removed_admin_cannot_void_admissions_by_back_dating_the_rule() -> None:
    graph = Graph.found(["a0", "a1"])
    joined = graph.write("a0", [graph.first], add("new"))
    graph.write("a0", [joined], Remove("a1"))
    with pytest.raises(Refused, match="Only a0"):
        graph.write("a1", [graph.first], ON)


def test_a_proposal_is_carried_out_once() -> None:
    graph, on = ruled()
    phone: AnyOp = AdmitClient("phone", "phone", "member")
    told = consent("a0", 1, phone)
    done = graph.agree("a1", "a0", [on], phone, told=told)
    out = entry("a2", [done], Remove("phone"))  # a client's removal turns no key
    graph.roster.add(out)
    with pytest.raises(Refused, match="carried out already"):
        graph.agree("a1", "a0", [out.id], phone, told=told)
    graph.agree("a1", "a0", [on], phone, told=told)  # beside the removal, which holds
    graph.agree("a2", "a0", [on], phone, told=told)
    assert "phone" not in graph.roles()


def test_a_proposal_ends_with_the_epoch() -> None:
    graph, on = ruled()
    told = consent("a0", 1, add("new"))
    turned = graph.write("a2", [on], epoch(2))
    with pytest.raises(Refused, match="key was turned"):
        graph.agree("a1", "a0", [turned], add("new"), told=told)
    with pytest.raises(Refused, match="key was turned"):
        graph.agree("a1", "a0", [turned], add("new"), told=consent("a0", 3, add("new")))


def test_a_refused_proposal_is_void_however_it_is_dated() -> None:
    graph, on = ruled()
    told = consent("a0", 1, add("ghost", "admin"))
    refused = graph.write("a2", [on], Refuse(told.proposal))
    with pytest.raises(Refused, match="refused"):
        graph.agree("a1", "a0", [refused], add("ghost", "admin"), told=told)
    with pytest.raises(Refused, match="both refuse"):
        graph.agree("a1", "a0", [on], add("ghost", "admin"), Refuse(told.proposal), told=told)
    graph.agree("a1", "a0", [on], add("ghost", "admin"), told=told)
    assert "ghost" not in graph.roles()
    assert graph.roster.is_closed(told.proposal)
    assert not graph.roster.is_carried_out(told.proposal)


def test_what_was_carried_out_stays_when_it_is_closed_afterwards() -> None:
    graph, on = ruled()
    told = consent("a0", 1, add("new"))
    done = graph.agree("a1", "a0", [on], add("new"), told=told)
    graph.write("a2", [done], Refuse(told.proposal))
    assert graph.roles()["new"] == "member"


def test_a_removed_admin_closes_nothing_any_more() -> None:
    graph, on = ruled()
    told = consent("a0", 1, add("new"))
    agreed = graph.agree("a1", "a0", [on], add("new"), told=told)
    graph.write("a0", [agreed], Remove("a2"))
    graph.write("a2", [on], Refuse(told.proposal))
    assert graph.roles()["new"] == "member"


@pytest.mark.parametrize(
    ("said", "ops"),
    [
        ("by itself", (Policy(two_admins=True, rotate_days=1),)),
        ("by itself", (ON, epoch(2))),
        ("refuses each", (Refuse("0" * 64), Refuse("0" * 64))),
        ("same person was never", (add("new", person="nobody"),)),
        ("same person was never", (add("new", person="new"),)),
    ],
)
def test_malformed_acts_are_refused(said: str, ops: tuple[AnyOp, ...]) -> None:
    graph = Graph.found(["a0", "a1"])
    with pytest.raises(Refused, match=said):
        graph.write("a0", [graph.first], *ops)


def test_nobody_agrees_to_what_needs_no_agreement_or_to_the_end_of_the_own_role() -> None:
    graph, on = ruled()
    with pytest.raises(Refused, match="Nobody needs to agree"):
        graph.agree("a0", "a1", [on], Policy(rotate_days=1))
    with pytest.raises(Refused, match="role of the admin who agreed"):
        graph.agree("a0", "a1", [on], Remove("a1"), add("new"))


@pytest.mark.parametrize("captured", ["a0", "a1", "a2"])
def test_one_captured_admin_lets_nobody_in_whatever_it_writes(captured: str) -> None:
    """Any entries at any place, with the consents that the others gave for other things."""
    for seed in range(60):
        check_one_captured_admin(captured, random.Random(seed))


def check_one_captured_admin(captured: str, dice: random.Random) -> None:
    graph, on = ruled()
    honest = [npub for npub in ("a0", "a1", "a2") if npub != captured]
    told = [consent(honest[0], 1, add("u2"))]
    known = [graph.first, on, graph.agree(honest[0], honest[1], [on], add("u3"))]
    everybody = ["a0", "a1", "a2", "u1", "u2", "u3", "watch", "ghost", "ghost2"]
    for step in range(14):
        author = dice.choice((captured, captured, "ghost", "ghost2", "u1"))
        parents = dice.sample(known, dice.choice((1, 1, 2)))
        target = dice.choice(everybody)
        role = dice.choice(("admin", "member"))
        choices: tuple[AnyOp, ...] = (
            add(dice.choice(("ghost", "ghost2")), role),
            SetRole(target, "admin"),
            Remove(target),
            ON,
            OFF,
        )
        ops = (dice.choice(choices),)
        try:
            if dice.random() < 0.3:
                other = dice.choice(everybody)
                approval = dice.choice([*told, consent(captured, 1, *ops), consent(other, 1, *ops)])
                if approval.npub in honest and approval not in told:
                    continue  # no signature of theirs
                if approval in told:
                    ops = (add("u2"),)
                known.append(graph.agree(author, "", parents, *ops, told=approval))
            else:
                known.append(graph.write(author, parents, *ops, salt=step))
        except Refused:
            continue
    roles = graph.roles()
    assert not {"ghost", "ghost2"} & roles.keys()
    assert "admin" not in {roles.get(npub) for npub in ("u1", "u2", "u3", "watch")}
    assert graph.roster.state.rules.two_admins


def stand_in(lost: str, new: str) -> AnyOp:

    return msgspec.structs.replace(add(new, "admin"), replaces=lost)
