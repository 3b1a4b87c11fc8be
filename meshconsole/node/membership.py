"""This node's place in its team: the roster as it is known here, and the invites it has out.

The roster's entries are ordinary stored events; this object is rebuilt from them at each start. The
book of invites is the node's own and is saved after each change, before anybody is told.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from meshconsole.core import kinds
from meshconsole.core.errors import Refused
from meshconsole.team.invites import InviteBook
from meshconsole.team.state import Team

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.core.event import Event
    from meshconsole.core.verdict import Verdict
    from meshconsole.crypto.identity import Identity
    from meshconsole.crypto.provider import Provider
    from meshconsole.node.state import NodeState
    from meshconsole.team.invites import AdmittedRole, Invite

log = logging.getLogger(__name__)

BOOK = "invites"
TEAM_ID = "team-id"


def remember_team(state: NodeState, team: Team) -> None:
    """Which team is this node's: a roster that somebody else stored here must not take its place."""
    state.put(TEAM_ID, team.team_id)


class Membership:
    def __init__(self, identity: Identity, provider: Provider, state: NodeState) -> None:
        self.team: Team | None = None
        self._identity = identity
        self._provider = provider
        self._state = state
        saved = state.get(BOOK, bytes, b"")
        self.book = InviteBook.load(saved) if saved else InviteBook()

    def load(self, events: Iterable[Event], team_id: bytes | None = None) -> None:
        """The team from stored control events, if they hold one that this device belongs to. `team_id`
        says which one it is from now on."""
        if team_id is not None:
            self._state.put(TEAM_ID, team_id)
        wanted = self._state.get(TEAM_ID, bytes, b"") or None
        self.team = Team.load(self._identity, events, self._provider, wanted)

    def accept(self, event: Event) -> Verdict | None:
        """A control event that was just stored. None when there is no team to take it."""
        if self.team is None or event.kind not in kinds.CONTROL_KINDS:
            return None
        verdict = self.team.accept(event)
        if not verdict.accepted:
            log.warning("a control event was not taken: %s", verdict.message)
        return verdict

    def found(self, team_name: str, my_name: str, now: int, root: Event | None = None) -> list[Event]:
        """The events of a new team, to be stored. `root` is the offline key's bundle event. Raises
        Refused if there is a team already."""
        if self.team is not None:
            raise Refused("restricted", f"This node already belongs to the team {self.team.name}.")
        self.team, events = Team.found(self._identity, team_name, my_name, now, self._provider, root)
        return events

    def admitted_to(self, invite: Invite, events: list[Event]) -> str:
        """The name of the team that took this device in. Raises Refused if it is not the invite's."""
        team = Team.load(self._identity, events, self._provider, invite.team_id)
        if team is None:
            raise Refused("invalid", "The answer does not come from the team that the invite names.")
        return team.name

    def invite(
        self,
        addresses: list[str],
        now: int,
        lifetime_s: int,
        role: AdmittedRole,
        replaces: str = "",
        person: str = "",
    ) -> tuple[Invite, str]:
        """Raises Refused when this device may not admit others."""
        if self.team is None:
            raise Refused("restricted", "This node has no team to invite to yet.")
        invite, text = self.team.make_invite(addresses, now, lifetime_s)
        self.book.offer(invite, role, replaces, person)
        self.save_book()
        return invite, text

    def save_book(self) -> None:
        self._state.put(BOOK, self.book.dump())
