"""What the node remembers of its own recent past, for charts: in memory alone, and never much of it.

An hour of rates, three days of storage, an hour of each peer's round trips: 0.4 MB at most. Nothing of
it is written: who was linked when is nobody's business after the power is off, and a memory card has
only so many writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.history import History

if TYPE_CHECKING:
    from meshconsole.core.history import Track
    from meshconsole.core.status import LimitsStatus, PeerStatus

RATE_STEP_S, RATES = 10.0, 360
STORAGE_STEP_S, STORAGES = 600.0, 432
RTT_STEP_S, RTTS = 30.0, 120
MAX_PEERS = 64


class Remembering:
    """`now` is in seconds since the epoch."""

    def __init__(self) -> None:
        self._in = History(RATE_STEP_S, RATES)
        self._out = History(RATE_STEP_S, RATES)
        self._stored = History(STORAGE_STEP_S, STORAGES)
        self._rtts: dict[str, History] = {}

    def sample(self, now: float, limits: LimitsStatus, stored_bytes: int) -> None:
        self._in.put(now, limits.rate_in_bps)
        self._out.put(now, limits.rate_out_bps)
        self._stored.put(now, float(stored_bytes))

    def sample_peers(self, now: float, peers: tuple[PeerStatus, ...]) -> None:
        """The best link's round trip of each peer that is linked; the one not heard of longest goes first."""
        for peer in peers:
            rtts = [link.rtt_ms for link in peer.links if link.rtt_ms is not None]
            if not rtts:
                continue
            history = self._rtts.pop(peer.npub, None) or History(RTT_STEP_S, RTTS)
            history.put(now, min(rtts))
            self._rtts[peer.npub] = history
            if len(self._rtts) > MAX_PEERS:
                del self._rtts[next(iter(self._rtts))]

    def tracks(self) -> tuple[Track, ...]:
        return (
            self._in.track("in"),
            self._out.track("out"),
            self._stored.track("stored"),
            *(history.track("rtt", npub) for npub, history in self._rtts.items()),
        )
