"""6 Team: the members, their roles, the fingerprints that people compare, and what waits to be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.widgets.lines import Column, Lines
from meshconsole.console.words import moment_in_words, short_key
from meshconsole.core.status import MemberStatus

if TYPE_CHECKING:
    from meshconsole.console.ink import Span
    from meshconsole.console.model import Model
    from meshconsole.console.profile import Profile
    from meshconsole.control.team import OpenInvite
    from meshconsole.core.status import TeamStatus


class Team(Lines[MemberStatus]):
    def __init__(self, profile: Profile) -> None:
        self.has_team = False
        self.team: TeamStatus | None = None
        self.invites: tuple[OpenInvite, ...] = ()
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
        changed = team != self.team
        self.team = team
        members = team.members if team else ()
        if changed or not members:
            self.replace(members)
        self.set_note(_note(team) if team else "")

    def show_invites(self, invites: tuple[OpenInvite, ...]) -> None:
        """Those of this device, which are asked for when the pane is opened."""
        if invites != self.invites:
            self.invites = invites
            self.refresh()

    def footnotes(self) -> list[str]:
        team = self.team
        if team is None:
            return []
        owed = ["owed      the team's key must be turned:  :rotate"] if team.rotation_owed else []
        agree = [f"to agree  {one.words}, says {one.author}:  :agree" for one in team.proposals]
        invites = [f"invite    {one.role}, until {moment_in_words(one.expires)}" for one in self.invites]
        rules = [f"rule      {name} {value}" for name, value in team.rules]
        return [*owed, *agree, *invites, *rules]

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
    owed = "key must be turned, " if team.rotation_owed else ""
    return f"{owed}{waiting}{team.suite}, epoch {team.epoch}, you are {team.role}"


def _name(member: MemberStatus) -> Span:
    return member.name, "strong"


def in_full(member: MemberStatus) -> list[tuple[str, str]]:
    return [
        ("name", member.name + (" (this device)" if member.me else "")),
        ("role", member.role),
        ("fingerprint", member.fingerprint),
        ("npub", member.npub),
    ]
