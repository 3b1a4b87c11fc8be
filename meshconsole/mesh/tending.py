"""Looks after links once a second: who has fallen silent is dialled anew, who has news of others is told."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from meshconsole.mesh.discovery.gossip import Telling

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.mesh.ladder import Ladder
    from meshconsole.mesh.linking import Links
    from meshconsole.mesh.session import PeerSession

LOOK_S = 1.0


class Tending:
    def __init__(self, links: Links, ladder: Ladder, *, gossips: bool, now: Callable[[], float]) -> None:
        self._links = links
        self._ladder = ladder
        self._gossips = gossips
        self._now = now
        self._telling: defaultdict[str, Telling] = defaultdict(Telling)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            for npub, session in self._links.sessions.items():
                if all(link.is_suspect for link in session.links):
                    # While its links are not given up yet: a new one replaces them.
                    self._ladder.peer_silent(npub, self._now())
                elif session.has_path("websocket"):
                    self._ladder.peer_up(npub)
                if self._gossips:
                    self._tell(session)

    def _tell(self, session: PeerSession) -> None:
        """Where the peers that have a link answer, by what they say of themselves."""
        linked = {npub: other.best.hello.listen for npub, other in self._links.sessions.items() if other.best}
        told = self._telling[session.npub].due(linked, session.npub, self._now())
        if told is not None:
            session.signal(told)
