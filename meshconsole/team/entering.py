"""Whether an entry may enter the roster's graph: judged by the entry's own past, by nothing else. Pure.

Its author must govern in the state that it builds on, and each operation must make sense there. That
judgement never changes, so all nodes that hold the same entries hold the same roster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import LocalError, Refused
from meshconsole.team.agreement import check_agreement, latest_epoch
from meshconsole.team.facts import ROOT_RANK, Facts, Rank, State
from meshconsole.team.ops import (
    CLIENTS,
    MAX_ENTRIES_BY_AUTHOR,
    MAX_MEMBERS,
    READS,
    WRITES,
    Add,
    AdmitClient,
    AnyOp,
    Found,
    NewEpoch,
    Policy,
    Refuse,
    Remove,
    SetRole,
)

if TYPE_CHECKING:
    from meshconsole.team.agreement import Approval


class Entry(msgspec.Struct, frozen=True):
    """A roster entry whose signatures are good. `id` is the id of its event."""

    id: str
    author: str
    parents: tuple[str, ...]
    ops: tuple[AnyOp, ...]
    second: Approval | None = None
    """Another admin who agreed."""


def check_genesis(genesis: Entry) -> Found:
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


def check_entry(entry: Entry, view: State, facts: Facts) -> Rank:
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
    if withdraws(entry.ops, view) and not any(isinstance(op, NewEpoch) for op in entry.ops):
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


def withdraws(ops: tuple[AnyOp, ...], view: State) -> bool:
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
