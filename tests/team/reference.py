"""The laws of the roster written down as slowly and plainly as possible, to check the fast way against.

Sets of ids, recursion by definition, no bits, no order of processing, no short cuts for chains.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from meshconsole.team.ops import LEVEL, Add, AdmitClient, Policy, Refuse, Remove, SetRole
from meshconsole.team.rules import loosens

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.team.entering import Entry
    from meshconsole.team.rules import Rules

Ids = frozenset[str]
Rank = tuple[object, ...]


class Reference:
    def __init__(self, entries: dict[str, Entry], root: str | None, rules: Callable[[str], Rules]) -> None:
        """`rules` are those of an entry's past."""
        self.entries = entries
        self.root = root
        self.alone = cache(lambda entry: self.is_alone(entry, rules(entry)))
        self.past = cache(self._past)
        self.depth = cache(self._depth)
        self.view = cache(self._view)
        self.rank = cache(self._rank)
        self.supports = cache(self._supports)

    def _past(self, entry: str) -> Ids:
        parents = self.entries[entry].parents
        return frozenset(parents).union(*(self.past(parent) for parent in parents))

    def _depth(self, entry: str) -> int:
        return max((1 + self.depth(parent) for parent in self.entries[entry].parents), default=0)

    def _view(self, entry: str) -> World:
        return self.world(self.past(entry))

    def world(self, ids: Ids) -> World:
        return World(self, ids)

    def author(self, entry: str) -> str:
        return self.entries[entry].author

    def given_rank(self, entry: str, npub: str) -> Rank:
        ops = self.entries[entry].ops
        position = next(
            i
            for i, op in enumerate(ops)
            if isinstance(op, Add | AdmitClient | SetRole | Remove) and op.npub == npub
        )
        if not self.entries[entry].parents:
            return (1, position, "", 0)
        return (2, self.depth(entry), entry, position)

    def _rank(self, entry: str) -> Rank:
        if self.author(entry) == self.root:
            return (0, 0, "", 0)
        if not self.entries[entry].parents:
            return (1, 0, "", 0)
        return max(self.given_rank(s, self.author(entry)) for s in self.supports(entry))

    def _supports(self, entry: str) -> Ids:
        if not self.entries[entry].parents:
            return frozenset({entry})
        return self.view(entry).last_statements(self.author(entry))

    def second(self, entry: str) -> str:
        """The other admin who agreed, "" for none."""
        approval = self.entries[entry].second
        return approval.npub if approval else ""

    def second_supports(self, entry: str) -> Ids:
        return self.view(entry).last_statements(self.second(entry))

    def switches(self, entry: str) -> bool | None:
        return next((op.two_admins for op in self.entries[entry].ops if isinstance(op, Policy)), None)

    def refuses(self, entry: str, other: str) -> bool:
        approval = self.entries[other].second
        return approval is not None and any(
            isinstance(op, Refuse) and op.proposal == approval.proposal for op in self.entries[entry].ops
        )

    def is_alone(self, entry: str, rules: Rules) -> bool:
        """It gives rights on one admin's word; `rules` are those of its past."""
        if self.second(entry) or self.author(entry) == self.root or not self.entries[entry].parents:
            return False
        for op in self.entries[entry].ops:
            if isinstance(op, Add | AdmitClient):
                return True
            if isinstance(op, SetRole) and LEVEL[op.role] > LEVEL[self.seen_role(entry, op.npub)]:
                return True
            if isinstance(op, Policy) and (op.two_admins is False or loosens(rules, op)):
                return True
        return False

    def seen_role(self, entry: str, npub: str) -> str:
        return self.view(entry).roles().get(npub, "removed")

    def said(self, entry: str, npub: str) -> tuple[str, str] | None:
        """(kind, role) of what an entry says of a device."""
        for op in self.entries[entry].ops:
            if isinstance(op, Add) and op.npub == npub:
                return "add", op.role
            if isinstance(op, AdmitClient) and op.npub == npub:
                return "add", "client" if op.role == "member" else "client-observer"
            if isinstance(op, Remove) and op.npub == npub:
                return "remove", "removed"
            if isinstance(op, SetRole) and op.npub == npub:
                seen = self.seen_role(entry, npub)
                return ("raise" if LEVEL[op.role] > LEVEL[seen] else "lower"), op.role
        return None


class World:
    """One set of entries."""

    def __init__(self, laws: Reference, ids: Ids) -> None:
        self.laws = laws
        self.ids = ids
        self.is_live = cache(self._is_live)
        self.counts = cache(self._counts)
        self.roles = cache(self._roles)
        self.statements = cache(self._statements)
        self.is_moot = cache(self._is_moot)

    def withdraws(self, entry: str, npub: str) -> bool:
        said = self.laws.said(entry, npub)
        return said is not None and said[0] in ("remove", "lower")

    def concurrent(self, one: str, other: str) -> bool:
        return one != other and one not in self.laws.past(other) and other not in self.laws.past(one)

    def above_the_law(self, entry: str) -> bool:
        return not self.laws.entries[entry].parents or self.laws.author(entry) == self.laws.root

    def _is_live(self, entry: str) -> bool:
        if self.above_the_law(entry):
            return True
        rank, author = self.laws.rank(entry), self.laws.author(entry)
        senior = [r for r in self.ids if self.laws.rank(r) < rank and self.withdraws(r, author)]
        if any(self.concurrent(r, entry) and self.is_live(r) for r in senior):
            return False
        supports = {
            s
            for s in self.laws.supports(entry)
            if self.is_live(s)
            and not any(
                self.laws.rank(r) < rank and self.is_doubted_by(s, r) and s != self.first and self.is_live(r)
                for r in self.ids
            )
        }
        known = [r for r in senior if r in self.laws.past(entry) and self.is_live(r)]
        return bool(supports) and all(any(r in self.laws.past(s) for s in supports) for r in known)

    def is_doubted_by(self, entry: str, other: str) -> bool:
        """Whether `other`, if it is live, voids what `entry` grants."""
        laws = self.laws
        if self.concurrent(other, entry):
            if self.withdraws(other, laws.author(entry)):
                return True
            if laws.second(entry) and self.withdraws(other, laws.second(entry)):
                return True
        if entry == other or entry in laws.past(other):
            return False
        if laws.refuses(other, entry):
            return True
        return (
            laws.switches(other) is True
            and laws.alone(entry)
            and not any(laws.switches(o) is False and other in laws.past(o) for o in laws.past(entry))
        )

    def is_agreed(self, entry: str) -> bool:
        """Law 8, but for what doubts it."""
        laws = self.laws
        if laws.second(entry):
            return self.is_backed(laws.second(entry), laws.second_supports(entry), entry)
        return not laws.alone(entry) or all(
            any(laws.switches(o) is False and on in laws.past(o) and self.counts(o) for o in laws.past(entry))
            for on in laws.past(entry) & self.ids
            if laws.switches(on) is True and self.is_live(on)
        )

    def is_backed(self, npub: str, supports: Ids, entry: str) -> bool:
        standing = {s for s in supports if self.counts(s)}
        known = [r for r in self.laws.past(entry) if self.withdraws(r, npub) and self.is_live(r)]
        return bool(standing) and all(any(r in self.laws.past(s) for s in standing) for r in known)

    @property
    def first(self) -> str:
        return next(e for e in self.laws.entries if not self.laws.entries[e].parents)

    def _counts(self, entry: str) -> bool:
        if not self.is_live(entry):
            return False
        if self.above_the_law(entry):
            return True
        if any(self.is_doubted_by(entry, r) and self.is_live(r) for r in self.ids):
            return False
        return self.is_backed(self.laws.author(entry), self.laws.supports(entry), entry) and self.is_agreed(
            entry
        )

    def two_admins(self) -> bool:
        """Whether the rule holds."""
        switches = {
            e: switch
            for e in self.ids
            if (switch := self.laws.switches(e)) is not None
            and (self.is_live(e) if switch else self.counts(e))
        }
        last = [e for e in switches if not any(e in self.laws.past(o) for o in switches)]
        return any(switches[e] for e in last)

    def _statements(self, npub: str) -> dict[str, str]:
        """Entry -> role, of those that say something valid about a device and do not remove it."""
        return {each: role for each, role in self.valid(npub).items() if not self.is_moot(each, npub)}

    def valid(self, npub: str) -> dict[str, str]:
        found = {}
        for each in self.ids:
            said = self.laws.said(each, npub)
            if said is None or said[0] == "remove":
                continue
            if said[0] == "lower":
                if self.is_live(each):
                    found[each] = said[1]
            elif self.counts(each):
                found[each] = said[1]
        return found

    def is_add(self, entry: str, npub: str) -> bool:
        return (self.laws.said(entry, npub) or ("",))[0] == "add"

    def _is_moot(self, entry: str, npub: str) -> bool:
        return self.is_add(entry, npub) and self.belonged(npub, self.laws.past(entry))

    def belonged(self, npub: str, ids: Ids) -> bool:
        """Judged by the entries in `ids`, each being valid or not as it is in this world."""
        statements = [e for e in self.valid(npub) if e in ids and not self.is_moot(e, npub)]
        admissions = [e for e in statements if self.is_add(e, npub)]
        removals = [e for e in ids if self.laws.said(e, npub) == ("remove", "removed") and self.is_live(e)]
        unanswered = [r for r in removals if all(r not in self.laws.past(a) for a in admissions)]
        return any(not self.withdraws(e, npub) for e in statements) and not unanswered

    def last_statements(self, npub: str) -> Ids:
        statements = self.statements(npub)
        return frozenset(s for s in statements if not any(s in self.laws.past(t) for t in statements))

    def _roles(self) -> dict[str, str]:
        ops = [op for e in self.ids for op in self.laws.entries[e].ops]
        names = {op.npub for op in ops if isinstance(op, Add | AdmitClient)}
        roles = {}
        for npub in names:
            statements = self.statements(npub)
            if all(self.withdraws(e, npub) for e in statements):
                continue
            role = min((statements[s] for s in self.last_statements(npub)), key=lambda r: LEVEL[r])
            roles[npub] = role if self.belonged(npub, self.ids) else "removed"
        return roles
