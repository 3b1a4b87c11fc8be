"""Who may read and write this node's relay: the owner's privacy settings joined with the roster.

Two questions, asked with the public keys that a plain client has proven by NIP-42. Enrolled nodes
come over links and are checked there; what they bring is judged by its author (`by_role`).
`require_authentication` off together with `share_with_team_only` off makes the relay public.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse
from meshconsole.relay.policy import NOT_YET
from meshconsole.team.ops import GOVERNS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from meshconsole.core.event import Event
    from meshconsole.core.sections import PrivacySection
    from meshconsole.team.state import Team


class TeamAccess:
    """Implements the relay's `Access`. Holds no copy: settings and roster are asked each time."""

    def __init__(
        self, privacy: Callable[[], PrivacySection], team: Callable[[], Team | None], npub: str
    ) -> None:
        """`npub` is this node's own key."""
        self._privacy = privacy
        self._team = team
        self._npub = npub

    def public(self) -> bool:
        privacy = self._privacy()
        return not privacy.share_with_team_only and not privacy.require_authentication

    def may_write(self, npubs: Collection[str]) -> Verdict:
        return self._check(npubs, "publish", lambda team, npub: team.may_publish(npub))

    def may_read(self, npubs: Collection[str]) -> Verdict:
        return self._check(npubs, "read", lambda team, npub: team.may_query(npub))

    def is_device(self, npubs: Collection[str]) -> bool:
        """Whether one of these keys is a device of the team, which may use this relay as an uplink: only
        while the relay is the team's alone, so that a removed device is shut out at once."""
        team = self._team()
        if not npubs or team is None or not self._privacy().share_with_team_only:
            return False
        return any(not member.removed and member.npub in npubs for member in team.members())

    def by_role(self, event: Event) -> Verdict:
        """Whether the roster lets the author of an event that came over a link write it."""
        team = self._team()
        try:
            return ACCEPTED if team is None or team.admits(event) else NOT_YET
        except Refused as error:
            # Never "restricted": a peer's stream would wait for that to change.
            return refuse("blocked", error.sentence)

    def may_manage(self, npub: str) -> bool:
        """Whether that key may change what this relay takes and from whom (NIP-86)."""
        team = self._team()
        return npub == self._npub or (team is not None and team.role_of(npub) in GOVERNS)

    def takes_two(self) -> bool:
        """Whether the team lets nobody in on one admin's word."""
        team = self._team()
        return team is not None and bool(team.rules.two_admins)

    def _check(self, npubs: Collection[str], verb: str, allowed: Callable[[Team, str], bool]) -> Verdict:
        privacy = self._privacy()
        if not privacy.share_with_team_only and not privacy.require_authentication:
            return ACCEPTED
        if not npubs:
            return refuse("auth-required", f"this relay wants to know who you are before you {verb}")
        if not privacy.share_with_team_only:
            return ACCEPTED
        team = self._team()
        if team is not None and any(allowed(team, npub) for npub in npubs):
            return ACCEPTED
        return refuse("restricted", f"only members of this node's team may {verb} here")
