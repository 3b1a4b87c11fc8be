"""The roster: an append-only graph of signed entries that says who belongs. Pure.

An entry names its parents (the latest entries its author knew) and holds operations. Whether it may
enter the graph at all is judged by its own past (`entering.py`), what it says is written down once
(`stating.py`), and what the entries add up to is in `resolution.py`.

Signatures are checked before an entry comes here (`entries.py`).
"""

from __future__ import annotations

from collections import OrderedDict
from types import MappingProxyType
from typing import TYPE_CHECKING

from meshconsole.core.errors import LocalError, Refused
from meshconsole.team.agreement import latest_epoch
from meshconsole.team.entering import check_entry, check_genesis
from meshconsole.team.facts import GENESIS, EpochRecord, Facts, State
from meshconsole.team.ops import MAX_PARENTS, WRITES
from meshconsole.team.resolution import advance, resolve
from meshconsole.team.rules import Rules
from meshconsole.team.stating import fact_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.team.entering import Entry

MAX_ENTRIES = 16_384
"""In one roster. A node that reaches it takes no more: only a hostile admin could get there."""
_CACHED_STATES = 64


class Roster:
    """One team's graph. Raises Refused where an entry may not enter it."""

    def __init__(self, genesis: Entry) -> None:
        found = check_genesis(genesis)
        self.name = found.name
        self.genesis_id = genesis.id
        self._facts = Facts(found.root)
        self._states: OrderedDict[int, State] = OrderedDict()
        self._children = 0
        empty = State(0, 0, 0, MappingProxyType({}), (), Rules(), found.root)
        self._facts.add(fact_of(self._facts, genesis, empty, rank=(1, 0, "", 0)))

    def __contains__(self, entry_id: str) -> bool:
        return entry_id in self._facts.by_id

    def __len__(self) -> int:
        return len(self._facts.all)

    def add(self, entry: Entry) -> None:
        """Takes an entry whose parents are all here. A known entry changes nothing."""
        if entry.id in self:
            return
        view = self.view(entry.parents)
        rank = check_entry(entry, view, self._facts)
        if len(self) >= MAX_ENTRIES:
            raise Refused("restricted", f"The roster is full: it holds {MAX_ENTRIES} entries.")
        fact = fact_of(self._facts, entry, view, rank)
        self._facts.add(fact)
        for parent in entry.parents:
            self._children |= self._facts.by_id[parent].bit

    def check(self, entry: Entry) -> None:
        """Raises Refused for an entry that `add` would not take because of its own past."""
        check_entry(entry, self.view(entry.parents), self._facts)

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
