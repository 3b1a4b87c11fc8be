"""What waits for a second admin, in the words of the console and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from meshconsole.core.health import Found
from meshconsole.core.status import ProposalStatus
from meshconsole.core.text import safe
from meshconsole.crypto.bundle import fingerprint
from meshconsole.team.ops import Add, AdmitClient, Policy, Remove, SetRole
from meshconsole.team.rules import in_words, values_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.core.status import Severity
    from meshconsole.team.ops import AnyOp
    from meshconsole.team.state import Team

MAX_WORDS = 400
JOINS_NOW = "On the new device, with the same invite: meshconsole team join INVITE"
APPLIES = "Every node of the team applies this as soon as it hears of it."
NO_ROOT_KEY = (
    "This team has no root key: once all admins but one are lost, nobody can let anybody in any more, nor "
    "switch two_admins off."
)


def proposals_of(team: Team, npub: str) -> tuple[ProposalStatus, ...]:
    return tuple(
        ProposalStatus(
            id=proposal.id,
            npub=proposal.npub,
            author=_name(team, proposal.npub),
            words=safe("; ".join(_words(team, op) for op in proposal.ops), MAX_WORDS),
            made=proposal.consent.created_at,
            mine=proposal.npub == npub,
        )
        for proposal in team.proposals()
    )


def waiting(proposal: ProposalStatus) -> Found:
    short = proposal.id[:8]
    if proposal.mine:
        remedy = (
            f"On another admin's device: meshconsole team agree {short}. Or: meshconsole team refuse {short}"
        )
        return Found(
            "proposal-waits", f"Waits for a second admin: {proposal.words}.", remedy, about=proposal.id
        )
    author = safe(proposal.author, 64)
    remedy = f"Ask {author} first. Then: meshconsole team agree {short}, or: meshconsole team refuse {short}"
    return Found("proposal", f"{author} proposes: {proposal.words}.", remedy, about=proposal.id)


class Ending(NamedTuple):
    """What came of a proposal. `outcome` is a word for the audit log."""

    outcome: str
    severity: Severity
    text: str
    remedy: str = ""


def ending_of(team: Team, proposal_id: str, npub: str) -> Ending | None:
    """For the device `npub` that made it, of one that waits no more; None where it ended it itself."""
    proposal = team.proposal(proposal_id)
    if proposal is None:
        return None
    words = safe("; ".join(_words(team, op) for op in proposal.ops), MAX_WORDS)
    if by := team.agreed_by(proposal):
        remedy = JOINS_NOW if any(isinstance(op, Add) for op in proposal.ops) else ""
        return Ending("agreed", "info", f"{_name(team, by)} has agreed: {words}.", remedy)
    by = team.refused_by(proposal)
    if by == npub:
        return None
    if by:
        return Ending("refused", "warning", f"{_name(team, by)} has refused: {words}.")
    text = f"Nobody agreed before the team's key was turned, so this is void: {words}."
    return Ending("lapsed", "warning", text, "Propose it once more, if it is still wanted.")


def words_of(team: Team, beginning: str) -> str:
    """For the audit log."""
    found = [p for p in proposals_of(team, "") if p.id.startswith(beginning.lower())]
    return f"{found[0].words}, proposed by {found[0].npub}" if len(found) == 1 else beginning


def lets_join(team: Team, beginning: str) -> bool:
    """Whether a device waits for the open proposal with such an id to join."""
    found = [p for p in team.proposals() if p.id.startswith(beginning.lower())]
    return any(isinstance(op, Add) for proposal in found for op in proposal.ops)


def said_of_rules(team: Team, changed: Iterable[str]) -> str:
    """What has come of a change of rules."""
    if "two_admins" in changed and team.rules.two_admins and not team.has_root_key:
        return f"{APPLIES} {NO_ROOT_KEY}"
    return APPLIES


def _words(team: Team, op: AnyOp) -> str:
    match op:
        case Add(npub=npub, name=name, role=role, bundle=bundle):
            of = f", another device of {_name(team, op.person)}" if op.person else ""
            print_ = fingerprint(bytes.fromhex(bundle))
            return f"admit {safe(name, 64)} as {role} ({npub[:8]}, fingerprint {print_}{of})"
        case Remove(npub=npub):
            return f"remove {_name(team, npub)}"
        case SetRole(npub=npub, role=role):
            return f"make {_name(team, npub)} {role}"
        case AdmitClient(npub=npub, name=name, role=role):
            may = "read and publish" if role == "member" else "read"
            return f"let the plain client {safe(name, 64)} ({npub[:8]}) {may}"
        case Policy():
            return ", ".join(f"set {name} to {in_words(value)}" for name, value in values_of(op).items())
        case _:
            return type(op).__name__


def _name(team: Team, npub: str | None) -> str:
    member = team.member(npub or "")
    return safe(member.name, 64) if member else (npub or "")[:8]
