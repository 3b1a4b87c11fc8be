"""What the console knows: the node's last word, and when that was. Pure; `now` is an argument."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from meshconsole.console.pace import Pace
from meshconsole.core.history import History

if TYPE_CHECKING:
    from meshconsole.control.messages import Notice, Progress
    from meshconsole.core.history import Track
    from meshconsole.core.status import BlobView, NodeStatus

LinkState = Literal["connecting", "attached", "silent", "lost", "locked"]

SILENCE_S = 25.0
"""The node gives a sign of life every ten seconds; after this long it is not believed to be well."""


@dataclass(slots=True)
class Model:
    link: LinkState = "connecting"
    reason: str = ""
    """Why the link is not attached, in a sentence."""
    heard: float = 0.0
    """When the node last said anything."""
    status: NodeStatus | None = None
    blobs: dict[str, BlobView] = field(default_factory=dict)
    transfers: dict[str, Progress] = field(default_factory=dict)
    """How far the files are that this console fetches, by cid."""
    paces: dict[str, Pace] = field(default_factory=dict)
    """How fast files come, by cid, whoever fetches them."""
    notices: list[Notice] = field(default_factory=list)
    traffic_in: History = field(default_factory=History)
    traffic_out: History = field(default_factory=History)
    stored: History = field(default_factory=lambda: History(step_s=600.0))
    rtts: dict[str, History] = field(default_factory=dict)
    """Round trips, by npub."""

    @property
    def stale(self) -> bool:
        """What is shown was true once, and may not be now."""
        return self.link != "attached"

    def take_status(self, status: NodeStatus, now: float) -> None:
        self.status = status
        self.heard = now
        self.traffic_in.put(status.now, status.limits.rate_in_bps)
        self.traffic_out.put(status.now, status.limits.rate_out_bps)
        self.stored.put(status.now, float(status.storage.used_bytes))
        for peer in status.peers:
            rtts = [link.rtt_ms for link in peer.links if link.rtt_ms is not None]
            if rtts:
                self.rtts.setdefault(peer.npub, History(step_s=30.0, capacity=120)).put(status.now, min(rtts))

    def take_history(self, tracks: tuple[Track, ...]) -> None:
        """What the node remembers of the time before this console came."""
        for track in tracks:
            if track.name == "rtt":
                self.rtts[track.npub] = History()
            history = {"in": self.traffic_in, "out": self.traffic_out, "stored": self.stored}.get(
                track.name, self.rtts.get(track.npub)
            )
            if history is not None and track.values:
                history.resume(track)

    def take_blobs(self, blobs: tuple[BlobView, ...], now: float, *, whole: bool = False) -> None:
        if whole:
            self.blobs.clear()
        self.blobs.update((blob.cid, blob) for blob in blobs)
        for blob in blobs:
            if blob.state == "fetching":
                pace = self.paces.setdefault(blob.cid, Pace())
                pace.put(now, blob.present_bytes, blob.sealed_size)
            else:
                self.paces.pop(blob.cid, None)

    def take_transfer(self, cid: str, step: Progress, now: float) -> None:
        """A fetch of this console has come so far."""
        self.transfers[cid] = step
        self.paces.setdefault(cid, Pace()).put(now, step.have, step.total or 0)

    def end_transfer(self, cid: str) -> None:
        self.transfers.pop(cid, None)
        self.paces.pop(cid, None)

    def take_notices(self, notices: tuple[Notice, ...]) -> None:
        self.notices = [*self.notices, *notices][-200:]

    def files(self) -> list[BlobView]:
        """Newest first."""
        return sorted(self.blobs.values(), key=lambda blob: (-blob.added_at, blob.cid))

    def is_silent(self, now: float) -> bool:
        return self.link == "attached" and now - self.heard > SILENCE_S
