"""Named quarrels and attacks, one test each. Random histories alone have missed some of these."""

from __future__ import annotations

import pytest

from meshconsole.team.ops import Policy, Remove, SetRole
from tests.team.histories import ROOT, Graph, add, epoch

BOB = "bob"
MALLORY = "mallory"


def test_a_back_dated_protege_of_a_removed_admin_is_not_admitted() -> None:
    graph = Graph.found(["a0"])
    joined = graph.write("a0", [graph.first], add(BOB, "admin"))
    graph.write("a0", [joined], Remove(npub=BOB))
    forged = graph.write(BOB, [joined], add(MALLORY, "admin"))
    graph.write(MALLORY, [forged], Remove(npub="a0"))
    assert graph.roles() == {"a0": "admin"}


def test_a_long_chain_of_proteges_falls_with_its_first_sponsor() -> None:
    graph = Graph.found(["a0"])
    joined = graph.write("a0", [graph.first], add(BOB, "admin"))
    graph.write("a0", [joined], Remove(npub=BOB))
    sponsor, at = BOB, joined
    for k in range(5):
        at = graph.write(sponsor, [at], add(f"p{k}", "admin"))
        sponsor = f"p{k}"
    graph.write(sponsor, [at], Remove(npub="a0"), add("friend"))
    assert graph.roles() == {"a0": "admin"}


def test_a_back_dated_protege_of_a_senior_whom_a_junior_removed_is_not_admitted() -> None:
    graph = Graph.found(["a0", "a1"])
    graph.write("a1", [graph.first], Remove(npub="a0"))
    forged = graph.write("a0", [graph.first], add(MALLORY, "admin"), add("friend"))
    graph.write(MALLORY, [forged], Remove(npub="a1"))
    assert graph.roles() == {"a1": "admin"}


def test_of_two_admins_who_remove_each_other_the_senior_stays() -> None:
    graph = Graph.found(["a0", "a1", "a2"])
    graph.write("a1", [graph.first], Remove(npub="a0"))
    graph.write("a0", [graph.first], Remove(npub="a1"))
    assert graph.roles() == {"a0": "admin", "a2": "admin"}


def test_mutual_removal_among_later_admins_goes_by_causal_depth() -> None:
    graph = Graph.found(["a0"])
    early = graph.write("a0", [graph.first], add("early", "admin"))
    late = graph.write("a0", [early], add("late", "admin"))
    graph.write("late", [late], Remove(npub="early"))
    graph.write("early", [late], Remove(npub="late"))
    assert graph.roles() == {"a0": "admin", "early": "admin"}


def test_a_captured_senior_admin_is_undone_by_the_root_key() -> None:
    graph = Graph.found(["a0", "a1", "a2"], root=True)
    graph.write("a0", [graph.first], Remove(npub="a1"), Remove(npub="a2"), add(MALLORY, "admin"))
    graph.write(ROOT, [graph.first], Remove(npub="a0"))
    assert graph.roles() == {"a1": "admin", "a2": "admin"}


def test_the_root_key_can_disown_what_it_has_already_heard_of() -> None:
    graph = Graph.found(["a0", "a1"], root=True)
    good = graph.write("a0", [graph.first], add("u1"))
    bad = graph.write("a0", [good], Remove(npub="a1"), add(MALLORY, "admin"))
    graph.write(MALLORY, [bad], add("friend"))
    parents = graph.roster.heads_without([bad])
    graph.write(ROOT, parents, Remove(npub="a0"))
    assert parents == (good,)
    assert graph.roles() == {"a1": "admin", "u1": "member"}


def test_nobody_removes_the_root_key_not_even_when_admins_agree() -> None:
    graph = Graph.found(["a0", "a1"], root=True)
    graph.write(ROOT, [graph.first], Remove(npub="a0"), Remove(npub="a1"), add("new", "admin"))
    assert graph.roles() == {"new": "admin"}
    assert graph.roster.state.role_of(ROOT) == "root"


def test_ghost_readmission_in_another_partition_does_not_undo_a_removal() -> None:
    graph = Graph.found(["a0", "a1"], [add("u1")])
    graph.write("a0", [graph.first], Remove(npub="u1"))
    removed = graph.write("a1", [graph.first], Remove(npub="u1"))
    graph.write("a1", [removed], add("u1", "admin"))
    assert graph.roles() == {"a0": "admin", "a1": "admin"}


def test_readmission_that_knows_of_every_removal_holds() -> None:
    graph = Graph.found(["a0", "a1"], [add("u1")])
    one = graph.write("a0", [graph.first], Remove(npub="u1"))
    other = graph.write("a1", [graph.first], Remove(npub="u1"))
    graph.write("a1", [one, other], add("u1"))
    assert graph.roles()["u1"] == "member"


def test_of_concurrent_readmissions_the_lower_role_holds() -> None:
    graph = Graph.found(["a0", "a1"], [add("u1", "admin")])
    removed = graph.write("a0", [graph.first], Remove(npub="u1"))
    graph.write("a0", [removed], add("u1", "admin"))
    graph.write("a1", [removed], add("u1", "observer"))
    assert graph.roles()["u1"] == "observer"


def test_a_readmitted_admin_acts_again_but_the_old_back_dated_entries_stay_void() -> None:
    graph = Graph.found(["a0", "a1"], [add(BOB, "admin")])
    removed = graph.write("a0", [graph.first], Remove(npub=BOB))
    forged = graph.write(BOB, [graph.first], add(MALLORY, "admin"))
    back = graph.write("a0", [removed, forged], add(BOB, "admin"))
    graph.write(BOB, [back], add("u1"))
    assert graph.roles() == {"a0": "admin", "a1": "admin", BOB: "admin", "u1": "member"}


def test_a_readmitted_founder_has_lost_the_old_seniority() -> None:
    graph = Graph.found(["a0", "a1"])
    removed = graph.write("a1", [graph.first], Remove(npub="a0"))
    back = graph.write("a1", [removed], add("a0", "admin"))
    graph.write("a0", [back], Remove(npub="a1"))
    graph.write("a1", [back], Remove(npub="a0"))
    assert graph.roles() == {"a1": "admin"}


def test_a_readmission_after_a_void_removal_costs_nothing() -> None:
    graph = Graph.found(["a0", "a1", "a2"])
    void = graph.write("a2", [graph.first], Remove(npub="a0"))
    moot = graph.write("a1", [void], add("a0", "observer"))
    graph.write("a0", [graph.first], Remove(npub="a2"))
    assert graph.roles() == {"a0": "admin", "a1": "admin"}
    merged = graph.roster.heads
    assert moot in merged
    graph.write("a0", merged, Remove(npub="a1"))
    graph.write("a1", merged, Remove(npub="a0"))
    assert graph.roles() == {"a0": "admin"}


def test_whom_a_removed_senior_removed_stays_out() -> None:
    graph = Graph.found(["a0", "a1"], [add("u1")])
    graph.write("a1", [graph.first], Remove(npub="a0"))
    graph.write("a0", [graph.first], Remove(npub="u1"))
    assert graph.roles() == {"a1": "admin"}


def test_what_an_admin_did_before_the_removal_stays() -> None:
    graph = Graph.found(["a0"], [add(BOB, "admin")])
    before = graph.write(BOB, [graph.first], add("u1"))
    graph.write("a0", [before], Remove(npub=BOB))
    assert graph.roles() == {"a0": "admin", "u1": "member"}


def test_demotion_is_as_strong_as_removal() -> None:
    graph = Graph.found(["a0"], [add(BOB, "admin")])
    graph.write("a0", [graph.first], SetRole(npub=BOB, role="member"))
    forged = graph.write(BOB, [graph.first], add(MALLORY, "admin"))
    graph.write(MALLORY, [forged], Remove(npub="a0"))
    assert graph.roles() == {"a0": "admin", BOB: "member"}


def test_a_demotion_by_a_removed_admin_lets_nobody_in() -> None:
    graph = Graph.found(["a0"], [add(BOB, "admin")])
    graph.write("a0", [graph.first], Remove(npub=BOB))
    forged = graph.write(BOB, [graph.first], add(MALLORY, "admin"))
    graph.write(BOB, [forged], SetRole(npub=MALLORY, role="member"))
    assert graph.roles() == {"a0": "admin"}


def test_three_who_remove_each_other_in_turn_and_the_senior_answers() -> None:
    graph = Graph.found(["a0", "a1", "a2"])
    first = graph.write("a2", [graph.first], Remove(npub="a1"))
    graph.write("a0", [first], Remove(npub="a2"))
    third = graph.write("a1", [graph.first], Remove(npub="a0"))
    assert graph.roles() == {}
    graph.write("a0", graph.roster.heads_without([third]), Remove(npub="a1"))
    assert graph.roles() == {"a0": "admin"}


def test_a_removal_by_someone_removed_before_does_not_count() -> None:
    graph = Graph.found(["a0"], [add(BOB, "admin"), add("u1")])
    graph.write("a0", [graph.first], Remove(npub=BOB))
    graph.write(BOB, [graph.first], Remove(npub="u1"))
    assert graph.roles() == {"a0": "admin", "u1": "member"}


@pytest.mark.parametrize(("seniors", "juniors"), [("x", "y"), ("y", "x")])
def test_concurrent_epochs_are_both_kept_and_all_write_under_the_seniors(seniors: str, juniors: str) -> None:
    graph = Graph.found(["a0", "a1"])
    graph.write("a1", [graph.first], epoch(2, juniors))
    graph.write("a0", [graph.first], epoch(2, seniors))
    choice = graph.roster.epochs_to_write()
    assert [record.n for record, _ in choice] == [2, 2, 1]
    assert all(clean for _, clean in choice)
    assert choice[0][0].commit == epoch(2, seniors).commit
    assert len({record.kid for record in graph.roster.epochs()}) == 3


def test_an_epoch_made_without_knowing_of_a_demotion_is_not_clean() -> None:
    graph = Graph.found(["a0", "a1"], [add("u1")])
    graph.write("a1", [graph.first], SetRole(npub="u1", role="observer"))
    graph.write("a0", [graph.first], epoch(2, "a0"))
    best, clean = graph.roster.epochs_to_write()[0]
    assert clean
    assert best.commit != epoch(2, "a0").commit
    assert not graph.roster.could_write("u1", best)


def test_a_demotion_by_a_removed_senior_makes_the_juniors_epoch_unclean() -> None:
    graph = Graph.found(["a0", "a1"], [add("u1")])
    graph.write("a1", [graph.first], Remove(npub="a0"))
    graph.write("a0", [graph.first], SetRole(npub="u1", role="observer"))
    assert graph.roles() == {"a1": "admin", "u1": "observer"}
    assert not any(clean for _, clean in graph.roster.epochs_to_write())


def test_after_concurrent_removals_no_epoch_is_clean_until_an_admin_merges() -> None:
    graph = Graph.found(["a0", "a1"], [add("u1"), add("u2")])
    graph.write("a0", [graph.first], Remove(npub="u1"))
    graph.write("a1", [graph.first], Remove(npub="u2"))
    assert not any(clean for _, clean in graph.roster.epochs_to_write())
    graph.write("a1", graph.roster.heads, epoch(3))
    best, clean = graph.roster.epochs_to_write()[0]
    assert (best.n, clean) == (3, True)
    assert best.holders == {"a0", "a1"}


def test_an_epoch_that_a_removed_admin_made_meanwhile_is_never_written_under() -> None:
    graph = Graph.found(["a0"], [add(BOB, "admin")])
    graph.write("a0", [graph.first], Remove(npub=BOB))
    at = graph.write(BOB, [graph.first], epoch(2, "bob"))
    graph.write(BOB, [at], epoch(3, "bob"))
    best, clean = graph.roster.epochs_to_write()[0]
    assert clean
    assert best.holders == {"a0"}
    assert len(graph.roster.epochs()) == 4  # what was sealed under them stays readable


def test_a_newcomer_admitted_elsewhere_during_a_removal_still_needs_the_new_key() -> None:
    graph = Graph.found(["a0", "a1"], [add("u1")])
    graph.write("a0", [graph.first], Remove(npub="u1"))
    graph.write("a1", [graph.first], add("u2"))
    (best, clean), *_ = graph.roster.epochs_to_write()
    assert (best.n, clean) == (2, True)
    assert "u2" not in best.holders
    assert graph.roles()["u2"] == "member"


def test_of_concurrent_policies_the_more_cautious_holds() -> None:
    graph = Graph.found(["a0", "a1"])
    graph.write("a0", [graph.first], Policy(history="full", rotate_days=10))
    graph.write("a1", [graph.first], Policy(history="joining", rotate_days=20))
    rules = graph.roster.state.rules
    assert (rules.history, rules.rotate_days) == ("joining", 10)
    graph.write("a1", graph.roster.heads, Policy(history="full"))
    assert graph.roster.state.rules.history == "full"


def test_a_policy_of_a_removed_admin_does_not_count() -> None:
    graph = Graph.found(["a0"], [add(BOB, "admin")])
    graph.write("a0", [graph.first], Policy(history="joining"), Remove(npub=BOB))
    graph.write(BOB, [graph.first], Policy(rotate_days=3650))
    assert graph.roster.state.rules.rotate_days == 30


def test_seniority_does_not_come_from_back_dated_admission() -> None:
    """Bob makes his friend look early; the friend is still junior to whom Bob was junior to."""
    graph = Graph.found(["a0"])
    joined = graph.write("a0", [graph.first], add(BOB, "admin"))
    later = graph.write("a0", [joined], add("late", "admin"))
    friend = graph.write(BOB, [joined], add("friend", "admin"))
    graph.write("friend", [friend, later], Remove(npub="a0"))
    graph.write("a0", [friend, later], Remove(npub="friend"))
    assert graph.roles() == {"a0": "admin", BOB: "admin", "late": "admin"}
