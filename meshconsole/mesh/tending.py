"""Looks after links once a second: who has fallen silent is dialled anew, who has news of others is told,
and in a large team links that nobody needs are let go."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from meshconsole.mesh.discovery.gossip import Telling
from meshconsole.mesh.topology import FULL_MESH, NEIGHBOURS, SURPLUS, around, surplus, wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from meshconsole.mesh.ladder import Ladder
    from meshconsole.mesh.linking import Links
    from meshconsole.mesh.roster import Roster

LOOK_S = 1.0
NEEDED_S = 600.0
"""Who was let go and came back needs the link, and is not let go again so soon."""


class Tending:
    """`beyond` are the devices that each peer has links to, as it has said."""

    def __init__(
        self,
        npub: str,
        roster: Callable[[], Roster | None],
        links: Links,
        ladder: Ladder,
        beyond: Mapping[str, frozenset[str]],
        *,
        gossips: bool,
        now: Callable[[], float],
    ) -> None:
        self._npub = npub
        self._roster = roster
        self._roles: dict[str, str] = {}
        self._wanted: frozenset[str] | None = None
        self._around: frozenset[str] | None = None
        self._links = links
        self._ladder = ladder
        self._beyond = beyond
        self._gossips = gossips
        self._now = now
        self._known: dict[str, tuple[str, ...]] = {}
        """Where peers that have a link answer, by what they say of themselves."""
        self._telling: defaultdict[str, Telling] = defaultdict(Telling)
        self._let_go: dict[str, float] = {}
        """Who was let go lately, and when."""

    def wants(self, npub: str) -> bool:
        """Whether the mesh needs a link to that device."""
        return self._wanted is None or npub in self._wanted

    def wants_afar(self, npub: str) -> bool:
        """Whether a data channel to that device is worth an offer through others."""
        return self._around is None or npub in self._around or not self._links.sessions

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
                self._tell()

    def _choose(self) -> None:
        roster, sessions = self._roster(), self._links.sessions
        roles = {d.npub: d.role for d in roster.members() if not d.removed} if roster is not None else {}
        self._roles = roles
        self._around = around(self._npub, roles)
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
        gone = surplus(self._npub, roles, links, self._wanted, self._may_go)
        if gone is not None:
            self._let_go[gone] = self._now()
            sessions[gone].close(SURPLUS)

    def _may_go(self, npub: str) -> bool:
        """Whether it has others to hold on to, and did not come back when it was let go before."""
        if self._now() - self._let_go.get(npub, -NEEDED_S) < NEEDED_S:
            return False
        return len(self._beyond.get(npub, frozenset()) - {self._npub}) >= NEIGHBOURS

    def _tell(self) -> None:
        sessions = self._links.sessions
        known = {npub: session.best.hello.listen for npub, session in sessions.items() if session.best}
        if known != self._known:
            self._known = known
        for npub in self._telling.keys() - sessions.keys():
            del self._telling[npub]  # what it was told may be lost with its link
        for npub, session in sessions.items():
            first = partial(self._good_for, npub)
            told = self._telling[npub].due(self._known, npub, self._now(), first)
            if told is not None:
                session.signal(told)

    def _good_for(self, npub: str) -> frozenset[str]:
        """Those that have a link here and that the peer wants before others."""
        best = wanted(npub, self._roles, lambda other: other not in self._known)
        return (best or frozenset()) & self._known.keys()
