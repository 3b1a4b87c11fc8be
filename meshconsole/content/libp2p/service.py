"""libp2p as the node uses it: who may talk, whom to dial, and what is told of it."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshconsole.content.libp2p.blocks import Blocks, Exchanging
from meshconsole.content.libp2p.dht import Dht
from meshconsole.content.libp2p.finding import Finding
from meshconsole.content.libp2p.host import Bounds, Host, Rules
from meshconsole.content.libp2p.keys import OwnKey, PeerId
from meshconsole.content.libp2p.mdns import Mdns
from meshconsole.content.libp2p.multiaddr import Multiaddr, tcp_address
from meshconsole.content.tasks import Tasks
from meshconsole.core.errors import MeshconsoleError, RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from meshconsole.content.libp2p.connection import Connection, Standing
    from meshconsole.content.libp2p.securing import Meter

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
LOOK_S = 15.0
MAX_TRYING = 8
LOST_FAILURES = 3
"""After so many the DHT is asked where the peer is now."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the owner has set. `peers` are addresses that end in a peer id, or just `/p2p/PEER`."""

    host: str
    port: int
    peers: tuple[str, ...] = ()
    public: bool = False
    mdns: bool = False
    may_show: bool = True
    """Off: it dials nobody and does not show itself, but answers."""
    bounds: Bounds = field(default_factory=Bounds)
    dht: str = ""
    """The protocol of the DHT that is asked: kademlia.PUBLIC or kademlia.LAN; empty: none."""
    dht_servers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class House:
    """What this room asks of the node.

    `teammates` are peer ids of the team's own devices, `admit(host)` is a sentence where no more connections
    are taken. `gives` says whether anybody is given blocks, `gives_strangers` whether those are who are not
    of the team. `own_hosts` are this machine's addresses.
    """

    teammates: Callable[[], Collection[str]]
    admit: Callable[[str], str]
    gives: Callable[[], bool]
    gives_strangers: Callable[[], bool]
    own_hosts: Callable[[], tuple[str, ...]]
    changed: Callable[[], None] = lambda: None
    wanted: Callable[[], Collection[bytes]] = tuple
    """Multihashes of roots that nobody known has."""
    is_teams: Callable[[bytes], bool] = lambda _: True
    """Whether the multihash is of a root of the team's: no stranger learns that it is fetched."""


@dataclass(frozen=True, slots=True)
class PeerLine:
    """One peer that is connected, or ought to be."""

    peer: str
    address: str
    standing: Standing
    connected: bool
    agent: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    error: str = ""


@dataclass(slots=True)
class _Sought:
    addresses: list[Multiaddr]
    failures: int = 0
    next_try: float = 0.0
    error: str = ""


class Libp2p:
    def __init__(
        self, secret: bytes, content: Exchanging, settings: Settings, house: House, meter: Meter
    ) -> None:
        """Raises RemoteError("bad-multiaddr") for a setting that is no address. `secret` has 32 bytes."""
        self._settings = settings
        self._house = house
        self._tasks = Tasks()
        self._news = asyncio.Event()
        self._own: tuple[Multiaddr, ...] = ()
        self._looked_at = 0.0
        self._sought: dict[PeerId, _Sought] = {}
        self._trying: set[PeerId] = set()
        for text in settings.peers:
            self._seek(Multiaddr.parse(text))
        rules = Rules(self._judge, house.admit, self._up, self._down)
        self.host = Host(OwnKey(secret), rules, meter, settings.bounds, self.addresses)
        self._blocks = Blocks(content, self.host, self._may_read, lambda root: not house.is_teams(root))
        self._gave_strangers = self._gives_strangers()
        rules.team = self._blocks.handlers
        if settings.public:
            rules.stranger = self._blocks.handlers
        self.finding = self._make_finding() if settings.dht else None
        self._mdns = Mdns(self.host.own.peer, self.addresses, self._found) if settings.mdns else None

    async def start(self) -> None:
        """Raises Fatal."""
        await self.host.start(self._settings.host, self._settings.port)
        self._tasks.spawn("libp2p dialling", self._keep_dialling())
        if self._mdns is not None and self._settings.may_show:
            self._tasks.spawn("libp2p mDNS", self._mdns.run())
        if self.finding is not None and self._settings.may_show:
            self._tasks.spawn("libp2p DHT", self.finding.run())
        log.info("libp2p: %s", ", ".join(str(each.with_peer(self.peer)) for each in self.addresses()))

    async def stop(self) -> None:
        await self._tasks.stop()
        await self.host.stop()

    @property
    def peer(self) -> PeerId:
        return self.host.own.peer

    def addresses(self) -> tuple[Multiaddr, ...]:
        """Where this node answers, as of some seconds ago at most."""
        now = time.monotonic()
        if not self._own or now - self._looked_at > LOOK_S:
            before, self._own, self._looked_at = self._own, self._look_at_addresses(), now
            if before and before != self._own:
                self.host.tell_all()
        return self._own

    def _look_at_addresses(self) -> tuple[Multiaddr, ...]:
        found: dict[Multiaddr, None] = {}
        for host, port in self.host.listening:
            hosts: Iterable[str] = (host,)
            if host in ("0.0.0.0", "::"):
                hosts = [own for own in self._house.own_hosts() if (":" in own) == (host == "::")]
            found.update(dict.fromkeys(tcp_address(each.partition("%")[0], port) for each in hosts))
        return tuple(found)

    def peers(self) -> tuple[PeerLine, ...]:
        lines = [
            PeerLine(
                str(each.peer),
                str(each.remote),
                each.standing,
                connected=True,
                agent=each.identified.agent,
                bytes_in=each.bytes_in,
                bytes_out=each.bytes_out,
            )
            for each in self.host.all()
        ]
        for peer, sought in self._sought.items():
            if peer not in self.host.connections:
                where = str(sought.addresses[0]) if sought.addresses else ""
                lines.append(PeerLine(str(peer), where, "team", connected=False, error=sought.error))
        return tuple(lines)

    def recheck(self) -> None:
        """Who is of the team may have changed, or what strangers are given."""
        self.host.recheck()
        gave, self._gave_strangers = self._gave_strangers, self._gives_strangers()
        if gave and not self._gave_strangers:
            self.host.let_go_strangers("Strangers are given nothing any more.")
        self._news.set()

    # Who may talk

    def _judge(self, peer: PeerId, dialled: bool) -> Standing | None:
        """Servers of the DHT are strangers whom this node dials; they exchange no blocks for that."""
        if self._is_of_team(peer):
            return "team"
        is_asked = dialled and bool(self._settings.dht)
        return "stranger" if self._settings.public or is_asked else None

    def _is_of_team(self, peer: PeerId) -> bool:
        return peer in self._sought or str(peer) in self._house.teammates()

    def _may_read(self, peer: PeerId) -> bool:
        return self._gives_strangers() or (self._house.gives() and self._is_of_team(peer))

    def _gives_strangers(self) -> bool:
        return self._house.gives() and self._house.gives_strangers()

    def _up(self, connection: Connection) -> None:
        if (sought := self._sought.get(connection.peer)) is not None:
            sought.failures, sought.error = 0, ""
        if connection.standing == "team" or self._settings.public:
            self._blocks.up(connection)
        self._house.changed()

    def _down(self, connection: Connection) -> None:
        self._blocks.down(connection)
        if (sought := self._sought.get(connection.peer)) is not None:
            sought.error = connection.reason
        self._news.set()
        self._house.changed()

    # Whom to dial

    def _seek(self, address: Multiaddr) -> None:
        peer = address.peer
        if peer is None:
            raise RemoteError(
                "bad-multiaddr", f"{address} does not end in /p2p/PEER: anybody could answer there."
            )
        sought = self._sought.setdefault(peer, _Sought([]))
        if len(address.parts) > 1:
            sought.addresses.append(address)

    def _make_finding(self) -> Finding:
        servers = [Multiaddr.parse(text) for text in self._settings.dht_servers]
        dht = Dht(self.host, self._settings.dht, servers)
        return Finding(dht, self._lost, self._wanted, self._found, self._found_provider)

    def _lost(self) -> list[PeerId]:
        return [
            peer
            for peer, sought in self._sought.items()
            if self.host.of(peer) is None and (not sought.addresses or sought.failures >= LOST_FAILURES)
        ]

    def _wanted(self) -> Collection[bytes]:
        """Servers of the DHT are strangers, too."""
        if not self._settings.public:
            return ()
        return [root for root in self._house.wanted() if not self._house.is_teams(root)]

    def _found_provider(self, address: Multiaddr) -> None:
        peer = address.peer
        if peer is not None and self.host.of(peer) is None:
            self._try_found(peer, address)

    def _found(self, address: Multiaddr) -> None:
        """mDNS or the DHT names an address. Of peers of the team alone: others are not dialled."""
        peer = address.peer
        if peer is None or peer == self.peer or self.host.of(peer) is not None or not self._is_of_team(peer):
            return
        if self._settings.may_show:
            self._try_found(peer, address)

    def _try_found(self, peer: PeerId, address: Multiaddr) -> None:
        """One address of a peer at a time, whatever others announce, and never many peers at once. Names are
        not followed: whoever announces one says where it leads."""
        if (
            address.host_port is None
            or address.is_name
            or peer in self._trying
            or len(self._trying) >= MAX_TRYING
        ):
            return
        self._trying.add(peer)
        trying = self._tasks.spawn("libp2p found", self._try(address, _Sought([address])))
        trying.add_done_callback(lambda _: self._trying.discard(peer))

    async def _keep_dialling(self) -> None:
        while True:
            self._news.clear()
            now = time.monotonic()
            if self._settings.may_show:
                for peer, sought in self._sought.items():
                    if sought.addresses and sought.next_try <= now and self.host.of(peer) is None:
                        await self._try(sought.addresses[0], sought)
                        sought.addresses.append(sought.addresses.pop(0))
            self.host.let_go()
            self.addresses()
            try:
                async with asyncio.timeout(self._pause()):
                    await self._news.wait()
            except TimeoutError:
                continue

    def _pause(self) -> float:
        now = time.monotonic()
        waiting = [
            max(0.05, sought.next_try - now)
            for peer, sought in self._sought.items()
            if sought.addresses and self.host.of(peer) is None and self._settings.may_show
        ]
        return min((LOOK_S, *waiting))

    async def _try(self, address: Multiaddr, sought: _Sought) -> None:
        # Counted as failed until the peer has said who it is: one that refuses this node closes after the
        # handshake, and would be dialled every second otherwise.
        sought.failures += 1
        try:
            await self.host.dial(address)
        except MeshconsoleError as error:
            sought.error = error.sentence
            self._house.changed()
        pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(sought.failures, 8))
        sought.next_try = time.monotonic() + pause
