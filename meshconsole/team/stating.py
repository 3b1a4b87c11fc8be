"""What an entry of the roster says, as a fact of it: statements, an epoch, rules, proposals closed. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.team.agreement import backing, backing_of, gives_rights
from meshconsole.team.entering import withdraws
from meshconsole.team.facts import (
    GENESIS,
    ROOT_RANK,
    EpochRecord,
    Fact,
    Facts,
    Rank,
    Standing,
    State,
    Statement,
)
from meshconsole.team.ops import (
    LEVEL,
    READS,
    Add,
    AdmitClient,
    GivenRole,
    NewEpoch,
    Policy,
    Refuse,
    Remove,
    Role,
    SetRole,
)

if TYPE_CHECKING:
    from meshconsole.team.entering import Entry


def fact_of(facts: Facts, entry: Entry, view: State, rank: Rank) -> Fact:
    bit = 1 << len(facts.all)
    depth = 1 + max((facts.by_id[parent].depth for parent in entry.parents), default=-1)
    statements = tuple(
        _statement(op, view, _rank_given(entry, position, depth), bit)
        for position, op in enumerate(entry.ops)
        if isinstance(op, Add | AdmitClient | Remove | SetRole)
    )
    holders = view.readers() - {s.standing.npub for s in statements if s.standing.role not in READS}
    holders |= {s.standing.npub for s in statements if s.standing.role in READS}
    epochs = [
        EpochRecord(op.n, op.commit, op.links, entry.id, bit, rank, holders)
        for op in entry.ops
        if isinstance(op, NewEpoch)
    ]
    return Fact(
        id=entry.id,
        author=entry.author,
        bit=bit,
        past=view.entries,
        depth=depth,
        rank=rank,
        backing=backing(entry.author, view, facts),
        statements=statements,
        let_in=frozenset(s.standing.npub for s in statements if s.gives_key),
        takes_rights=withdraws(entry.ops, view),
        epoch=epochs[0] if epochs else None,
        policy=next((op for op in entry.ops if isinstance(op, Policy)), None),
        second=backing_of(entry.second, view, facts),
        alone=bit != GENESIS and rank != ROOT_RANK and entry.second is None and gives_rights(entry.ops, view),
        proposal=entry.second.proposal if entry.second else "",
        closes=frozenset(op.proposal for op in entry.ops if isinstance(op, Refuse)),
    )


def _rank_given(entry: Entry, position: int, depth: int) -> Rank:
    return (2, depth, entry.id, position) if entry.parents else (1, position, "", 0)


def _statement(op: Add | AdmitClient | Remove | SetRole, view: State, given: Rank, bit: int) -> Statement:
    if isinstance(op, AdmitClient):
        role: Role = "client" if op.role == "member" else "client-observer"
        return Statement("add", Standing(op.npub, op.name, role, ""))
    if isinstance(op, Add):
        person = _person(op, view)
        return Statement("add", _standing(op.npub, op.name, op.role, op.bundle, person, given, bit))
    seen = view.members[op.npub]
    if isinstance(op, Remove):
        return Statement("remove", Standing(op.npub, seen.name, "removed", seen.bundle, person=seen.person))
    standing = _standing(op.npub, seen.name, op.role, seen.bundle, seen.person, given, bit)
    return Statement("raise" if LEVEL[op.role] > LEVEL[seen.role] else "lower", standing)


def _person(op: Add, view: State) -> str:
    """Whose device it is, as `Standing.person`."""
    other = view.members.get(op.person or op.replaces or op.npub)
    # A device that comes back is still its person's, whatever the admission says.
    return "" if other is None or other.owner == op.npub else other.owner


def _standing(
    npub: str, name: str, role: GivenRole, bundle: str, person: str, given: Rank, bit: int
) -> Standing:
    if role == "admin":
        return Standing(npub, name, role, bundle, given, bit, person)
    return Standing(npub, name, role, bundle, person=person)
