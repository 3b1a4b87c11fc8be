"""Looks after links once a second: who has fallen silent is dialled anew, who has news of others is told,
and in a large team links that nobody needs are let go."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from meshconsole.mesh.discovery.gossip import Telling
from meshconsole.mesh.topology import FULL_MESH, SURPLUS, surplus, wanted

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.mesh.ladder import Ladder
    from meshconsole.mesh.linking import Links
    from meshconsole.mesh.roster import Roster
    from meshconsole.mesh.session import PeerSession

LOOK_S = 1.0


class Tending:
    def __init__(
        self,
        npub: str,
        roster: Callable[[], Roster | None],
        links: Links,
        ladder: Ladder,
        *,
        gossips: bool,
        now: Callable[[], float],
    ) -> None:
        self._npub = npub
        self._roster = roster
        self._wanted: frozenset[str] | None = None
        self._links = links
        self._ladder = ladder
        self._gossips = gossips
        self._now = now
        self._telling: defaultdict[str, Telling] = defaultdict(Telling)

    def wants(self, npub: str) -> bool:
        """Whether the mesh needs a link to that device."""
        return self._wanted is None or npub in self._wanted

    async def run(self) -> None:
        while True:
            self._choose()
            await asyncio.sleep(LOOK_S)
            for npub, session in self._links.sessions.items():
                if all(link.is_suspect for link in session.links):
                    # While its links are not given up yet: a new one replaces them.
                    self._ladder.peer_silent(npub, self._now())
                elif session.has_path("websocket"):
                    self._ladder.peer_up(npub)
                if self._gossips:
                    self._tell(session)

    def _choose(self) -> None:
        roster, sessions = self._roster(), self._links.sessions
        roles = {d.npub: d.role for d in roster.members() if not d.removed} if roster is not None else {}
        if len(roles) <= FULL_MESH:
            self._wanted = None
            return
        away, known = self._ladder.away(), self._ladder.known_devices()
        self._wanted = wanted(
            self._npub,
            roles,
            lambda npub: npub not in sessions and (npub in away or npub not in known),
        )
        links = ((npub, session.best.dialled) for npub, session in sessions.items() if session.best)
        gone = surplus(self._npub, roles, links, self._wanted)
        if gone is not None:
            sessions[gone].close(SURPLUS)

    def _tell(self, session: PeerSession) -> None:
        """Where the peers that have a link answer, by what they say of themselves."""
        linked = {npub: other.best.hello.listen for npub, other in self._links.sessions.items() if other.best}
        told = self._telling[session.npub].due(linked, session.npub, self._now())
        if told is not None:
            session.signal(told)
