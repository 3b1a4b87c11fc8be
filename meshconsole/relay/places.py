"""Places at the relay's door: who may hold a connection, how many, and who gives way. Pure.

Laws:
- A network (an IPv4 address, or the /64 of an IPv6 one) holds a bounded number of places, and takes new
  ones at a bounded rate. This machine itself is exempt: behind its address may stand a proxy or a
  tunnel with everybody. So are the routes of other rooms, which bound their own handshakes by host.
- The number of unfinished handshakes is bounded. A newcomer is never refused for it: the network
  with the most of them loses its oldest one, so whoever starts handshakes and does not finish them
  displaces himself.
- Where clients must say who they are, those who have not hold a share of the places at most; the one
  who was silent about it the longest gives way, never before he had time to log in.

Whoever is turned away is told: `Verdict` and HTTP status are in the words of this module.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from meshconsole.core.limits import TokenBucket
from meshconsole.core.verdict import Verdict, refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.core.sections import LimitsSection

MAX_NETWORKS = 4096
"""Networks whose rate is remembered; of more, those that came longest ago are forgotten."""

RATE_BURST = 0.5
"""Of a minute's new connections, this part may come at once."""

LOGIN_GRACE_S = 10.0
"""A client that has not proven a key keeps its place for so long at least."""


class TurnedAway(NamedTuple):
    status: HTTPStatus
    verdict: Verdict


@dataclass(slots=True, eq=False)
class Place:
    """One TCP connection."""

    network: str
    since: float
    counts: bool = True
    """Against what its network may hold."""


@dataclass(slots=True)
class _Network:
    places: int = 0
    """Those that count."""
    handshakes: dict[Place, None] = field(default_factory=dict)
    """Oldest first."""


class Places:
    """`now` is monotonic, in seconds."""

    def __init__(self, limits: LimitsSection) -> None:
        self._limits = limits
        self._networks: dict[str, _Network] = {}
        self._rates: dict[str, TokenBucket] = {}
        self._handshakes: dict[Place, None] = {}
        self._clients: dict[Place, None] = {}

    def apply(self, limits: LimitsSection) -> None:
        self._limits = limits
        for bucket in self._rates.values():
            self._set_rate(bucket)

    @property
    def handshakes(self) -> int:
        return len(self._handshakes)

    @property
    def networks(self) -> int:
        """Networks that are remembered for any reason."""
        return len(self._networks.keys() | self._rates.keys())

    def knock(self, address: str, now: float, *, exempt: bool = False) -> Place | TurnedAway:
        """A connection was accepted from `address`. A proxy is exempt: everybody may stand behind it."""
        network, is_this_machine = network_of(address)
        counts = not (exempt or is_this_machine)
        if counts:
            turned_away = self._too_many(network, now)
            if turned_away is not None:
                return turned_away
        place = Place(network, now, counts=counts)
        self._take_in(place)
        return place

    def move(self, place: Place, address: str, now: float) -> TurnedAway | None:
        """The connection is really that of `address`. Where that network has too many it stays as it is."""
        network, is_this_machine = network_of(address)
        if not is_this_machine:
            turned_away = self._too_many(network, now)
            if turned_away is not None:
                return turned_away
        self.leave(place)
        place.network, place.counts = network, not is_this_machine
        self._take_in(place)
        return None

    def _take_in(self, place: Place) -> None:
        held = self._networks.setdefault(place.network, _Network())
        held.places += place.counts
        held.handshakes[place] = None
        self._handshakes[place] = None

    def displaced(self) -> Place | None:
        """The handshake that is to end because there are too many of them, after a knock."""
        if len(self._handshakes) <= self._limits.max_handshakes:
            return None
        return next(iter(max(self._networks.values(), key=_unfinished).handshakes))

    def pending(self) -> list[Place]:
        """Unfinished handshakes, oldest first."""
        return list(self._handshakes)

    def overdue(self, now: float) -> list[Place]:
        """Handshakes that took too long."""
        allowed = self._limits.handshake_timeout_s
        return [place for place in self._handshakes if now - place.since >= allowed]

    def enter(self, place: Place, kind: str) -> None:
        """The handshake is done. Every kind but "client" is a route of another room."""
        if kind == "client":
            self._clients[place] = None
        else:
            self._uncount(place)
        self._end_handshake(place)

    def leave(self, place: Place) -> None:
        """Nothing happens the second time."""
        self._clients.pop(place, None)
        self._uncount(place)
        self._end_handshake(place)

    def strangers_are_many(self, is_stranger: Callable[[Place], bool]) -> bool:
        """Whether those who have not said who they are hold their whole share."""
        limits = self._limits
        share = client_places(limits) * limits.max_strangers_percent // 100
        return sum(map(is_stranger, self._clients)) >= max(1, share)

    def yielding(self, now: float, is_stranger: Callable[[Place], bool]) -> Place | None:
        """The client that gives its place to a newcomer, if there is one."""
        for place in self._clients:
            if now - place.since < LOGIN_GRACE_S:
                return None
            if is_stranger(place):
                return place
        return None

    def _too_many(self, network: str, now: float) -> TurnedAway | None:
        limits = self._limits
        held = self._networks.get(network)
        allowed = limits.max_connections_per_ip
        if allowed and held is not None and held.places >= allowed:
            return TurnedAway(
                HTTPStatus.TOO_MANY_REQUESTS,
                refuse("rate-limited", f"at most {allowed} connections from one address; close one first"),
            )
        if not self._rate(network).try_take(1, now):
            rate = limits.new_connections_per_minute
            return TurnedAway(
                HTTPStatus.TOO_MANY_REQUESTS,
                refuse("rate-limited", f"at most {rate} new connections a minute from one address; wait"),
            )
        return None

    def _rate(self, network: str) -> TokenBucket:
        bucket = self._rates.pop(network, None)
        if bucket is None:
            bucket = TokenBucket(0, 0)
            self._set_rate(bucket)
            if len(self._rates) >= MAX_NETWORKS:
                del self._rates[next(iter(self._rates))]
        self._rates[network] = bucket
        return bucket

    def _set_rate(self, bucket: TokenBucket) -> None:
        rate = self._limits.new_connections_per_minute
        bucket.set_rate(rate / 60, max(1.0, rate * RATE_BURST))

    def _end_handshake(self, place: Place) -> None:
        self._handshakes.pop(place, None)
        held = self._networks.get(place.network)
        if held is not None:
            held.handshakes.pop(place, None)
            self._forget_if_empty(place.network, held)

    def _uncount(self, place: Place) -> None:
        held = self._networks.get(place.network)
        if held is not None and place.counts:
            held.places -= 1
            place.counts = False

    def _forget_if_empty(self, network: str, held: _Network) -> None:
        if held.places <= 0 and not held.handshakes:
            del self._networks[network]


def _unfinished(network: _Network) -> tuple[int, float]:
    """How many, then how long the oldest has taken."""
    oldest = next(iter(network.handshakes), None)
    return len(network.handshakes), -oldest.since if oldest is not None else 0.0


TOO_MANY_HANDSHAKES = TurnedAway(
    HTTPStatus.SERVICE_UNAVAILABLE,
    refuse("rate-limited", "too many connections that have not finished their handshake; try again"),
)

HANDSHAKE_TOO_LONG = TurnedAway(
    HTTPStatus.REQUEST_TIMEOUT, refuse("rate-limited", "the handshake took too long; try again")
)

STRANGERS_FULL = refuse(
    "restricted", "all places for clients that have not logged in are in use; try again later"
)

GAVE_WAY = refuse("restricted", "the place was needed; log in (NIP-42) to keep one")


def http_answer(turned_away: TurnedAway) -> bytes:
    """All of it, for connections that no library has seen."""
    status, verdict = turned_away
    body = f"{verdict.sentence}\n"
    return (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: 30\r\nConnection: close\r\n\r\n{body}"
    ).encode()


def client_places(limits: LimitsSection) -> int:
    """A quarter of the connections is kept for the team's links, so that strangers cannot shut it out."""
    return limits.max_connections - limits.max_connections // 4


def network_of(address: str) -> tuple[str, bool]:
    """What counts as one source, and whether it is this machine itself."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address, False  # no address: the connection is gone already
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif not ip.is_loopback:
            # One host may have every address of its /64 (RFC 7421).
            return str(ipaddress.ip_network((ip, 64), strict=False)), False
    return str(ip), ip.is_loopback
