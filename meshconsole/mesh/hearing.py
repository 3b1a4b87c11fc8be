"""Whose datagrams are heard here, by which ways, and whether they hear ours. Pure.

This is what tells multicast that is filtered from a peer that is gone, and a link that works in one
direction from a port that is closed. Times are in seconds, monotonic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from meshconsole.mesh.datagrams.messages import Way

LATELY_S = 30.0
MAX_PEERS = 256


class Heard(msgspec.Struct):
    """`address` is where the newest datagram came from, which answers may be sent to."""

    address: str
    at: float
    ways: dict[Way, float] = msgspec.field(default_factory=dict)
    """When each way was open last."""
    hears_us_at: float | None = None
    """When it said last that it hears this node."""
    hears: bytes = b""
    """Whom it said last that it hears: the beginnings of their keys, as in its beacon."""


class Hearing(msgspec.Struct):
    _peers: dict[str, Heard] = msgspec.field(default_factory=dict)

    def heard(
        self, npub: str, address: str, way: Way, now: float, *, hears_us: bool = False, hears: bytes = b""
    ) -> None:
        heard = self._peers.pop(npub, None) or Heard(address, now)
        heard.address, heard.at = address, now
        heard.ways[way] = now
        heard.hears = hears
        if hears_us:
            heard.hears_us_at = now
        self._peers[npub] = heard
        if len(self._peers) > MAX_PEERS:
            del self._peers[next(iter(self._peers))]

    def of(self, npub: str) -> Heard | None:
        return self._peers.get(npub)

    def lately(self, now: float) -> list[str]:
        """Peers (npub) that were heard in the last LATELY_S."""
        return [npub for npub, heard in self._peers.items() if now - heard.at < LATELY_S]

    def ways(self, npub: str, now: float, since: float | None = None) -> tuple[Way, ...]:
        """By which ways it was heard lately, and since then."""
        heard = self._peers.get(npub)
        if heard is None:
            return ()
        lately = ((way, at) for way, at in heard.ways.items() if now - at < LATELY_S)
        return tuple(sorted(way for way, at in lately if since is None or at >= since))

    def hears_us(self, npub: str, now: float) -> bool | None:
        """None while it is not heard itself, so that nobody can tell."""
        heard = self._peers.get(npub)
        if heard is None or now - heard.at >= LATELY_S:
            return None
        return heard.hears_us_at is not None and now - heard.hears_us_at < LATELY_S

    def hears(self, npub: str, now: float) -> bytes:
        """Whom it hears, by its newest beacon; nothing when that is not of lately."""
        heard = self._peers.get(npub)
        return heard.hears if heard is not None and now - heard.at < LATELY_S else b""

    def forget_paths(self) -> None:
        """The network has changed: who was heard where says nothing any more."""
        self._peers.clear()
