"""The relay: its clients, and what keeps it busy. Pure."""

from __future__ import annotations

import msgspec

from meshconsole.core.status.frozen import Frozen


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
    refusals: dict[str, int] = msgspec.field(default_factory=dict)
    """By reason, since the node started; the relay's part of those in the limits."""
    rates: RelayRates = RelayRates()
    kinds: tuple[KindCount, ...] = ()
    keys: tuple[Talker, ...] = ()
    addresses: tuple[Talker, ...] = ()
    slow: tuple[SlowClient, ...] = ()
