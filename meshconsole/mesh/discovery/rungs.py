"""The rungs of discovery together: each puts what it learns into the ladder, and says what it does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from meshconsole.core.errors import MeshconsoleError, Unavailable
from meshconsole.core.text import safe
from meshconsole.mesh.addresses import listen_addresses
from meshconsole.mesh.discovery.cached import AddressBook
from meshconsole.mesh.discovery.gossip import read_told
from meshconsole.mesh.discovery.mdns import MdnsRung
from meshconsole.mesh.endpoints import is_loopback, split_address, with_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from meshconsole.core.config import Config
    from meshconsole.core.sections import P2pSection
    from meshconsole.mesh.attempts import Source
    from meshconsole.mesh.discovery.advertisement import Advertisement
    from meshconsole.mesh.discovery.cached import AddressStore
    from meshconsole.mesh.discovery.dht import DhtRung
    from meshconsole.mesh.emcon import Emcon
    from meshconsole.mesh.ladder import Candidate, Ladder
    from meshconsole.mesh.links.link import Link
    from meshconsole.mesh.messages import Told
    from meshconsole.mesh.network import NetworkWatch
    from meshconsole.mesh.nursery import Nursery
    from meshconsole.mesh.roster import Membership

log = logging.getLogger(__name__)

SAVE_S = 5.0
TOLD_S = 1.0
"""Between two tellings of one peer that are listened to."""
"""At least so long between two savings of the address book. The first comes at once."""
MAX_TROUBLES = 5


class Rungs:
    """`changed` is called when something new is worth dialling. `now` is monotonic."""

    def __init__(
        self,
        config: Config,
        membership: Membership,
        ladder: Ladder,
        store: AddressStore | None,
        network: NetworkWatch,
        emcon: Emcon,
        *,
        changed: Callable[[], None],
        now: Callable[[], float],
    ) -> None:
        self._config = config
        self._membership = membership
        self._ladder = ladder
        self._store = store if config.discovery.cached_peers else None
        self._changed = changed
        self._network = network
        self._now = now
        self._book = AddressBook()
        self._port = 0
        self._emcon = emcon
        self._is_public = False
        self._may_have_changed = asyncio.Event()
        """Whether mDNS may run: a team, or what may be sent."""
        self._unsaved = asyncio.Event()
        self._marked: dict[str, bool] = {}
        """By the id of each node that mDNS sees now: whether it carries the team's mark."""
        self._told: dict[str, float] = {}
        self.beyond: dict[str, frozenset[str]] = {}
        """By peer, the devices that it has links to, as it said last."""
        self.make_dht: Callable[[], DhtRung] | None = None
        """Set before the start."""
        self.dht: DhtRung | None = None
        """None while discovery.dht is off."""
        self._is_dht_on = False
        self._dht_work: asyncio.Task[None] | None = None
        self._nursery: Nursery | None = None
        self.dht_settings: P2pSection | None = None
        """None where the owner or the team does not allow public discovery."""
        self._mdns: MdnsRung | None = None
        if config.discovery.mdns:
            self._mdns = MdnsRung(
                tag=self._tag,
                listen=self.listen,
                is_public=lambda: self._is_public,
                found=self._advertised,
                lost=self._withdrawn,
            )

    async def prepare(self, port: int) -> None:
        """Before anything is dialled. `port` is where this node's server answers."""
        self._port = port
        if self._store is not None:
            self._book = AddressBook.of(await asyncio.to_thread(self._store.load))
        self.roster_changed()
        for npub, addresses in self._book.all().items():
            for address in addresses:
                self._ladder.offer(address, "cached", self._now(), npub=npub)

    def start(self, nursery: Nursery) -> None:
        nursery.keep("saving addresses", self._keep_saving)
        if self._mdns is not None:
            nursery.keep("mDNS", self._run_mdns)
        self._nursery = nursery
        self._keep_dht()

    def listen(self) -> tuple[str, ...]:
        """Where this node answers."""
        return listen_addresses(self._config.node.listen, self._port, self._network.current.hosts)

    def offer(self, addresses: Iterable[str], source: Source) -> None:
        if source == "invite" and not self._config.discovery.invite:
            return
        for address in addresses:
            self._ladder.offer(address, source, self._now())
        self._changed()

    def told(self, npub: str, link: Link) -> None:
        """A peer has said on a link where it answers."""
        addresses = list(link.hello.listen)
        if not link.dialled and addresses:
            # Where it came from is an address that works in this network, whatever it says of itself.
            with contextlib.suppress(Unavailable):
                addresses.append(with_port(link.address, split_address(addresses[0])[1]))
        for address in addresses:
            if is_loopback(address) and not is_loopback(link.address):
                continue
            with contextlib.suppress(Unavailable):
                split_address(address)
                self._ladder.offer(address, "peer", self._now(), npub=npub)

    def worked(self, npub: str, address: str) -> None:
        """A dialled address has led to a member."""
        self._book.worked(npub, address)
        if self._book.is_dirty:
            self._unsaved.set()

    def is_ours(self, ephemeral_id: str, tag: str) -> bool:
        """Whether an announcement carries the team's mark."""
        try:
            return tag != "" and tag == self._tag(bytes.fromhex(ephemeral_id))
        except ValueError:
            return False

    def remembered(self, npub: str) -> list[str]:
        """Addresses that led to the device before, the newest first."""
        return self._book.all().get(npub, [])

    def roster_changed(self) -> None:
        team = self._membership.team
        self._may_have_changed.set()
        if team is not None:
            live = {device.npub for device in team.members() if not device.removed}
            for npub in self._book.all().keys() - live:
                self._book.forget(npub)
                self._unsaved.set()
        for rung in (self._mdns, self.dht):
            if rung is not None:
                rung.refresh()

    def network_changed(self) -> None:
        """Whatever was true of the network is in doubt."""
        self._ladder.network_changed(self._now())
        for rung in (self._mdns, self.dht):
            if rung is not None:
                rung.refresh()
        self._changed()

    def tell_strangers(self, *, on: bool) -> None:
        """Whether they may hear where the relay answers, from now on."""
        if on != self._is_public:
            self._is_public = on
            if self._mdns is not None:
                self._mdns.refresh()

    def allow_dht(self, settings: P2pSection | None, *, on: bool) -> None:
        """Which DHT may be asked from now on, None: none; and whether the owner has switched it on."""
        self.dht_settings, self._is_dht_on = settings, on
        self._keep_dht()
        if self.dht is not None:
            self.dht.refresh()

    def _keep_dht(self) -> None:
        """The rung is made when it is switched on, for it loads much, and ended when it is switched off."""
        if not self._is_dht_on:
            if self._dht_work is not None:
                self._dht_work.cancel()
            self.dht = self._dht_work = None
        elif self._nursery is not None and self.make_dht is not None and self.dht is None:
            self.dht = self.make_dht()
            self._dht_work = self._nursery.keep("DHT", self.dht.run)

    def emcon_changed(self) -> None:
        self._may_have_changed.set()
        if self.dht is not None:
            self.dht.refresh()

    def gossip(self, npub: str, told: Told) -> None:
        """A peer has said where others of the team answer, to which it has links."""
        self.beyond[npub] = frozenset(other.hex() for other, _ in told.peers)
        team, now = self._membership.team, self._now()
        if team is None or not self._config.discovery.gossip or now - self._told.get(npub, -TOLD_S) < TOLD_S:
            return
        self._told[npub] = now
        for other, address in read_told(told):
            device = team.member(other)
            if device is not None and not device.removed and other != npub and not is_loopback(address):
                self._ladder.offer(address, "gossip", self._now(), npub=other)
        self._changed()

    async def save(self) -> None:
        if self._store is None or not self._book.is_dirty:
            return
        self._book.is_dirty = False
        try:
            await asyncio.to_thread(self._store.save, self._book.all())
        except MeshconsoleError as error:
            self._book.is_dirty = True
            self._unsaved.set()
            log.warning("addresses were not saved: %s", error.sentence)

    def lines(self) -> tuple[str, ...]:
        """One for each rung: what it does now, or why it does not."""
        found, count = self._config.discovery, self._ladder.count
        lines = [
            self._mdns_line(),
            f"cached: {plural(count('cached'), 'address')} that worked before",
            f"invite: {plural(count('invite'), 'address')}",
            f"peers: {plural(count('peer'), 'address')} told by teammates themselves",
            f"gossip: {plural(count('gossip'), 'address')} told by others",
        ]
        if not found.cached_peers:
            lines[1] = "cached: switched off"
        if not found.invite:
            lines[2] = "invite: switched off"
        if not found.gossip:
            lines[4] = "gossip: switched off"
        if self.dht is not None:
            lines.append(f"dht: {self.dht.line}; {plural(count('dht'), 'address')}")
        return (*lines, *self._troubles())

    def _troubles(self) -> list[str]:
        """What came of addresses that no known peer is behind; those of peers stand in the peers' rows."""
        nobody = [c for c in self._ladder.candidates() if not c.npub and c.last_error]
        nobody.sort(key=lambda c: -(c.last_try or 0.0))
        return [self._trouble(candidate) for candidate in nobody[:MAX_TROUBLES]]

    def _trouble(self, candidate: Candidate) -> str:
        address = safe(candidate.address, 60)
        if candidate.outcome == "self":
            return f"{address}: this node itself"
        wait_s = max(0.0, candidate.next_try - self._now())
        return f"{address}: {safe(candidate.last_error, 120)} Next try in {wait_s:.0f} s."

    def _mdns_line(self) -> str:
        if self._mdns is None:
            return "mdns: switched off"
        if self._membership.team is None:
            return "mdns: waits until this node has a team"
        if not self._emcon.may_announce:
            return "mdns: silent, as privacy.emcon says"
        ours = sum(self._marked.values())
        return f"mdns: {self._mdns.line}; {plural(len(self._marked), 'node')} seen, {ours} of this team"

    async def _run_mdns(self) -> None:
        """zeroconf cannot listen without asking, so mDNS runs only while this node may show itself."""
        while True:
            self._may_have_changed.clear()
            running = asyncio.create_task(self._mdns.run()) if self._mdns and self._may_announce() else None
            try:
                await self._until(announcing=not self._may_announce())
            finally:
                if running is not None:
                    running.cancel()
                    await asyncio.wait([running])

    async def _until(self, *, announcing: bool) -> None:
        while self._may_announce() != announcing:
            self._may_have_changed.clear()
            await self._may_have_changed.wait()

    def _may_announce(self) -> bool:
        return self._membership.team is not None and self._emcon.may_announce

    def _tag(self, ephemeral_id: bytes) -> str:
        """The empty string for a device that holds no team key: one of role "relay"."""
        team = self._membership.team
        try:
            return team.rendezvous_tag(ephemeral_id) if team is not None else ""
        except MeshconsoleError:
            return ""

    def _advertised(self, seen: Advertisement) -> None:
        # Without the team's mark it may still be a teammate: of an older epoch, or one without the key.
        is_marked = self.is_ours(seen.id, seen.tag)
        self._marked[seen.id] = is_marked
        for address in seen.addresses:
            self._ladder.offer(address, "mdns", self._now(), group=seen.id, is_proven=is_marked)
        self._changed()

    def _withdrawn(self, seen: Advertisement) -> None:
        self._marked.pop(seen.id, None)
        for address in seen.addresses:
            self._ladder.withdraw(address)

    async def _keep_saving(self) -> None:
        while True:
            await self._unsaved.wait()
            self._unsaved.clear()
            await self.save()
            await asyncio.sleep(SAVE_S)


def plural(count: int, word: str) -> str:
    """1 address, 2 addresses."""
    if count == 1:
        return f"1 {word}"
    return f"{count} {word}es" if word.endswith("s") else f"{count} {word}s"
