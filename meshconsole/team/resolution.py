"""How a set of roster entries becomes one answer to "who belongs?". Pure.

The answer depends on the set alone: not on the order of arrival, not on any clock. Partitions are
the normal case, so two admins may act without knowing of each other. The laws:

1.  Authority. An entry counts only if its author governs (root key or admin) in the state of the
    entry's own past. That judgement is final: it looks at nothing but the past. (`roster.py`)
2.  Seniority. The root key, then the admins of the genesis in their order, then every other admin
    by the causal depth of the entry that made it one. Decisions are taken in this order, so that
    each one rests only on decisions about more senior authors.
3.  Strong removal. A removal (or demotion) by a more senior author voids every entry of its target
    that lies outside the removal's past, unless the target was admitted again in between.
    Back-dated parents therefore gain nothing.
4.  A removal by a more junior author stands as well, but it cannot void removals: of two admins who
    remove each other the senior one stays, and whom a removed senior had removed stays out.
    What that senior granted outside the removal's past (members, roles, epochs, policies) is void.
5.  An entry whose author owes his role only to void entries is void (the protege falls with the
    sponsor).
6.  Caution. Of concurrent statements about one device the lowest role holds, and a removal holds
    until an admission that knows of it.
7.  A second admission is moot while the removal it answers is void: it neither lowers a role nor
    costs seniority.
8.  Two admins. Where the rule `two_admins` was switched on, what gives rights on one admin's word is
    void, unless the switching-on knows of it, or it knows of a switching-off that stands and knows of
    the switching-on. So is what two agreed on once one of the two was removed without knowing of it,
    and what was agreed on in a proposal that was closed without knowing of it. Withdrawals in such
    entries stand. A switching-on stands like a removal: only somebody more senior than its author
    can void it; it takes the most senior admin, or the root key (`agreement.py`).

A senior admin whom a junior has removed can answer with a removal that does not build on the junior's.

What each entry says, as its author saw it, is in `facts.py`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from meshconsole.team.facts import GENESIS, ROOT_RANK, State
from meshconsole.team.ops import CLIENTS, LEVEL
from meshconsole.team.rules import CAUTIOUS, Rules, overlay, values_of

if TYPE_CHECKING:
    from meshconsole.team.facts import Backing, EpochRecord, Fact, Facts, Standing, StandingRole, Statement

T = TypeVar("T")


def resolve(facts: Facts, entries: int) -> State:
    """The state of a set of entries that holds the past of each of its members."""
    return _Decision(facts, entries).state()


def advance(state: State, fact: Fact) -> State:
    """`resolve` for a state and one more entry whose past is exactly that state's entries.

    Nothing is concurrent with that entry, so nothing already decided can change.
    """
    members = dict(state.members)
    for statement in fact.statements:
        members[statement.standing.npub] = statement.standing
    return State(
        entries=state.entries | fact.bit,
        live=state.live | fact.bit,
        counted=state.counted | fact.bit,
        members=MappingProxyType(members),
        epochs=(*state.epochs, fact.epoch) if fact.epoch else state.epochs,
        rules=overlay(state.rules, fact.policy),
        root=state.root,
    )


class _Decision:
    """One pass over a set of entries, the most senior authors first."""

    def __init__(self, facts: Facts, entries: int) -> None:
        self.facts = facts
        self.entries = entries
        self.live = 0
        self.counted = 0

    def state(self) -> State:
        doubted = self._decide_removals()
        self._decide_grants(doubted)
        return State(
            entries=self.entries,
            live=self.live,
            counted=self.counted,
            members=MappingProxyType(self._members()),
            epochs=_epochs(self.facts, self.counted),
            rules=_rules(self.facts, self.counted | self.live & self.facts.switched_on),
            root=self.facts.root,
        )

    def _decide_removals(self) -> int:
        """Fills `live`; returns the entries whose grants are void although their removals stand."""
        facts, void, doubted = self.facts, 0, 0
        for _, _, _, fact in facts.by_rank:
            if not fact.bit & self.entries & ~void:
                continue
            if not self._supported(fact, self.live & ~doubted):
                continue
            self.live |= fact.bit
            doubted |= self._doubted_by_agreement(fact)
            for statement in fact.statements:
                if not statement.withdraws:
                    continue
                outside = self.entries & ~fact.past & ~fact.after
                struck = facts.by_author.get(statement.standing.npub, 0) & outside
                # Of these, the ones already decided are more senior: they stay live (law 4).
                void |= struck
                doubted |= struck | facts.by_second.get(statement.standing.npub, 0) & outside
        return doubted

    def _doubted_by_agreement(self, fact: Fact) -> int:
        """Law 8: the entries whose grants are void because this one is live."""
        facts, doubted = self.facts, 0
        for proposal in fact.closes:
            doubted |= facts.by_proposal.get(proposal, 0) & self.entries & ~fact.past
        if fact.bit & facts.switched_on:
            for alone in facts.of(facts.alone & self.entries & ~fact.past):
                if not facts.allowed_again(alone, fact, facts.switched_off):
                    doubted |= alone.bit
        return doubted

    def _decide_grants(self, doubted: int) -> None:
        for fact in self.facts.of(self.live & ~doubted):
            if self._supported(fact, self.counted) and self._agreed(fact):
                self.counted |= fact.bit

    def _supported(self, fact: Fact, standing: int) -> bool:
        return fact.bit == GENESIS or fact.rank == ROOT_RANK or self._backed(fact.backing, standing)

    def _agreed(self, fact: Fact) -> bool:
        """Law 8, with everything that is more senior or earlier decided."""
        if fact.second is not None:
            return self._backed(fact.second, self.counted)
        offs = self.facts.switched_off & self.counted
        return not fact.alone or all(
            self.facts.allowed_again(fact, switch, offs)
            for switch in self.facts.of(self.facts.switched_on & self.live & fact.past)
        )

    def _backed(self, backing: Backing, standing: int) -> bool:
        """Whether an admin owes the role to a standing entry that no withdrawal undid."""
        supports = backing.supports & standing
        if not supports:
            return False
        # A withdrawal may have been void in the author's own view and stand in the wider one.
        return all(
            any(withdrawal.bit & support.past for support in self.facts.of(supports))
            for withdrawal in self.facts.of(backing.against & self.live)
        )

    def _members(self) -> dict[str, Standing]:
        said: dict[str, list[tuple[Fact, Statement]]] = {}
        removals: dict[str, int] = {}
        for fact in self.facts.of(self.live):
            for statement in fact.statements:
                npub = statement.standing.npub
                if statement.kind == "remove":
                    removals[npub] = removals.get(npub, 0) | fact.bit
                elif statement.kind == "lower" or fact.bit & self.counted:
                    said.setdefault(npub, []).append((fact, statement))
        members: dict[str, Standing] = {}
        for npub, statements in said.items():
            removed = removals.get(npub, 0)
            kept = _without_moot(statements, removed)
            if all(statement.withdraws for _, statement in kept):
                continue  # never admitted by anything that stands
            standing = _most_cautious(_last([(fact, (fact, s.standing)) for fact, s in kept]))
            if not _belongs(kept, removed):
                standing = _without_role(standing, "removed")
            members[npub] = standing
        return members


def _without_moot(said: list[tuple[Fact, Statement]], removed: int) -> list[tuple[Fact, Statement]]:
    """Law 7. Leaves out admissions of a device that, by what stands, belonged already."""
    if len(said) == 1:
        return said
    kept: list[tuple[Fact, Statement]] = []
    for fact, statement in sorted(said, key=lambda item: item[0].bit):
        known = [(f, s) for f, s in kept if f.bit & fact.past]
        if statement.kind == "add" and _belongs(known, removed & fact.past):
            continue
        kept.append((fact, statement))
    return kept


def _belongs(said: list[tuple[Fact, Statement]], removed: int) -> bool:
    """Whether a device was given a role and each removal is known to a later admission."""
    for fact, statement in said:
        if statement.kind == "add":
            removed &= ~fact.past
    return not removed and any(not statement.withdraws for _, statement in said)


def _most_cautious(last: list[tuple[Fact, Standing]]) -> Standing:
    """Law 6 among the statements that no other one knows of."""
    if len(last) == 1:
        return last[0][1]
    role = min((standing.role for _, standing in last), key=LEVEL.__getitem__)
    spokesman = min(last, key=lambda item: (item[0].rank, item[0].depth, item[0].id))[1]
    if role != "admin":
        return _without_role(spokesman, role)
    supports = 0
    for _, standing in last:
        supports |= standing.supports
    # The latest admission ranks: whichever of them survives, its author was more senior than that.
    rank = max(standing.rank for _, standing in last if standing.rank is not None)
    return replace(spokesman, rank=rank, supports=supports)


def _without_role(standing: Standing, role: StandingRole) -> Standing:
    # Whoever is a client was never a device by what stands: no link and no key goes by its bundle.
    bundle = "" if role in CLIENTS else standing.bundle
    return replace(standing, role=role, bundle=bundle, rank=None, supports=0)


def _epochs(facts: Facts, counted: int) -> tuple[EpochRecord, ...]:
    records = [fact.epoch for fact in facts.of(counted) if fact.epoch is not None]
    return tuple(sorted(records, key=lambda record: (record.n, record.rank, record.commit)))


def _rules(facts: Facts, counted: int) -> Rules:
    """Each rule by itself: of the last statements about it the most cautious one."""
    said = [(fact, values_of(fact.policy)) for fact in facts.of(counted) if fact.policy is not None]
    chosen = {}
    for name, cautious in CAUTIOUS.items():
        last = _last([(fact, values[name]) for fact, values in said if name in values])
        if last:
            chosen[name] = cautious(last)
    return replace(Rules(), **chosen)


def _last(said: list[tuple[Fact, T]]) -> list[T]:
    """The statements that no other one knows of."""
    overruled = 0
    for fact, _ in said:
        overruled |= fact.past
    return [what for fact, what in said if not fact.bit & overruled]
