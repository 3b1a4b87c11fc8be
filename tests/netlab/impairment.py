"""What one direction of one port does to the frames that pass. Pure: time and chance come from outside.

Presets are one-way figures. The conditions from "lan" to "geo" and the nine rungs of LADDER follow the
measured links that two peer-to-peer projects test with (n0-computer's patchbay and iroh's degrade.rs).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

BROADCAST = b"\xff" * 6
ETHERNET = 14
"""Bytes before the network layer's packet."""
_FULL_FRAME = 1500
_IP_TYPES = (b"\x08\x00", b"\x86\xdd")
_BEHIND_IP_HEADER = 34


@dataclass(frozen=True, slots=True)
class Impairment:
    delay_ms: float = 0
    jitter_ms: float = 0
    """Added or taken away at most, evenly distributed."""
    loss_percent: float = 0
    multicast_loss_percent: float = 0
    """Of multicast and broadcast frames, where it is more: Wi-Fi repeats a lost frame to one receiver,
    never one to many."""
    burst_frames: float = 1
    """Mean number of frames that are lost together (Gilbert-Elliott)."""
    reorder_percent: float = 0
    """These overtake: they are not delayed."""
    duplicate_percent: float = 0
    corrupt_percent: float = 0
    """One bit, above the IP header. ARP is left alone: a real card drops a damaged frame."""
    rate_kbps: float = 0
    """0 is unlimited."""
    queue_frames: int = 200
    """Of full size, before the rate drops what comes."""
    mtu: int = 0
    """0 is unlimited. What is larger disappears without a word."""
    carries_multicast: bool = True
    """False: multicast disappears, broadcast passes, as behind a switch with IGMP snooping."""
    carries_broadcast: bool = True
    """False: broadcast IP disappears; ARP passes."""
    is_up: bool = True


PRESETS = {
    "lan": Impairment(),
    "wifi": Impairment(delay_ms=5, jitter_ms=2, loss_percent=0.1),
    "wifi-bad": Impairment(delay_ms=40, jitter_ms=15, loss_percent=2, rate_kbps=20_000),
    "lte": Impairment(delay_ms=25, jitter_ms=8, loss_percent=0.5),
    "3g": Impairment(delay_ms=100, jitter_ms=30, loss_percent=2, rate_kbps=2_000),
    "leo": Impairment(delay_ms=40, jitter_ms=7, loss_percent=1),
    "geo": Impairment(delay_ms=300, jitter_ms=20, loss_percent=0.5, rate_kbps=25_000),
    "hf-modem": Impairment(delay_ms=700, jitter_ms=200, loss_percent=5, rate_kbps=64),
    "radio": Impairment(delay_ms=700, rate_kbps=64, queue_frames=30),
}

LADDER = {
    "good-wifi": Impairment(8, 0, 0.1, burst_frames=3, rate_kbps=100_000),
    "congested-wifi": Impairment(20, 12, 1, burst_frames=6, rate_kbps=25_000),
    "weak-4g": Impairment(45, 15, 2, burst_frames=8, rate_kbps=8_000),
    "slow-3g": Impairment(100, 30, 3, burst_frames=10, rate_kbps=3_000),
    "congested-cellular": Impairment(150, 40, 5, burst_frames=12, rate_kbps=1_500),
    "very-bad-cellular": Impairment(225, 60, 8, burst_frames=20, rate_kbps=800),
    "satellite": Impairment(300, 40, 1.5, burst_frames=6, rate_kbps=25_000),
    "barely-usable": Impairment(225, 80, 12, burst_frames=25, rate_kbps=500),
    "absurd": Impairment(400, 150, 25, burst_frames=40, rate_kbps=256),
}


def is_multicast(frame: bytes) -> bool:
    """Broadcast is a kind of it."""
    return bool(frame[0] & 1)


@dataclass(slots=True)
class Way:
    """One direction of a port: what it does to frames now, and what it did so far (`counts`)."""

    random: Random
    impairment: Impairment = Impairment()
    counts: Counter[str] = field(default_factory=Counter)
    _in_burst: bool = False
    _free_at: float = 0.0

    def change(self, **values: float | bool) -> None:
        self.impairment = replace(self.impairment, **values)  # type: ignore[arg-type]

    def carry(self, frame: bytes, now: float) -> Iterator[tuple[float, bytes]]:
        """When each copy that survives comes out, in seconds on the clock of `now`."""
        does = self.impairment
        reason = self._swallowed(frame)
        if reason:
            self.counts[reason] += 1
            return
        due = self._through_queue(frame, now)
        if due is None:
            self.counts["queue"] += 1
            return
        if does.reorder_percent and self._happens(does.reorder_percent):
            self.counts["reordered"] += 1
        else:
            due += max(0.0, does.delay_ms + self.random.uniform(-1, 1) * does.jitter_ms) / 1000
        frame = self._damaged(frame)
        yield due, frame
        if self._happens(does.duplicate_percent):
            self.counts["duplicated"] += 1
            yield due, frame

    def _swallowed(self, frame: bytes) -> str:
        """Why the frame disappears; "" if it passes."""
        does = self.impairment
        if not does.is_up:
            return "down"
        if not does.carries_multicast and is_multicast(frame) and frame[:6] != BROADCAST:
            return "multicast"
        if not does.carries_broadcast and frame[:6] == BROADCAST and frame[12:14] in _IP_TYPES:
            return "broadcast"
        if does.mtu and len(frame) > does.mtu + ETHERNET:
            return "mtu"
        return "lost" if self._is_lost(is_multicast(frame)) else ""

    def _is_lost(self, to_many: bool) -> bool:
        does = self.impairment
        if to_many and does.multicast_loss_percent > does.loss_percent:
            return self._happens(does.multicast_loss_percent)
        if does.loss_percent and does.burst_frames > 1:
            # Gilbert-Elliott with nothing lost outside of bursts, everything inside.
            share, ends = does.loss_percent / 100, 1 / does.burst_frames
            begins = ends * share / (1 - share) if share < 1 else 1.0
            toss = self.random.random()
            self._in_burst = toss >= ends if self._in_burst else toss < begins
            return self._in_burst
        return self._happens(does.loss_percent)

    def _through_queue(self, frame: bytes, now: float) -> float | None:
        """When the frame has been put on the wire; None if the queue is full."""
        does = self.impairment
        if not does.rate_kbps:
            return now
        bytes_per_s = does.rate_kbps * 125
        start = max(now, self._free_at)
        if (start - now) * bytes_per_s > does.queue_frames * _FULL_FRAME:
            return None
        self._free_at = start + len(frame) / bytes_per_s
        return self._free_at

    def _damaged(self, frame: bytes) -> bytes:
        if frame[12:14] not in _IP_TYPES or len(frame) <= _BEHIND_IP_HEADER + 26:
            return frame
        if not self._happens(self.impairment.corrupt_percent):
            return frame
        self.counts["corrupted"] += 1
        damaged = bytearray(frame)
        damaged[self.random.randrange(_BEHIND_IP_HEADER, len(damaged))] ^= 1 << self.random.randrange(8)
        return bytes(damaged)

    def _happens(self, percent: float) -> bool:
        return percent > 0 and self.random.random() * 100 < percent
