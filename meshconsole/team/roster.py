"""The roster: an append-only graph of signed entries that says who belongs. Pure.

An entry names its parents (the latest entries its author knew) and holds operations. Here is
decided whether an entry may enter the graph at all: its author must govern in the state of the
entry's own past, and each operation must make sense there. That judgement never changes, so all
nodes that hold the same entries hold the same roster. What the entries add up to is in
`resolution.py`.

Signatures are checked before an entry comes here (`entries.py`).
"""

from __future__ import annotations

from collections import OrderedDict
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import LocalError, Refused
from meshconsole.team.agreement import backing, backing_of, check_agreement, gives_rights, latest_epoch
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
    CLIENTS,
    LEVEL,
    MAX_ENTRIES_BY_AUTHOR,
    MAX_MEMBERS,
    MAX_PARENTS,
    READS,
    WRITES,
    Add,
    AdmitClient,
    AnyOp,
    Found,
    GivenRole,
    NewEpoch,
    Policy,
    Refuse,
    Remove,
    Role,
    SetRole,
)
from meshconsole.team.resolution import advance, resolve
from meshconsole.team.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.team.agreement import Approval

MAX_ENTRIES = 16_384
"""In one roster. A node that reaches it takes no more: only a hostile admin could get there."""
_CACHED_STATES = 64


class Entry(msgspec.Struct, frozen=True):
    """A roster entry whose signatures are good. `id` is the id of its event."""

    id: str
    author: str
    parents: tuple[str, ...]
    ops: tuple[AnyOp, ...]
    second: Approval | None = None
    """Another admin who agreed."""


class Roster:
    """One team's graph. Raises Refused where an entry may not enter it."""

    def __init__(self, genesis: Entry) -> None:
        found = _check_genesis(genesis)
        self.name = found.name
        self.genesis_id = genesis.id
        self._facts = Facts(found.root)
        self._states: OrderedDict[int, State] = OrderedDict()
        self._children = 0
        empty = State(0, 0, 0, MappingProxyType({}), (), Rules(), found.root)
        self._facts.add(_fact(self._facts, genesis, empty, rank=(1, 0, "", 0)))

    def __contains__(self, entry_id: str) -> bool:
        return entry_id in self._facts.by_id

    def __len__(self) -> int:
        return len(self._facts.all)

    def add(self, entry: Entry) -> None:
        """Takes an entry whose parents are all here. A known entry changes nothing."""
        if entry.id in self:
            return
        view = self.view(entry.parents)
        rank = _check(entry, view, self._facts)
        if len(self) >= MAX_ENTRIES:
            raise Refused("restricted", f"The roster is full: it holds {MAX_ENTRIES} entries.")
        fact = _fact(self._facts, entry, view, rank)
        self._facts.add(fact)
        for parent in entry.parents:
            self._children |= self._facts.by_id[parent].bit

    def check(self, entry: Entry) -> None:
        """Raises Refused for an entry that `add` would not take because of its own past."""
        _check(entry, self.view(entry.parents), self._facts)

    def missing(self, parents: Iterable[str]) -> frozenset[str]:
        return frozenset(parent for parent in parents if parent not in self)

    def view(self, parents: Iterable[str]) -> State:
        """What an author knows whose latest entries are `parents`."""
        entries = 0
        for parent in parents:
            fact = self._facts.by_id.get(parent)
            if fact is None:
                raise LocalError(f"Roster entry {parent} is not known here.")
            entries |= fact.past | fact.bit
        return self._state_of(entries)

    @property
    def state(self) -> State:
        """What all entries together say."""
        return self._state_of((1 << len(self)) - 1)

    @property
    def heads(self) -> tuple[str, ...]:
        """Entries that no other one names as parent; those that stand come first. At most 16."""
        return self.heads_without(())

    def heads_without(self, disowned: Iterable[str]) -> tuple[str, ...]:
        """The heads of the graph as if the disowned entries, and all built on them, were unknown."""
        lost = 0
        for entry_id in disowned:
            fact = self._facts.by_id.get(entry_id)
            if fact is None or fact.bit == GENESIS:
                raise Refused("invalid", "Only a later, known roster entry can be disowned.")
            lost |= fact.bit
        kept = [fact for fact in self._facts.all if not (fact.bit | fact.past) & lost]
        covered = 0
        for fact in kept:
            covered |= fact.past
        counted = self.state.counted
        heads = [fact for fact in kept if not fact.bit & covered]
        heads.sort(key=lambda fact: (not fact.bit & counted, fact.id))
        return tuple(fact.id for fact in heads[:MAX_PARENTS])

    def entries_by(self, npub: str) -> tuple[str, ...]:
        """Ids of all entries by one author, parents before children."""
        own = self._facts.by_author.get(npub, 0)
        return tuple(fact.id for fact in self._facts.all if fact.bit & own)

    def stands(self, entry_id: str) -> bool:
        """Whether all that the entry says counts today."""
        return bool(self._facts.by_id[entry_id].bit & self.state.counted)

    def is_carried_out(self, proposal: str) -> bool:
        """Whether an entry that counts today rests on the proposal."""
        return bool(self._facts.by_proposal.get(proposal, 0) & self.state.counted)

    def agreed_by(self, proposal: str) -> str:
        """Who carried it out by an entry that counts today, "" for nobody."""
        entries = self._facts.by_proposal.get(proposal, 0) & self.state.counted
        return next((fact.author for fact in self._facts.of(entries)), "")

    def refused_by(self, proposal: str, epoch: int) -> str:
        """Who refused it while its epoch lasted, "" where nobody did and a new epoch ended it."""
        for fact in self._facts.of(self._facts.closing.get(proposal, 0) & self.state.live):
            if fact.epoch is None and latest_epoch(self._state_of(fact.past)) == epoch:
                return fact.author
        return ""

    def is_closed(self, proposal: str) -> bool:
        """Whether an admin has refused it."""
        return bool(self._facts.closing.get(proposal, 0) & self.state.live)

    def epochs(self) -> tuple[EpochRecord, ...]:
        """Every epoch ever committed to, void ones too: what was sealed under them stays readable."""
        return tuple(fact.epoch for fact in self._facts.all if fact.epoch is not None)

    def epochs_to_write(self) -> tuple[tuple[EpochRecord, bool], ...]:
        """Epochs that count, the best one first, and whether each is clean.

        Clean: it was issued in knowledge of every standing loss of rights, and nobody can hold its
        key who may not read today.
        """
        state = self.state
        readers = state.readers()
        leaks = state.live & self._facts.takes_rights
        for fact in self._facts.of(state.entries & self._facts.gives_key):
            if not fact.let_in <= readers:
                leaks |= fact.bit
        judged = []
        for record in state.epochs:
            known = self._facts.by_id[record.entry].past | record.bit
            judged.append((record, record.holders <= readers and not leaks & ~known))
        judged.sort(key=lambda item: (not item[1], -item[0].n, item[0].rank, item[0].commit))
        return tuple(judged)

    def could_write(self, npub: str, record: EpochRecord) -> bool:
        """Whether a device may have written under an epoch: now, when it began, or since."""
        standings = [self.state.members.get(npub), self.view((record.entry,)).members.get(npub)]
        standings += [
            statement.standing
            for fact in self._facts.of(self.state.counted)
            if record.bit & fact.past
            for statement in fact.statements
            if statement.standing.npub == npub and not statement.withdraws
        ]
        return any(standing is not None and standing.role in WRITES for standing in standings)

    def may_have_written(self, npub: str, kid: str) -> bool:
        """Whether a device may be the author of what is sealed under the epoch `kid`, for whoever stores
        and passes it on. More generous than `could_write`: entries that are void now count as well, so that
        what one node took the others take, and an epoch that is not known yet is no reason to refuse what
        somebody writes who may write today."""
        standing = self.state.members.get(npub)
        if standing is not None and standing.role in WRITES:
            return True
        allowed = self._facts.writers.get(npub, 0)
        if not allowed:
            return False
        found = [record for record in self.epochs() if record.kid == kid]
        return any(
            allowed & ~self._facts.by_id[record.entry].past or self.could_write(npub, record)
            for record in found
        )

    def was_named(self, npub: str) -> bool:
        """Whether any entry admits that device, void or not; or it is the root key."""
        return npub in self._facts.known

    def ever_governed(self, npub: str) -> bool:
        """Whether any entry makes that device an admin, void or not; or it is the root key."""
        return npub in self._facts.governors

    def _state_of(self, entries: int) -> State:
        known = self._states.get(entries)
        if known is not None:
            self._states.move_to_end(entries)
            return known
        state = self._compute(entries)
        self._states[entries] = state
        if len(self._states) > _CACHED_STATES:
            self._states.popitem(last=False)
        return state

    def _compute(self, entries: int) -> State:
        last = self._facts.all[entries.bit_length() - 1]
        before = self._states.get(last.past)
        if before is not None and last.past | last.bit == entries:
            return advance(before, last)
        return resolve(self._facts, entries)


def _check_genesis(genesis: Entry) -> Found:
    if genesis.parents:
        raise Refused("invalid", "A genesis has no parents.")
    found, *rest = genesis.ops
    epochs = [op for op in rest if isinstance(op, NewEpoch)]
    admitted = [op for op in rest if isinstance(op, Add)]
    if not isinstance(found, Found):
        raise Refused("invalid", "A genesis begins by founding the team.")
    if not all(isinstance(op, Add | NewEpoch | Policy) for op in rest):
        raise Refused("invalid", "A genesis founds, admits, and sets the first epoch and policy only.")
    if not admitted or (admitted[0].npub, admitted[0].role) != (genesis.author, "admin"):
        raise Refused("invalid", "A genesis admits its author first, as admin.")
    if len(epochs) != 1 or epochs[0].n != 1 or epochs[0].links:
        raise Refused("invalid", "A genesis sets epoch 1.")
    _check_shape(genesis.ops)
    if any(isinstance(op, Policy) and op.two_admins is not None for op in rest):
        raise Refused("invalid", "The rule two_admins is switched on later, when there are two admins.")
    if any(op.person is not None for op in admitted) or genesis.second is not None:
        raise Refused("invalid", "A genesis names no second device of a person, and nobody agrees to it.")
    if found.root is not None and any(op.npub == found.root.npub for op in admitted):
        raise Refused("invalid", "The root key cannot be a member as well.")
    return found


def _check(entry: Entry, view: State, facts: Facts) -> Rank:
    """Whether the entry makes sense to someone who knows its past. Returns its author's rank."""
    if not entry.parents:
        raise Refused("invalid", "This is the genesis of another team.")
    if not view.governs(entry.author):
        raise Refused(
            "restricted", "The author of this roster entry is not an admin in the state it builds on."
        )
    own = facts.by_author.get(entry.author, 0) & view.entries
    if own.bit_count() >= MAX_ENTRIES_BY_AUTHOR:
        raise Refused("restricted", f"One admin may write at most {MAX_ENTRIES_BY_AUTHOR} entries.")
    _check_shape(entry.ops)
    for op in entry.ops:
        _check_op(op, entry, view)
    if _withdraws(entry.ops, view) and not any(isinstance(op, NewEpoch) for op in entry.ops):
        raise Refused("invalid", "A removal or loss of rights must rotate the epoch in the same entry.")
    admitted = sum(isinstance(op, Add | AdmitClient) for op in entry.ops)
    if admitted + sum(s.role != "removed" for s in view.members.values()) > MAX_MEMBERS:
        raise Refused("restricted", f"A team has at most {MAX_MEMBERS} devices and clients.")
    rank = _rank_of(entry.author, view)
    check_agreement(entry.author, entry.ops, entry.second, view, facts, rank)
    return rank


def _check_shape(ops: tuple[AnyOp, ...]) -> None:
    targets = [op.npub for op in ops if isinstance(op, Add | AdmitClient | Remove | SetRole)]
    if len(set(targets)) != len(targets):
        raise Refused("invalid", "An entry speaks of each device at most once.")
    removed = {op.npub for op in ops if isinstance(op, Remove)}
    if any(isinstance(op, Add) and op.replaces not in (None, *removed) for op in ops):
        raise Refused("invalid", "A device replaces one that the same entry removes.")
    if any(sum(isinstance(op, kind) for op in ops) > 1 for kind in (Found, NewEpoch, Policy)):
        raise Refused("invalid", "An entry sets at most one epoch and one policy.")
    if len({op.proposal for op in ops if isinstance(op, Refuse)}) < sum(isinstance(op, Refuse) for op in ops):
        raise Refused("invalid", "An entry refuses each proposal once.")
    if any(isinstance(op, Policy) and op == Policy() for op in ops):
        raise Refused("invalid", "A policy must set a rule.")


def _check_op(op: AnyOp, entry: Entry, view: State) -> None:
    if isinstance(op, Found):
        raise Refused("invalid", "A team is founded once.")
    if isinstance(op, NewEpoch):
        if op.n != 1 + latest_epoch(view):
            raise Refused("invalid", "Epochs are numbered one after the other.")
        return
    if isinstance(op, Policy | Refuse):
        return
    role = view.role_of(op.npub)
    if role == "root":
        raise Refused("invalid", "The root key cannot be admitted, removed or changed.")
    if op.npub == entry.author:
        raise Refused("invalid", "An admin cannot change the own role; another admin can.")
    if isinstance(op, Add | AdmitClient):
        if role not in (None, "removed"):
            raise Refused("invalid", "A device that belongs already cannot be admitted again.")
        if role == "removed" and (view.members[op.npub].bundle == "") != isinstance(op, AdmitClient):
            raise Refused("invalid", "The key of a plain client cannot be a device's, nor the other way.")
        if isinstance(op, Add) and op.person is not None:
            _check_person(op, view)
    elif role is None:
        raise Refused("invalid", "A device that was never admitted cannot be changed or removed.")
    elif isinstance(op, Remove):
        return  # again: a more senior admin gives the removal more weight
    elif role == "removed":
        raise Refused("invalid", "A device that was removed has no role to change.")
    elif role in CLIENTS:
        raise Refused("invalid", "A plain client's role is changed by removing and admitting it again.")
    elif op.role == role:
        raise Refused("invalid", "A role change must change the role.")


def _check_person(op: Add, view: State) -> None:
    first = view.members.get(op.person or "")
    if first is None or not first.bundle or first.npub == op.npub:
        raise Refused("invalid", "The other device of the same person was never admitted.")
    if op.replaces is not None:
        raise Refused("invalid", "A device that stands in for a lost one is that one's person's already.")


def _withdraws(ops: tuple[AnyOp, ...], view: State) -> bool:
    """Whether someone loses the right to read or to write, which a key that he holds would keep."""
    for op in ops:
        if isinstance(op, Remove) and view.members[op.npub].bundle:
            return True  # a plain client holds no key of the team
        if isinstance(op, SetRole):
            before = view.members[op.npub].role
            if any(before in right and op.role not in right for right in (READS, WRITES)):
                return True
    return False


def _rank_of(npub: str, view: State) -> Rank:
    if view.role_of(npub) == "root":
        return ROOT_RANK
    rank = view.members[npub].rank
    if rank is None:
        raise LocalError("An admin has no rank.")
    return rank


def _fact(facts: Facts, entry: Entry, view: State, rank: Rank) -> Fact:
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
        takes_rights=_withdraws(entry.ops, view),
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
