"""Programs that are not meshconsole: IPFS nodes over libp2p, and what comes over the HTTP edge. Pure."""

from __future__ import annotations

import msgspec

from meshconsole.core.status.frozen import Frozen


class Libp2pPeer(Frozen, frozen=True):
    """A peer that runs IPFS: connected, or one that ought to be."""

    peer: str
    """Its peer id."""
    name: str
    """Of the team's device that it is, if it is one."""
    address: str
    team: bool
    connected: bool
    agent: str = ""
    """What it says of its program."""
    bytes_in: int = 0
    bytes_out: int = 0
    note: str = ""
    """Why it is not connected."""


class Libp2pStatus(Frozen, frozen=True):
    peer: str
    """This node's peer id."""
    addresses: tuple[str, ...] = ()
    """Where it answers, as others dial it."""
    peers: tuple[Libp2pPeer, ...] = ()
    dht: str = ""
    """What came of asking the DHT last; empty: it is not asked."""
    refused: dict[str, int] = msgspec.field(default_factory=dict)
    """Connections that were refused or broken off at the door, by reason."""
    trouble: str = ""
    """Why nothing of it works."""


class EdgePart(Frozen, frozen=True):
    """One of the ways in which other programs reach the content store. `requests` since the start."""

    name: str
    on: bool
    requests: int = 0


class EdgeStatus(Frozen, frozen=True):
    """The HTTP edge. `connections` are those that are open now."""

    address: str
    connections: int
    parts: tuple[EdgePart, ...] = ()


class EdgeToken(Frozen, frozen=True):
    """`pins` are the requests that it has made; `used` is None for one that never was."""

    name: str
    made: float
    used: float | None
    pins: int


class EdgePin(Frozen, frozen=True):
    """What was asked for over the pinning service. `status` is queued, pinning, pinned or failed, and
    `error` why it failed."""

    id: str
    token: str
    cid: str
    name: str
    status: str
    error: str
    made: float
