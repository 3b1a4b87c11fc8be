"""What a roster knows of its entries: each with what follows from its own past, indexed for resolution. Pure.

Sets of entries are held as integers, one bit for each entry; an entry's number is local to one
`Facts` and never decides anything.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING, Literal

import msgspec

from meshconsole.team.ops import GOVERNS, READS, WRITES, EpochLink, Policy, Role, RootKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from meshconsole.team.rules import Rules

Rank = tuple[int, int, str, int]
"""Seniority, smallest first: (tier, order or depth, entry id, operation). Tier 0 is the root key."""

ROOT_RANK: Rank = (0, 0, "", 0)
GENESIS = 1
"""The bit of the genesis. It lies in the past of every other entry, so no removal reaches it."""

StandingRole = Role | Literal["removed"]


class Standing(msgspec.Struct, frozen=True):
    """One device or plain client in one state. `rank` and `supports` are set for admins only; a client
    has no bundle."""

    npub: str
    name: str
    role: StandingRole
    bundle: str
    rank: Rank | None = None
    supports: int = 0
    """The entries to which an admin owes the role."""
    person: str = ""
    """The first device of the person whose device this is; "" for that one itself."""

    @property
    def owner(self) -> str:
        """The same for all devices of one person."""
        return self.person or self.npub


class Statement(msgspec.Struct, frozen=True):
    """What one operation says about one device, as its author saw that device."""

    kind: Literal["add", "raise", "lower", "remove"]
    standing: Standing

    @property
    def withdraws(self) -> bool:
        return self.kind in ("lower", "remove")

    @property
    def gives_key(self) -> bool:
        return self.standing.role in READS and not self.withdraws


class EpochRecord(msgspec.Struct, frozen=True):
    """An epoch that the roster commits to. `holders` are those its author granted it to."""

    n: int
    commit: str
    links: tuple[EpochLink, ...]
    entry: str
    bit: int
    rank: Rank
    holders: frozenset[str]

    @property
    def kid(self) -> str:
        """The key id: the first 8 bytes of the commitment, in hex."""
        return self.commit[:16]


class State(msgspec.Struct, frozen=True):
    """What a set of entries says."""

    entries: int
    live: int
    """Entries whose removals stand."""
    counted: int
    """Entries that stand whole."""
    members: Mapping[str, Standing]
    """Everyone ever admitted, by npub; look at `role`."""
    epochs: tuple[EpochRecord, ...]
    rules: Rules
    root: RootKey | None

    def role_of(self, npub: str) -> StandingRole | None:
        if self.root is not None and npub == self.root.npub:
            return "root"
        standing = self.members.get(npub)
        return standing.role if standing else None

    def governs(self, npub: str) -> bool:
        return self.role_of(npub) in GOVERNS

    def readers(self) -> frozenset[str]:
        return frozenset(npub for npub, standing in self.members.items() if standing.role in READS)


class Backing(msgspec.Struct, frozen=True):
    """An admin who stands behind an entry, and what that rests on in the entry's past."""

    npub: str
    supports: int
    """The entries to which the role is owed."""
    against: int
    """Withdrawals of the role."""


class Fact(msgspec.Struct):
    """An admitted entry and what follows from its own past."""

    id: str
    author: str
    bit: int
    past: int
    depth: int
    rank: Rank
    backing: Backing
    statements: tuple[Statement, ...]
    let_in: frozenset[str]
    """Devices that this entry lets read."""
    takes_rights: bool
    """Someone loses the right to read or to write."""
    epoch: EpochRecord | None
    policy: Policy | None
    second: Backing | None = None
    """The other admin, where two agreed."""
    alone: bool = False
    """It gives rights, on the word of one admin who is not the root key."""
    proposal: str = ""
    """What the two agreed on, by its id."""
    closes: frozenset[str] = frozenset()
    """Proposals that this entry refuses."""
    after: int = 0
    """For an entry that withdraws: the later entries that know of it."""


class Facts:
    """All admitted entries of one team, parents before children."""

    def __init__(self, root: RootKey | None) -> None:
        self.root = root
        self.all: list[Fact] = []
        self.by_id: dict[str, Fact] = {}
        self.by_rank: list[tuple[Rank, int, str, Fact]] = []
        self.by_author: dict[str, int] = {}
        self.known: set[str] = {root.npub} if root is not None else set()
        """Devices that any entry names, and the root key; void entries count. So for the next two: they
        only ever grow, and do not depend on the order in which entries come."""
        self.governors: set[str] = set(self.known)
        """Who was ever made an admin."""
        self.writers: dict[str, int] = {}
        """The entries that let somebody write."""
        self.against: dict[str, int] = {}
        self.withdrawing = 0
        self.gives_key = 0
        self.takes_rights = 0
        self.by_second: dict[str, int] = {}
        self.by_proposal: dict[str, int] = {}
        self.closing: dict[str, int] = {}
        self.alone = 0
        self.switched_on = 0
        self.switched_off = 0

    def add(self, fact: Fact) -> None:
        for withdrawal in self.of(fact.past & self.withdrawing):
            withdrawal.after |= fact.bit
        self.all.append(fact)
        self.by_id[fact.id] = fact
        insort(self.by_rank, (fact.rank, fact.depth, fact.id, fact), key=lambda item: item[:3])
        self.by_author[fact.author] = self.by_author.get(fact.author, 0) | fact.bit
        if fact.let_in:
            self.gives_key |= fact.bit
        if fact.takes_rights:
            self.takes_rights |= fact.bit
        self._add_agreement(fact)
        for statement in fact.statements:
            npub = statement.standing.npub
            if statement.standing.bundle:
                self.known.add(npub)
            if statement.standing.role == "admin":
                self.governors.add(npub)
            if statement.standing.role in WRITES:
                self.writers[npub] = self.writers.get(npub, 0) | fact.bit
            if statement.withdraws:
                self.withdrawing |= fact.bit
                self.against[npub] = self.against.get(npub, 0) | fact.bit

    def _add_agreement(self, fact: Fact) -> None:
        if fact.second is not None:
            npub = fact.second.npub
            self.by_second[npub] = self.by_second.get(npub, 0) | fact.bit
            self.by_proposal[fact.proposal] = self.by_proposal.get(fact.proposal, 0) | fact.bit
        for proposal in fact.closes:
            self.closing[proposal] = self.closing.get(proposal, 0) | fact.bit
        if fact.alone:
            self.alone |= fact.bit
        if fact.policy is not None and fact.policy.two_admins is not None:
            if fact.policy.two_admins:
                self.switched_on |= fact.bit
            else:
                self.switched_off |= fact.bit

    def allowed_again(self, fact: Fact, switch: Fact, offs: int) -> bool:
        """Whether one of the entries `offs` switched the rule off again between `switch` and `fact`."""
        return any(off.past & switch.bit for off in self.of(fact.past & offs))

    def of(self, entries: int) -> Iterator[Fact]:
        """The facts of a set, parents before children."""
        while entries:
            low = entries & -entries
            yield self.all[low.bit_length() - 1]
            entries ^= low
