"""What a node tells about itself: frozen, replaced whole, and never holding a secret. Pure.

These structs cross the control socket and fill the panes, `meshconsole status` and `--json` alike,
so that the three can never disagree. Times are seconds since the epoch, sizes bytes, rates bytes
per second, unless a name says otherwise.
"""

from __future__ import annotations

from typing import Literal

import msgspec

PeerState = Literal["up", "suspect", "connecting", "down"]
PathName = Literal["websocket", "webrtc", ""]
Severity = Literal["info", "warning", "critical"]
BlobState = Literal["here", "partial", "elsewhere", "fetching", "failed"]


class Frozen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class LinkStatus(Frozen, frozen=True):
    """One live link to a peer."""

    path: PathName
    address: str
    since: float
    rtt_ms: float | None = None
    group: str = ""
    """TLS key-exchange group, e.g. "X25519MLKEM768"."""
    bytes_in: int = 0
    bytes_out: int = 0
    channel: str = ""
    """Label of the data channel, for WebRTC."""


class PeerStatus(Frozen, frozen=True):
    """One device of the team, seen from here. `npub` is 64 lowercase hex characters."""

    npub: str
    name: str
    role: str
    state: PeerState
    links: tuple[LinkStatus, ...] = ()
    hears_us: bool | None = None
    last_heard: float | None = None
    lag_events: int | None = None
    """Events the peer holds that have not been taken over yet; None while unknown."""
    capabilities: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    last_error: str = ""
    next_try: float | None = None


class StorageStatus(Frozen, frozen=True):
    quota_bytes: int
    events_bytes: int
    blocks_bytes: int
    events_count: int
    blocks_count: int
    pinned_bytes: int = 0
    disk_free_bytes: int = 0
    growth_bps: float = 0.0
    refusing: bool = False
    """True while writes are refused because the quota or the disk is full."""

    @property
    def used_bytes(self) -> int:
        return self.events_bytes + self.blocks_bytes


class LimitsStatus(Frozen, frozen=True):
    """Used and allowed. An allowance of 0 means unlimited."""

    connections: int
    max_connections: int
    rate_in_bps: float
    rate_out_bps: float
    max_rate_bps: float
    memory_bytes: int
    max_memory_bytes: int
    cpu_percent: float
    performance_mode: str
    degraded: tuple[str, ...] = ()
    refusals: dict[str, int] = {}
    """How often each limit or policy said no, by reason, since the node started."""


class RelayStatus(Frozen, frozen=True):
    enabled: bool
    address: str
    public: bool
    clients: int
    subscriptions: int
    events_in: int = 0
    events_out: int = 0
    store: str = ""
    """Where events are kept, in words."""


class TeamStatus(Frozen, frozen=True):
    name: str
    team_id: str
    suite: str
    epoch: int
    role: str
    members: tuple[MemberStatus, ...] = ()
    clients: tuple[ClientStatus, ...] = ()
    rules: tuple[tuple[str, str], ...] = ()
    """Name and value of each rule that the team has set; "-" where it leaves it to the owner."""
    rotation_owed: bool = False
    """The team's key may be held by somebody who may not read any more, until an admin turns it."""


class ClientStatus(Frozen, frozen=True):
    """A plain Nostr key that may use the team's relays. Not post-quantum."""

    npub: str
    name: str
    writes: bool


class MemberStatus(Frozen, frozen=True):
    npub: str
    name: str
    role: str
    fingerprint: str
    me: bool = False


class HealthItem(Frozen, frozen=True):
    code: str
    severity: Severity
    text: str
    remedy: str = ""


class NodeStatus(Frozen, frozen=True):
    """The whole snapshot."""

    version: str
    name: str
    npub: str
    started: float
    now: float
    listen: tuple[str, ...]
    relay: RelayStatus
    storage: StorageStatus
    limits: LimitsStatus
    peers: tuple[PeerStatus, ...] = ()
    team: TeamStatus | None = None
    capabilities: tuple[str, ...] = ()
    provider: str = ""
    discovery: tuple[str, ...] = ()
    """One line for each rung: what it does now or why it does not."""
    health: tuple[HealthItem, ...] = ()


class EventView(Frozen, frozen=True):
    """One event as people read it. `text` is plain, opened where this node can open it."""

    seq: int
    id: str
    npub: str
    author: str
    created_at: int
    received_at: float
    kind: int
    words: str
    size: int
    accepted: bool
    verdict: str
    text: str = ""
    via: str = ""
    sealed: bool = False


class BlobView(Frozen, frozen=True):
    """One file of the team."""

    cid: str
    name: str
    size: int
    sealed_size: int
    author: str
    added_at: float
    present_bytes: int
    state: BlobState
    pinned: bool = False
    error: str = ""
