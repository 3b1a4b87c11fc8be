"""What a console may ask about the team: one method per act, each audited before it is answered."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from meshconsole.control import messages as m
from meshconsole.control import team as t
from meshconsole.core.errors import Refused
from meshconsole.core.event import encode_event
from meshconsole.core.kinds import PROPOSAL
from meshconsole.core.text import safe
from meshconsole.node.proposing import APPLIES, JOINS_NOW, lets_join, said_of_rules, words_of
from meshconsole.team.rules import read_policy

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from meshconsole.node.ground import Ground
    from meshconsole.node.teamwork import Teamwork
    from meshconsole.node.vouching import Vouching
    from meshconsole.team.state import Team


class TeamActs:
    """The part of the node's `ControlHandler` that speaks of the team."""

    def __init__(self, node: Ground, teamwork: Teamwork, vouching: Vouching) -> None:
        self._node = node
        self._teamwork = teamwork
        self._vouching = vouching

    async def handle(self, command: m.Command) -> m.Reply:
        """Raises MeshconsoleError."""
        match command:
            case t.Invite():
                return self._invite(command)
            case t.ListInvites():
                return self._invites()
            case t.RevokeInvite(id=id_):
                return self._revoke(id_)
            case t.JoinTeam(invite=text):
                name = await self._teamwork.join(text)
                return m.done(f"Joined the team {safe(name)}.")
            case t.CreateTeam(name=name, root=root):
                return await self._create_team(name, root)
            case t.ListRoster():
                team = team_of(self._node)
                events = tuple(encode_event(event) for event in team.control_events())
                return m.done(data=t.RosterData(team.team_id.hex(), events))
            case _:
                return await self._amend(command)

    async def _amend(self, command: m.Command) -> m.Reply:
        team, now = team_of(self._node), int(time.time())
        if self._vouching.set_back:
            raise Refused(
                "restricted",
                f"This home was set back: {self._vouching.set_back} It may not act on the team.",
                hint="Meet a teammate's device first; or, if you know why: meshconsole audit acknowledge",
            )
        match command:
            case t.SetRole(npub=npub, role=role):
                return await self._said(team.set_role(npub, role, now), "role", npub=npub, role=role)
            case t.RemoveMember(npub=npub):
                return await self._said(team.remove(npub, now), "remove", npub=npub)
            case t.RotateKey():
                return await self._said(team.rotate(now), "rotate")
            case t.AdmitClient(npub=npub, name=name, role=client_role):
                events = team.admit_client(npub, name, client_role, now)
                return await self._said(events, "client", npub=npub, name=name, role=client_role)
            case t.SetPolicy(rules=rules):
                events = team.set_policy(read_policy(rules), now)
                reply = await self._said(events, "policy", **rules)
                return m.done(said_of_rules(team, rules)) if reply.data is None else reply
            case t.AgreeToProposal(id=id_):
                words, joins = words_of(team, id_), lets_join(team, id_)
                await self._said(team.agree(id_, now), "agree", what=words)
                return m.done(f"{APPLIES} {JOINS_NOW}" if joins else APPLIES)
            case t.RefuseProposal(id=id_):
                words = words_of(team, id_)
                return await self._said(team.refuse(id_, now), "refuse", what=words)
            case _:
                return m.refused("unsupported", f"This node does not know {type(command).__name__}.")

    async def _said(self, events: list[Event], act: str, **detail: str) -> m.Reply:
        await self._teamwork.act(events)
        proposed = next((event.id for event in events if event.kind == PROPOSAL), "")
        self._node.record("team-propose" if proposed else f"team-{act}", **detail)
        await self._vouching.make()
        if proposed:
            return m.done(
                f"A second admin must agree: meshconsole team agree {proposed[:8]}", t.ProposedData(proposed)
            )
        return m.done("Done.")

    async def _create_team(self, name: str, root: bytes) -> m.Reply:
        await self._teamwork.found(name, root)
        self._node.record("team-created", team=name, root="yes" if root else "no")
        return m.done(f"Created the team {safe(name)}.")

    def _invite(self, asked: t.Invite) -> m.Reply:
        offered = list(asked.addresses or self._node.reachable_addresses())
        if asked.replaces:
            self._must_belong(asked.replaces)
        if asked.person and team_of(self._node).member(asked.person) is None:
            raise Refused("invalid", "The other device of that person was never in the team.")
        invite, text = self._node.membership.invite(
            offered, int(time.time()), asked.lifetime_s, asked.role, asked.replaces, asked.person
        )
        self._node.record("invite", role=asked.role, expires=str(invite.expires), replaces=asked.replaces)
        return m.done(data=t.InviteData(text, invite.expires, tuple(invite.addresses)))

    def _must_belong(self, npub: str) -> None:
        member = team_of(self._node).member(npub)
        if member is None or member.removed:
            raise Refused("invalid", "The device to be replaced does not belong to the team.")
        if npub == self._node.identity.npub:
            raise Refused(
                "invalid",
                "A device cannot replace itself.",
                hint="Make the invite on the device of another admin.",
            )

    def _invites(self) -> m.Reply:
        offers = self._node.membership.book.open_invites(int(time.time()))
        invites = tuple(t.OpenInvite(o.id, o.expires, o.role, o.replaces) for o in offers)
        return m.done(data=t.InvitesData(invites))

    def _revoke(self, beginning: str) -> m.Reply:
        book = self._node.membership.book
        found = [o.id for o in book.open_invites(int(time.time())) if o.id.startswith(beginning.lower())]
        if len(found) != 1:
            raise Refused(
                "invalid",
                f"{len(found) or 'No'} open invites of this device begin with {safe(beginning, 16)}.",
                hint="See: meshconsole team invites",
            )
        book.revoke(found[0])
        self._node.membership.save_book()
        self._node.record("invite-revoked", id=found[0])
        return m.done("The invite lets nobody in any more.")


def team_of(node: Ground) -> Team:
    """Raises Refused while there is none."""
    team = node.membership.team
    if team is None:
        raise Refused(
            "restricted",
            "This node has no team yet.",
            hint="Create one with 'meshconsole team create NAME', or join one: 'meshconsole team join'.",
        )
    return team
