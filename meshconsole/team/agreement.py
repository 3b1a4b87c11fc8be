"""The two-admin rule: what needs a second admin, and when two have agreed. Pure.

With the rule `two_admins` on, an entry that gives rights is taken only with the consent of a second
admin, another person's: A signs a proposal (`proposals.py`), B's entry carries A's signatures. What only
takes rights away (removals, lower roles, new epochs, stricter rules) needs one admin, so that a stolen
device is shut out at once; the root key needs nobody. Here is judged, from the entry's own past, whether
it may enter the graph. What of it stands beside entries that it does not know is law 8 of
`resolution.py`: an entry that is back-dated to before the rule gains nothing.

The most senior admin, or the root key, switches the rule on: so nobody can void that by removing whoever
did it. Switching it off takes two. A consent is good for the epoch it names, and once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import Refused
from meshconsole.team.facts import ROOT_RANK, Backing
from meshconsole.team.ops import LEVEL, Add, AdmitClient, Policy, Refuse, Remove, SetRole
from meshconsole.team.rules import loosens

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from meshconsole.team.facts import Facts, Rank, State
    from meshconsole.team.ops import AnyOp

SWITCH_ON = (Policy(two_admins=True),)


class Approval(msgspec.Struct, frozen=True):
    """The consent of a second admin, whose signatures are good. `proposal` is the id of the event."""

    npub: str
    epoch: int
    proposal: str
    event: Event | None = None
    """The proposal as it was signed, to be verified before the entry is taken."""


def gives_rights(ops: tuple[AnyOp, ...], view: State) -> bool:
    """Whether the operations give anybody anything, for someone who knows `view`."""
    for op in ops:
        if isinstance(op, Add | AdmitClient):
            return True
        if isinstance(op, SetRole):
            seen = view.members.get(op.npub)
            if seen is not None and LEVEL[op.role] > LEVEL[seen.role]:
                return True
        if isinstance(op, Policy) and (op.two_admins is False or loosens(view.rules, op)):
            return True
    return False


def check_agreement(
    author: str, ops: tuple[AnyOp, ...], second: Approval | None, view: State, facts: Facts, rank: Rank
) -> None:
    """Raises Refused for an entry that the rule does not let in, judged by its own past."""
    for op in ops:
        if isinstance(op, Policy) and op.two_admins is not None:
            _check_switch(op, ops, view, rank)
        if isinstance(op, Refuse) and second is not None and op.proposal == second.proposal:
            raise Refused("invalid", "A roster entry cannot both refuse a proposal and carry it out.")
    gives = gives_rights(ops, view)
    if second is not None:
        if not gives or rank == ROOT_RANK:
            raise Refused("invalid", "Nobody needs to agree to this roster entry.")
        if any(isinstance(op, Add | Remove | SetRole) and op.npub == second.npub for op in ops):
            raise Refused("invalid", "A roster entry cannot change the role of the admin who agreed to it.")
        _check_approval(author, second, view, facts)
    elif gives and rank != ROOT_RANK and view.rules.two_admins:
        raise Refused("restricted", "The team's rule two_admins is on: a second admin must agree to this.")


def backing_of(second: Approval | None, view: State, facts: Facts) -> Backing | None:
    if second is None:
        return None
    return backing(second.npub, view, facts)


def backing(npub: str, view: State, facts: Facts) -> Backing:
    standing = view.members.get(npub)
    supports = standing.supports if standing else 1
    return Backing(npub, supports, facts.against.get(npub, 0) & view.entries)


def people_who_govern(view: State) -> frozenset[str]:
    """The admins' owners: two devices of one person are one."""
    return frozenset(s.owner for s in view.members.values() if s.role == "admin")


def latest_epoch(view: State) -> int:
    return max(record.n for record in view.epochs)


def _check_switch(op: Policy, ops: tuple[AnyOp, ...], view: State, rank: Rank) -> None:
    if not op.two_admins:
        if not view.rules.two_admins:
            raise Refused("invalid", "The rule two_admins is off already.")
        return
    if ops != SWITCH_ON:
        raise Refused("invalid", "The rule two_admins is switched on by itself, with nothing beside it.")
    if len(people_who_govern(view)) < 2:
        raise Refused(
            "restricted",
            "The rule two_admins needs two admins of two people; this team has one.",
            hint="Make another one first: meshconsole team role MEMBER admin",
        )
    admins = [s for s in view.members.values() if s.role == "admin" and s.rank is not None]
    senior = min(admins, key=lambda standing: standing.rank or ROOT_RANK)
    if rank != ROOT_RANK and rank != senior.rank:
        raise Refused(
            "restricted",
            f"Only {senior.name}, the most senior admin, or the root key can switch two_admins on: somebody "
            "more senior could void it alone.",
        )


def _check_approval(author: str, second: Approval, view: State, facts: Facts) -> None:
    other, own = view.members.get(second.npub), view.members[author]
    if other is None or other.role != "admin":
        raise Refused("restricted", "Who agreed to this is not an admin in the state it builds on.")
    if other.owner == own.owner:
        raise Refused("restricted", "Another person must agree, not another device of the same one.")
    if second.epoch != latest_epoch(view):
        raise Refused("restricted", "The team's key was turned since this was proposed: propose it anew.")
    if facts.closing.get(second.proposal, 0) & view.entries:
        raise Refused("restricted", "This proposal was refused.")
    if facts.by_proposal.get(second.proposal, 0) & view.entries:
        raise Refused("restricted", "This proposal was carried out already.")
