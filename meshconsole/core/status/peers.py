"""The devices of the team, the relays and the guests that this node is in touch with. Pure."""

from __future__ import annotations

from typing import Literal

from meshconsole.core.status.frozen import Frozen

PeerState = Literal["up", "suspect", "connecting", "down"]
PathName = Literal["websocket", "webrtc", ""]
ClockQuality = Literal["none", "device", "net", "ntp", "gps"]
CLOCK_QUALITIES: tuple[ClockQuality, ...] = ("none", "device", "net", "ntp", "gps")
"""Who set a clock, the worst first: nobody, a battery or a person, the team's devices, NTP, a satellite."""
LinkClass = Literal["full", "events only", "flash only"]
LINK_CLASSES: tuple[LinkClass, ...] = ("full", "events only", "flash only")
"""What a link carries, the most first."""


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
