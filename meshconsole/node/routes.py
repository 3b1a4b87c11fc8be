"""How the newest event of each device came here: what is known of the way to one without a link. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.core.status import PeerStatus

LATELY_S = 900.0
"""After this long the way over others may be another."""
MAX_DEVICES = 1024


class Routes(msgspec.Struct):
    _newest: dict[str, tuple[str, float]] = msgspec.field(default_factory=dict)

    def saw(self, author: str, via: str, at: float) -> None:
        """`via` is as the relay has it: "link NPUB", "import", and so on. Times since the epoch."""
        self._newest.pop(author, None)
        self._newest[author] = via, at
        if len(self._newest) > MAX_DEVICES:
            del self._newest[next(iter(self._newest))]

    def marked(self, peer: PeerStatus, name_of: Callable[[str], str], now: float) -> PeerStatus:
        """The peer, with the way that its newest event took, if it has no link."""
        via, at = self._newest.get(peer.npub, ("", 0.0))
        if peer.links or not via:
            return peer
        kind, _, who = via.partition(" ")
        if kind == "import":
            return msgspec.structs.replace(peer, via="carried")
        if kind not in ("link", "uplink") or who == peer.npub or now - at >= LATELY_S:
            return peer
        return msgspec.structs.replace(peer, via=name_of(who) if kind == "link" else "uplink")
