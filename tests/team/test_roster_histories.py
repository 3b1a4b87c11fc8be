"""Random partition histories: whatever happens, the laws of `resolution.py` hold."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from meshconsole.team.ops import CLIENTS, MAX_PARENTS
from meshconsole.team.resolution import resolve
from tests.team.histories import ROOT, RandomHistory, answer, entry, epoch, roles, shuffled
from tests.team.reference import Reference

if TYPE_CHECKING:
    from meshconsole.team.facts import Fact, Facts, State
    from meshconsole.team.roster import Roster

SEEDS = 1500
BATCH = 100


@pytest.mark.parametrize("start", range(0, SEEDS, BATCH))
def test_laws_hold_in_random_histories(start: int) -> None:
    for seed in range(start, start + BATCH):
        check_history(seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(SEEDS, 10_000, 500))
def test_laws_hold_in_many_more_histories(start: int) -> None:
    for seed in range(start, start + 500):
        check_history(seed)


@pytest.mark.parametrize("start", range(0, 120, 20))
def test_fast_resolution_equals_the_laws_written_down(start: int) -> None:
    for seed in range(start, start + 20):
        check_against_reference(seed, steps=14)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 3000, 250))
def test_fast_resolution_equals_the_laws_in_longer_histories(start: int) -> None:
    for seed in range(start, start + 250):
        check_against_reference(seed, steps=24)


def test_histories_contain_what_they_are_meant_to_test() -> None:
    """Otherwise the properties above would hold emptily."""
    void = doubted = refused = rotations_due = without_admin = 0
    for seed in range(200):
        history = RandomHistory(seed, root=seed % 2 == 0)
        roster = history.run()
        state = roster.state
        void += (state.entries & ~state.live).bit_count()
        doubted += (state.live & ~state.counted).bit_count()
        refused += history.refused
        rotations_due += not any(clean for _, clean in roster.epochs_to_write())
        without_admin += "admin" not in roles(state).values()
    assert void > 200
    assert doubted > 40
    assert refused > 100
    assert rotations_due > 100
    assert without_admin < 20


def test_histories_of_two_admins_contain_what_they_are_meant_to_test() -> None:
    alone = void = agreed = undone = on = off = closed = 0
    for seed in range(150):
        roster = RandomHistory(seed, root=seed % 2 == 0, two=True).run()
        facts, state = roster._facts, roster.state
        both = [fact for fact in facts.all if fact.second is not None]
        alone += (facts.alone & state.counted).bit_count()
        void += (facts.alone & state.live & ~state.counted).bit_count()
        agreed += sum(bool(fact.bit & state.counted) for fact in both)
        undone += sum(bool(fact.bit & state.live & ~state.counted) for fact in both)
        on += (facts.switched_on & state.live).bit_count()
        off += (facts.switched_off & state.counted).bit_count()
        closed += sum(p in facts.closing for p in facts.by_proposal)
    assert min(alone, void, agreed, undone, on, off, closed) > 20, (
        alone,
        void,
        agreed,
        undone,
        on,
        off,
        closed,
    )


def check_history(seed: int) -> None:
    history = RandomHistory(seed, root=seed % 3 == 0, two=seed % 2 == 1)
    roster = history.run()
    dice = random.Random(seed)
    expected = answer(roster)
    for _ in range(2):
        assert answer(shuffled(history.entries, dice)) == expected, f"order matters, seed {seed}"
    facts, state = roster._facts, roster.state
    for fact in facts.all:
        check_statements(facts, state, fact, seed)
    check_admins(roster, seed)
    check_agreement(roster, seed)
    check_epochs(roster, seed)
    check_chains_resolve_as_whole_sets(roster, seed)
    check_one_more_epoch_heals(roster, seed)


def check_statements(facts: Facts, state: State, fact: Fact, seed: int) -> None:
    if not fact.bit & state.live:
        return
    for statement in fact.statements:
        if not statement.withdraws:
            continue
        target = statement.standing.npub
        for other in facts.of(facts.by_author.get(target, 0) & state.counted):
            if other.bit & (fact.past | 1):
                continue
            supports = facts.of(other.backing.supports & state.counted)
            readmitted = any(fact.bit & support.past for support in supports)
            assert readmitted, f"a removed admin's entry counts, seed {seed}"
        if statement.kind == "remove" and state.role_of(target) not in (None, "removed"):
            readmissions = [
                f
                for f in facts.of(state.counted)
                if fact.bit & f.past
                for s in f.statements
                if s.kind == "add" and s.standing.npub == target
            ]
            assert readmissions, f"a standing removal has no effect, seed {seed}"


def check_admins(roster: Roster, seed: int) -> None:
    state, facts = roster.state, roster._facts
    for npub, standing in state.members.items():
        if standing.role == "admin":
            sponsors = list(facts.of(standing.supports & state.counted))
            assert sponsors, f"{npub} is admin without a standing admission, seed {seed}"
            assert standing.rank is not None
            assert all(sponsor.bit == 1 or sponsor.rank < standing.rank for sponsor in sponsors)
    for fact in facts.of(state.counted):
        if fact.author != ROOT and fact.bit != 1:
            assert fact.backing.supports & state.counted, f"an entry counts without a sponsor, seed {seed}"


def check_agreement(roster: Roster, seed: int) -> None:
    """Nothing that gives rights counts on one admin's word while the rule holds."""
    state, facts = roster.state, roster._facts
    for fact in facts.of(state.counted & facts.alone):
        for switch in facts.of(state.live & facts.switched_on):
            if fact.bit & switch.past:
                continue
            assert facts.allowed_again(fact, switch, facts.switched_off & state.counted), f"seed {seed}"
    for fact in facts.of(state.counted):
        if fact.second is not None:
            assert fact.second.supports & state.counted, f"a second admin without a sponsor, seed {seed}"
            assert fact.second.npub != fact.author


def check_epochs(roster: Roster, seed: int) -> None:
    """Nobody who may not read holds the key of a clean epoch."""
    state = roster.state
    readers = state.readers()
    for record, clean in roster.epochs_to_write():
        if clean:
            assert record.holders <= readers, f"seed {seed}"
            later = [f for f in roster._facts.of(state.entries) if record.bit & f.past]
            let_in = {s.standing.npub for f in later for s in f.statements if s.kind in ("add", "raise")}
            for npub in let_in - readers:
                roles_given = {
                    s.standing.role
                    for f in later
                    for s in f.statements
                    if s.standing.npub == npub and not s.withdraws
                }
                assert roles_given <= {"relay"} | CLIENTS, f"{npub} came and went unnoticed, seed {seed}"


def check_one_more_epoch_heals(roster: Roster, seed: int) -> None:
    """An admin who has heard of everything makes an epoch that all may use."""
    state = roster.state
    admins = [s for s in state.members.values() if s.role == "admin"]
    if not admins or len(roster.heads) == MAX_PARENTS:
        return
    author = min(admins, key=lambda standing: standing.rank or ()).npub
    n = 1 + max(record.n for record in state.epochs)
    roster.add(entry(author, roster.heads, epoch(n, seed)))
    best, clean = roster.epochs_to_write()[0]
    assert clean, f"seed {seed}"
    assert best.n == n
    assert best.holders == roster.state.readers()


def check_chains_resolve_as_whole_sets(roster: Roster, seed: int) -> None:
    """The short cut for an entry that knows all others gives what the whole set gives."""
    for fact in roster._facts.all:
        quick = roster.view((fact.id,))
        whole = resolve(roster._facts, fact.past | fact.bit)
        assert quick == whole, f"the short cut differs, seed {seed}"


def check_against_reference(seed: int, steps: int) -> None:
    history = RandomHistory(seed, root=seed % 3 == 0, steps=steps, two=seed % 2 == 1)
    roster = history.run()
    laws = Reference(
        history.entries,
        ROOT if history.root else None,
        lambda entry: roster.view(history.entries[entry].parents).rules,
    )
    world = laws.world(frozenset(history.entries))
    facts, state = roster._facts, roster.state
    assert {f.id for f in facts.of(state.live)} == {e for e in history.entries if world.is_live(e)}, seed
    assert {f.id for f in facts.of(state.counted)} == {e for e in history.entries if world.counts(e)}, seed
    assert {npub: s.role for npub, s in state.members.items()} == world.roles(), seed
    assert bool(state.rules.two_admins) == world.two_admins(), seed
