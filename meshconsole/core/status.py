"""What a node tells about itself: frozen, replaced whole, and never holding a secret. Pure.

These structs cross the control socket and fill the panes, `meshconsole status` and `--json` alike,
so that the three can never disagree. Times are seconds since the epoch, sizes bytes, rates bytes
per second, unless a name says otherwise.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from meshconsole.core.sections import EmconLevel  # noqa: TC001 - msgspec reads the annotation

PeerState = Literal["up", "suspect", "connecting", "down"]
PathName = Literal["websocket", "webrtc", ""]
ClockQuality = Literal["none", "device", "net", "ntp", "gps"]
CLOCK_QUALITIES: tuple[ClockQuality, ...] = ("none", "device", "net", "ntp", "gps")
"""Who set a clock, the worst first: nobody, a battery or a person, the team's devices, NTP, a satellite."""
LinkClass = Literal["full", "events only", "flash only"]
LINK_CLASSES: tuple[LinkClass, ...] = ("full", "events only", "flash only")
"""What a link carries, the most first."""
Severity = Literal["info", "warning", "critical"]
BlobState = Literal["here", "partial", "elsewhere", "fetching", "paused", "failed"]
RollAnswer = Literal["ok", "help", "out"]
RollWord = Literal["", "ask", "ok", "help", "out"]
RollState = Literal["ok", "help", "out", "carried", "silent"]
JobState = Literal["waiting", "fetching", "paused", "done", "failed"]


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
    loss_percent: float | None = None
    """Of the last pings, those that were not answered in time; None while too few were sent."""
    relayed: bool = False
    """It goes through a TURN server."""


class AttemptStatus(Frozen, frozen=True):
    """One dial of an address where a peer was thought to be."""

    source: str
    """The rung of discovery that named it: mdns, beacon, cached, invite, peer, gossip or config."""
    address: str
    at: float
    outcome: str
    """trying, linked, failed, stranger or self."""
    error: str = ""
    took_s: float = 0.0


class PeerStatus(Frozen, frozen=True):
    """One device of the team, seen from here. `npub` is 64 lowercase hex characters."""

    npub: str
    name: str
    role: str
    state: PeerState
    links: tuple[LinkStatus, ...] = ()
    hears_us: bool | None = None
    """Over its links; without a link: whether its beacons say so."""
    heard_by: tuple[str, ...] = ()
    """By which ways its datagrams were heard lately: multicast-4, multicast-6, broadcast, answer, unicast."""
    last_heard: float | None = None
    lag_events: int | None = None
    """Events the peer holds that have not been taken over yet; None while unknown."""
    lag_bytes: int | None = None
    """Bytes of those of them that the peer has offered so far."""
    clock_offset_s: float | None = None
    """Its clock minus this one's; None while unknown."""
    clock: ClockQuality | None = None
    """What it holds of its own clock."""
    carries: LinkClass = "full"
    """What its link is good enough for; what it is not good for waits."""
    capabilities: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    last_error: str = ""
    next_try: float | None = None
    attempts: tuple[AttemptStatus, ...] = ()
    """The last dials, the newest first."""
    via: str = ""
    """For a device without a link: how its newest event came here. "carried", or the name of the device or
    relay that passed it on; "" for not lately."""
    hears: tuple[str, ...] = ()
    """Whom it hears on its own local link, as its beacons say, by npub."""


class SentStatus(Frozen, frozen=True):
    """What became of one note of this device."""

    id: str
    at: float
    precedence: str
    state: str
    """queued; carried N/K: so many of the K devices that read have it; at hub: only devices that pass it on;
    delivered: all have it; read N/K: so many have said that they read it."""
    to: int
    has: tuple[str, ...] = ()
    """By npub, as are the others."""
    lacks: tuple[str, ...] = ()
    read: tuple[str, ...] = ()


GuestState = Literal["waiting", "here", "away"]


class GuestStatus(Frozen, frozen=True):
    """A browser that asks to be a guest, or is one. It is no member and holds no key of the team."""

    npub: str
    name: str
    state: GuestState
    since: float
    """Since it asks, or since it was let in."""
    code: str = ""
    """What it shows while it waits."""
    until: float | None = None
    events: int = 0
    """Notes that were taken from it since it came in."""


UplinkState = Literal["off", "connecting", "comparing", "following", "level", "refused", "waiting"]


class UplinkStatus(Frozen, frozen=True):
    """A plain Nostr relay that carries the team's sealed events."""

    url: str
    state: UplinkState
    since: float | None = None
    """When it was connected; None while it is not."""
    sent: int = 0
    received: int = 0
    refused: int = 0
    """Events that the relay did not want."""
    lag_in: int | None = None
    """Events to be fetched from it; None while unknown."""
    lag_out: int | None = None
    """Events to be sent to it."""
    note: str = ""
    next_try: float | None = None


class StorageStatus(Frozen, frozen=True):
    quota_bytes: int
    events_bytes: int
    blocks_bytes: int
    events_count: int
    blocks_count: int
    pinned_bytes: int = 0
    disk_free_bytes: int = 0
    disk_free_files: int | None = None
    """Files that the disk has room for (inodes); None where it does not say."""
    growth_bps: float = 0.0
    refusing: bool = False
    """True while writes are refused because the quota or the disk is full."""
    audit_bytes: int = 0
    log_bytes: int = 0
    """Of the node's own log, where that is a file in the home."""
    evicted_blocks: int = 0
    """Unpinned blocks that were removed to make room, the least recently used first, since the start."""
    evicted_bytes: int = 0
    handed_on_blocks: int = 0
    """Blocks of files that went through this node between teammates who are not linked, since its start."""
    handed_on_bytes: int = 0
    checked_at: float = 0.0
    """When every block had last been compared with its hash by the node itself; 0 if never."""
    checked_damaged: int = 0
    """How many were damaged then."""
    blocks_at: str = ""
    """Where the blocks are, if not in the home; and with `blocks_trouble`, why they cannot be reached."""
    blocks_trouble: str = ""

    @property
    def used_bytes(self) -> int:
        return self.events_bytes + self.blocks_bytes + self.audit_bytes + self.log_bytes

    @property
    def evictable_bytes(self) -> int:
        """Of files, what may make room: all that is not pinned, the least recently used first."""
        return max(0, self.blocks_bytes - self.pinned_bytes)

    @property
    def full_in_s(self) -> float | None:
        """How long the quota lasts at the growth of the last hour; None while it does not grow."""
        left = max(0, self.quota_bytes - self.used_bytes)
        return left / self.growth_bps if self.growth_bps > 0 else None


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
    """The one that holds, and in brackets why, where the owner chose auto."""
    degraded: tuple[str, ...] = ()
    """What is given up now, and why, in words."""
    steps: tuple[str, ...] = ()
    """The steps of degradation that stand, by name: node/degrading.py."""
    refusals: dict[str, int] = {}
    """How often each limit or policy said no, by reason, since the node started."""
    storage_bytes: int = 0
    max_storage_bytes: int = 0


class RelayRates(Frozen, frozen=True):
    """Per second, averaged over the last seconds."""

    events_in: float = 0.0
    events_out: float = 0.0
    requests: float = 0.0
    bytes_in: float = 0.0
    bytes_out: float = 0.0
    refused: float = 0.0


class KindCount(Frozen, frozen=True):
    """Events of one kind that were taken in; kind -1 is all kinds that are too many to be named."""

    kind: int
    count: int
    per_s: float = 0.0


class Talker(Frozen, frozen=True):
    """Who keeps the relay busy: an author's or a proven key, or the address of clients. Counts are those
    of the last five to ten minutes, and of connections that are open for as long as they are."""

    source: str
    connections: int = 0
    events: int = 0
    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    refused: int = 0


class SlowClient(Frozen, frozen=True):
    """A connection that does not take what it is sent, now."""

    address: str
    npub: str
    unsent_bytes: int
    for_s: float
    """How long it has not caught up."""


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
    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    filters: int = 0
    """Of the open subscriptions."""
    strangers: int = 0
    """Clients that have not logged in, where they must."""
    handshakes: int = 0
    """Connections that have not said yet what they want."""
    queries_cut: int = 0
    """Queries that were broken off because they took too long."""
    slow_closed: int = 0
    """Subscriptions and connections that were ended because they were not read."""
    refusals: dict[str, int] = {}
    """By reason, since the node started; the relay's part of those in the limits."""
    rates: RelayRates = RelayRates()
    kinds: tuple[KindCount, ...] = ()
    keys: tuple[Talker, ...] = ()
    addresses: tuple[Talker, ...] = ()
    slow: tuple[SlowClient, ...] = ()


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
    proposals: tuple[ProposalStatus, ...] = ()
    """What waits for a second admin, the oldest first."""
    rotation_owed: bool = False
    """The team's key may be held by somebody who may not read any more, until an admin turns it."""


class ClientStatus(Frozen, frozen=True):
    """A plain Nostr key that may use the team's relays. Not post-quantum."""

    npub: str
    name: str
    writes: bool


class ProposalStatus(Frozen, frozen=True):
    """Something that an admin wants done and a second one must agree to."""

    id: str
    npub: str
    author: str
    words: str
    made: int
    mine: bool = False
    """Proposed by this device, so that another one must agree."""


class MemberStatus(Frozen, frozen=True):
    npub: str
    name: str
    role: str
    fingerprint: str
    me: bool = False


class RollStatus(Frozen, frozen=True):
    """One device on the board of a roll call."""

    npub: str
    name: str
    state: RollState
    """Its last answer; without one: carried, where the call is known to have come there, else silent."""
    at: float | None = None
    """When it answered, by its own clock."""
    me: bool = False


class RollCallStatus(Frozen, frozen=True):
    """A roll call. `id` is that of the event that asks, `words` what it says."""

    id: str
    npub: str
    author: str
    words: str
    at: float
    owed: bool = False
    """This device is asked and has not answered."""
    board: tuple[RollStatus, ...] = ()


class HealthItem(Frozen, frozen=True):
    """Something that is wrong, and has been for long enough to be said. The codes are in core/health.py."""

    code: str
    severity: Severity
    text: str
    remedy: str = ""
    since: float = 0.0
    hides: tuple[str, ...] = ()
    """Codes of what is wrong because of this, and therefore not told beside it."""

    @property
    def hidden_words(self) -> str:
        return f"Not told beside it: {', '.join(self.hides)}." if self.hides else ""

    @property
    def line(self) -> str:
        """All of it."""
        return " ".join(filter(None, (self.text, self.remedy, self.hidden_words)))


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
    refused: dict[str, int] = {}
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
    suite: str = ""
    """Of this device's keys, and so of any team that it founds or joins."""
    fingerprint: str = ""
    """Of this device's keys."""
    uplinks: tuple[UplinkStatus, ...] = ()
    discovery: tuple[str, ...] = ()
    """One line for each rung: what it does now or why it does not."""
    health: tuple[HealthItem, ...] = ()
    sent: tuple[SentStatus, ...] = ()
    """The newest notes of this device, newest first, and who has them."""
    wss: tuple[str, ...] = ()
    """Where plain clients reach the relay by TLS."""
    emcon: EmconLevel = "open"
    roll_call: RollCallStatus | None = None
    """The newest, with its board."""
    unread: tuple[EventView, ...] = ()
    """Flash notes of others, the oldest first, that nobody has acknowledged here yet."""
    has_passphrase: bool = False
    """It was opened with one, so that a console can lock itself behind it."""
    guests: tuple[GuestStatus, ...] = ()
    libp2p: Libp2pStatus | None = None
    """Other IPFS programs; None where p2p.enable is off."""
    edge: EdgeStatus | None = None
    """Where it is on."""


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
    to: str = ""
    """For whom it is, by name, where it is for one and not for the team."""
    precedence: str = ""
    """Of a note: flash, immediate or priority; "" for routine."""
    roll: RollWord = ""
    """It asks for a roll call, or answers one."""
    about: str = ""
    """The id of the roll call that is answered."""

    @property
    def line(self) -> str:
        """The text, and before it whom it is for."""
        return f"to {self.to}: {self.text}" if self.to else self.text


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
    copies: tuple[str, ...] = ()
    """Names of the devices that hold all of it and count, this one among them."""
    copies_wanted: int = 0
    copies_away: tuple[str, ...] = ()
    """Devices that hold all of it and have been away for too long to count."""

    @property
    def is_short(self) -> bool:
        """There are fewer copies than the team or the owner wants."""
        return len(self.copies) < self.copies_wanted


class JobView(Frozen, frozen=True):
    """One fetch that is not done. `total_bytes` is None until known."""

    cid: str
    name: str
    have_bytes: int
    total_bytes: int | None
    state: JobState
    peers: int = 0
    """How many peers have said that they hold parts of it."""
    error: str = ""
