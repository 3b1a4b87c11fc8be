"""6 Team: the members, their roles and the fingerprints that people compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.widgets.lines import Column, Lines
from meshconsole.console.words import short_key
from meshconsole.core.status import MemberStatus

if TYPE_CHECKING:
    from meshconsole.console.ink import Span
    from meshconsole.console.model import Model
    from meshconsole.console.profile import Profile
    from meshconsole.core.status import TeamStatus


class Team(Lines[MemberStatus]):
    def __init__(self, profile: Profile) -> None:
        self.has_team = False
        super().__init__(
            [
                Column("NAME", 16, _name, private=True),
                Column("ROLE", 9, lambda member: (member.role, "")),
                Column("", 5, lambda member: ("here" if member.me else "", "accent")),
                Column("KEY", 14, lambda member: (short_key(member.npub), "dim"), rank=1, private=True),
                Column("FINGERPRINT", 0, lambda member: (member.fingerprint, ""), private=True),
            ],
            key=lambda member: member.npub,
            profile=profile,
            title="6 Team",
            flexible=40,
            id="team",
            classes="pane",
        )

    def show(self, model: Model) -> None:
        team = model.status.team if model.status else None
        self.has_team = team is not None
        members = team.members if team else ()
        if list(members) != self.listing.rows or not members:
            self.replace(members)
        self.set_note(_note(team) if team else "")

    def teach(self) -> list[str]:
        if self.has_team:
            return ["The members of the team are not known yet."]
        return [
            "This node is in no team yet.",
            "Create one:  :create NAME",
            "Or join one with the invite that a teammate shows you (key i on their console):  :join INVITE",
        ]


def _note(team: TeamStatus) -> str:
    waiting = f"{len(team.proposals)} to agree to (:agree), " if team.proposals else ""
    return f"{waiting}{team.suite}, epoch {team.epoch}, you are {team.role}"


def _name(member: MemberStatus) -> Span:
    return member.name, "strong"


def in_full(member: MemberStatus) -> list[tuple[str, str]]:
    return [
        ("name", member.name + (" (this device)" if member.me else "")),
        ("role", member.role),
        ("fingerprint", member.fingerprint),
        ("npub", member.npub),
    ]
