"""Roster entries without signatures, and random histories of admins who cannot always reach each other."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused
from meshconsole.team.agreement import Approval, latest_epoch
from meshconsole.team.entering import Entry
from meshconsole.team.ops import (
    CLIENTS,
    Add,
    AdmitClient,
    AnyOp,
    Found,
    NewEpoch,
    Policy,
    Refuse,
    Remove,
    RootKey,
    SetRole,
)
from meshconsole.team.roster import Roster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshconsole.team.facts import State

ROOT = "root"
BUNDLE = "b"


def entry(
    author: str, parents: Sequence[str], *ops: AnyOp, salt: object = "", second: Approval | None = None
) -> Entry:
    """An entry whose id depends on everything in it, as an event's does."""
    shape = repr((author, sorted(parents), ops, salt, second)).encode()
    return Entry(hashlib.sha256(shape).hexdigest(), author, tuple(sorted(parents)), ops, second)


def consent(npub: str, epoch: int, *ops: AnyOp, salt: object = "") -> Approval:
    """What `npub` agreed to while `epoch` was the latest one."""
    shape = repr((npub, epoch, ops, salt)).encode()
    return Approval(npub, epoch, hashlib.sha256(shape).hexdigest())


def add(npub: str, role: str = "member", person: str | None = None) -> Add:
    assert role in ("admin", "member", "observer", "relay")
    return Add(npub=npub, name=npub, role=role, bundle=BUNDLE + npub, person=person)  # type: ignore[arg-type]


def genesis(admins: Sequence[str], others: Sequence[Add] = (), *, root: bool = False) -> Entry:
    return entry(
        admins[0],
        (),
        Found(name="team", root=RootKey(npub=ROOT, bundle=BUNDLE + ROOT) if root else None),
        *(add(admin, "admin") for admin in admins),
        *others,
        epoch(1),
    )


def epoch(n: int, salt: object = "") -> NewEpoch:
    return NewEpoch(n=n, commit=hashlib.sha256(repr((n, salt)).encode()).hexdigest())


@dataclass
class Graph:
    """A roster with short names for its entries, for scenarios that people can read."""

    roster: Roster
    first: str

    @classmethod
    def found(cls, admins: Sequence[str], others: Sequence[Add] = (), *, root: bool = False) -> Graph:
        first = genesis(admins, others, root=root)
        return cls(Roster(first), first.id)

    def write(self, author: str, parents: Sequence[str], *ops: AnyOp, salt: object = "") -> str:
        """Adds an entry; a removal gets its epoch."""
        if any(isinstance(op, Remove | SetRole) for op in ops):
            n = 1 + max(record.n for record in self.roster.view(parents).epochs)
            ops = (*ops, epoch(n, (author, parents, salt)))
        made = entry(author, parents, *ops, salt=salt)
        self.roster.add(made)
        return made.id

    def agree(
        self, author: str, other: str, parents: Sequence[str], *ops: AnyOp, told: Approval | None = None
    ) -> str:
        """Adds an entry of two admins; `told` is an earlier consent of `other`."""
        n = latest_epoch(self.roster.view(parents))
        second = told or consent(other, n, *ops)
        if any(isinstance(op, Remove) for op in ops):
            ops = (*ops, epoch(n + 1, (author, parents)))
        made = entry(author, parents, *ops, second=second)
        self.roster.add(made)
        return made.id

    def roles(self) -> dict[str, str]:
        """Those who belong."""
        return roles(self.roster.state)


def roles(state: State) -> dict[str, str]:
    return {npub: s.role for npub, s in state.members.items() if s.role != "removed"}


@dataclass
class RandomHistory:
    """Replicas that act on their own knowledge, sync now and then, and attackers who forge parents."""

    seed: int
    root: bool = False
    steps: int = 22
    replicas: int = 4
    two: bool = False
    """The rule of two admins is switched on and off now and then."""
    entries: dict[str, Entry] = field(default_factory=dict)
    refused: int = 0
    proposals: list[str] = field(default_factory=list)

    def run(self) -> Roster:
        dice = random.Random(self.seed)
        admins = [f"a{i}" for i in range(3)]
        names = [*admins, *(f"u{i}" for i in range(5)), "phone"]
        first = genesis(admins, root=self.root)
        self.entries[first.id] = first
        roster = Roster(first)
        if self.two:  # so that there is somebody to agree before all is lost to quarrels
            first = entry("a0", [first.id], Policy(two_admins=True))
            if dice.random() < 0.5:
                self.entries[first.id] = first
                roster.add(first)
        views: list[set[str]] = [set(self.entries) for _ in range(self.replicas)]
        for step in range(self.steps):
            view = dice.choice(views)
            if dice.random() < 0.3:
                view |= dice.choice(views)
            known = sorted(view)
            if dice.random() < 0.75:
                parents = self._heads(view)
            else:  # someone who hides what he knows
                parents = dice.sample(known, min(len(known), dice.choice((1, 1, 2))))
            state = roster.view(parents)
            governing = sorted(n for n in names if state.governs(n))
            if self.root and dice.random() < 0.08:
                author = ROOT
            elif governing and dice.random() < 0.92:
                author = dice.choice(governing)
            else:
                author = dice.choice(names)
            ops = self._ops(dice, state, names, step)
            second = None
            if self.two:
                ops, second = self._agreed(dice, state, author, ops)
            made = entry(author, parents, *ops, salt=(self.seed, step), second=second)
            try:
                roster.add(made)
            except Refused:
                self.refused += 1
                continue
            self.entries[made.id] = made
            self._learn(view, made)
        return roster

    def _agreed(
        self, dice: random.Random, state: State, author: str, ops: list[AnyOp]
    ) -> tuple[list[AnyOp], Approval | None]:
        """The rule switched, a proposal refused, or a second admin, also one who is none."""
        others = sorted(s.npub for s in state.members.values() if s.role == "admin" and s.npub != author)
        luck = dice.random()
        if luck < 0.06:
            return [Policy(two_admins=True)], None
        if luck < 0.12 and self.proposals:
            return [Refuse(dice.choice(self.proposals))], None
        if luck < 0.2:
            ops = [Policy(two_admins=False)]
        if dice.random() < 0.3:
            return ops, None
        n = latest_epoch(state) - (dice.random() < 0.05)
        second = consent(dice.choice(others or ["u0"]), max(1, n), *ops, salt=dice.randint(0, 3))
        if self.proposals and dice.random() < 0.05:
            second = Approval(second.npub, second.epoch, dice.choice(self.proposals))
        self.proposals.append(second.proposal)
        return ops, second

    def _heads(self, view: set[str]) -> list[str]:
        named = {parent for known in view for parent in self.entries[known].parents}
        return sorted(view - named)[:16]

    def _learn(self, view: set[str], made: Entry) -> None:
        todo = [made.id]
        while todo:
            known = todo.pop()
            if known not in view:
                view.add(known)
                todo += self.entries[known].parents

    def _ops(self, dice: random.Random, state: State, names: list[str], step: int) -> list[AnyOp]:
        ops: list[AnyOp] = []
        for target in dice.sample(names, dice.choice((1, 1, 1, 2))):
            role = state.role_of(target)
            if target == "phone":
                if role in CLIENTS:
                    ops.append(Remove(npub=target))
                else:
                    ops.append(AdmitClient(target, target, dice.choice(("member", "observer"))))
            elif role is None or (role == "removed" and dice.random() < 0.85):
                ops.append(add(target, dice.choice(("admin", "admin", "member", "observer", "relay"))))
            elif role == "removed" or dice.random() < 0.65:
                ops.append(Remove(npub=target))
            else:
                ops.append(
                    SetRole(npub=target, role=dice.choice(("admin", "admin", "member", "observer", "relay")))
                )
        if dice.random() < 0.1:
            ops.append(
                Policy(
                    history=dice.choice(("full", "joining")),
                    rotate_days=dice.randint(1, 60),
                    plain_messages=dice.choice((None, True, False)),
                    require_authentication=dice.choice((None, True, False)),
                    min_replicas=dice.choice((None, 1, 3)),
                )
            )
        takes = any(isinstance(op, Remove | SetRole) and op.npub != "phone" for op in ops)
        if takes or dice.random() < 0.1:
            ops.append(epoch(1 + max(record.n for record in state.epochs), (self.seed, step)))
        return ops


def shuffled(entries: dict[str, Entry], dice: random.Random) -> Roster:
    """A roster that receives the entries in a random order (parents first, as every node waits for them)."""
    waiting = list(entries.values())
    dice.shuffle(waiting)
    first = next(e for e in waiting if not e.parents)
    roster = Roster(first)
    while waiting:
        ready = [e for e in waiting if not roster.missing(e.parents)]
        waiting = [e for e in waiting if roster.missing(e.parents)]
        for each in ready:
            if each.parents:
                roster.add(each)
    return roster


def answer(roster: Roster) -> tuple[object, ...]:
    """All that two nodes must agree on, free of local numbering."""
    state = roster.state
    facts = roster._facts
    return (
        sorted((s.npub, s.name, s.role, s.bundle, s.rank or ()) for s in state.members.values()),
        sorted(fact.id for fact in facts.of(state.live)),
        sorted(fact.id for fact in facts.of(state.counted)),
        [(record.n, record.commit, clean) for record, clean in roster.epochs_to_write()],
        state.rules,
    )
