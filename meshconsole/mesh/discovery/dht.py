"""The DHT rung: the team's devices leave their addresses at a place that only they know, and look there.

It runs only where the owner has switched it on (discovery.dht), public discovery is allowed by owner and
team, there are servers to begin with (p2p.dht_servers), and this node may show itself. It listens nowhere:
it asks under short-lived keys of its own, apart from this node's libp2p peer id.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from typing import TYPE_CHECKING, NamedTuple

from meshconsole.core.address_space import is_private, is_public
from meshconsole.core.errors import MeshconsoleError, Unavailable
from meshconsole.mesh.discovery.rendezvous import (
    days_to_ask,
    days_to_tell,
    place,
    record_of,
    short_lived_key,
    teammates_among,
)
from meshconsole.mesh.endpoints import split_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from meshconsole.content.libp2p.dht import Dht
    from meshconsole.content.libp2p.keys import OwnKey
    from meshconsole.core.sections import P2pSection
    from meshconsole.mesh.ladder import Ladder
    from meshconsole.mesh.links.pipe import Meter
    from meshconsole.mesh.roster import Membership

log = logging.getLogger(__name__)

ASK_S = 600.0
"""Between two looks while a teammate is not linked."""
TELL_S = 6 * 3600.0
"""Servers forget a record after a day or two."""
RETRY_S = 120.0
GAP_S = 30.0
"""Between two rounds, whatever changes."""
KEYS_ASKED = 2
"""Epochs: teammates may not have heard of the newest yet."""
MAX_PROVIDERS = 256


class DhtRung:
    """`settings` are those of the DHT, None while public discovery is not allowed. `listen` is where this
    node answers, `missing` the teammates without a link, `may_ask` whether anything may be sent now,
    `clock` seconds since the epoch, `now` monotonic."""

    def __init__(
        self,
        npub: str,
        settings: Callable[[], P2pSection | None],
        membership: Membership,
        ladder: Ladder,
        meter: Meter,
        *,
        listen: Callable[[], tuple[str, ...]],
        missing: Callable[[], list[str]],
        may_ask: Callable[[], bool],
        changed: Callable[[], None],
        clock: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self._npub = npub
        self._settings = settings
        self._membership = membership
        self._ladder = ladder
        self._meter = meter
        self._listen = listen
        self._missing = missing
        self._may_ask = may_ask
        self._changed = changed
        self._clock = clock
        self._now = now
        self._due = asyncio.Event()
        self._changes = asyncio.Event()
        """As `_due`, for a round that is under way."""
        self._told: _Told | None = None
        self._told_at = 0.0
        self._told_to = 0
        self._line = "starting"

    @property
    def line(self) -> str:
        """What the rung does now, or why it does not."""
        if why := self._why_not():
            return why
        return self._line

    def refresh(self) -> None:
        """What may be sent, the team's key or addresses have changed."""
        self._due.set()
        self._changes.set()

    async def run(self) -> None:
        while True:
            self._due.clear()
            pause = RETRY_S
            if not self._why_not():
                began = self._now()
                pause = await self._one_round()
                if self._due.is_set():  # something has changed meanwhile
                    await asyncio.sleep(max(0.0, began + GAP_S - self._now()))
                    continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if self._why_not() else pause):
                    await self._due.wait()

    async def _one_round(self) -> float:
        """Silence holds at once: a round that is under way is broken off."""
        work = asyncio.create_task(self._round())
        try:
            while not work.done() and not self._why_not():
                news = asyncio.create_task(self._changes.wait())
                await asyncio.wait([work, news], return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
                self._changes.clear()
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait([work])
        if work.cancelled():
            return 0.0
        try:
            return work.result()
        except MeshconsoleError as error:
            self._line = f"{error.sentence} Next try in {RETRY_S:.0f} s"
            log.info("dht: %s", error.sentence)
            return RETRY_S

    def _why_not(self) -> str:
        settings = self._settings()
        if settings is None:
            return "off, as privacy.allow_public_discovery or the team's rule says"
        if settings.dht == "off" or not settings.dht_servers:
            return "waits for p2p.dht and p2p.dht_servers to be set"
        if self._membership.team is None:
            return "waits until this node has a team"
        if not self._may_ask():
            return "silent, as privacy.emcon says"
        if not self._membership.team.datagram_keys():
            return "this device holds no key of the team"
        return ""

    async def _round(self) -> float:
        """Tells and looks. Returns how long there is nothing to do. Raises MeshconsoleError."""
        team = self._membership.team
        assert team is not None
        keys, now = team.datagram_keys(), self._clock()
        told = await self._tell(keys[0], now)
        devices, servers = 0, 0
        if missing := self._missing():
            for key in keys[:KEYS_ASKED]:
                for day in days_to_ask(now):
                    found, asked = await self._look(key, day, missing)
                    devices, servers = devices + found, max(servers, asked)
        looked = (
            f"{servers} servers asked, {devices} records of teammates found" if missing else "nobody missing"
        )
        self._line = f"{looked}; own record with {told} servers"
        return ASK_S

    async def _tell(self, key: bytes, now: float) -> int:
        """How many servers have this node's record. What none has taken is told again in the next round."""
        told = _Told(key, days_to_tell(now), self._own_addresses())
        if self._told == told and self._now() - self._told_at < TELL_S:
            return self._told_to
        counts: list[int] = []
        for day in told.days if told.addresses else ():
            async with self._client(short_lived_key(key, day, self._npub)) as dht:
                counts.append(await dht.provide(place(key, day), record_of(told.addresses)))
        self._told_to = max(counts, default=0)
        self._told, self._told_at = (told if all(counts) else None), self._now()
        return self._told_to

    async def _look(self, key: bytes, day: int, missing: list[str]) -> tuple[int, int]:
        """How many teammates' records there were, and how many servers answered."""
        async with self._client(short_lived_key(key, day, self._npub)) as dht:
            providers = await dht.providers(place(key, day), MAX_PROVIDERS)
            found = teammates_among(providers, key, day, missing)
            for npub, addresses in found.items():
                for address in addresses:
                    if self._fits(address):
                        self._ladder.offer(address, "dht", self._now(), npub=npub)
            if found:
                self._changed()
            return len(found), dht.last_asked

    def _own_addresses(self) -> tuple[str, ...]:
        return tuple(address for address in self._listen() if self._fits(address))

    def _fits(self, address: str) -> bool:
        """Private addresses say nothing in the public network, and public ones nothing in a private one."""
        try:
            ip = ipaddress.ip_address(split_address(address)[0].partition("%")[0])
        except (ValueError, MeshconsoleError):
            return False
        settings = self._settings()
        is_in_public = settings is not None and settings.dht == "public"
        return is_public(ip) if is_in_public else is_private(ip)

    @contextlib.asynccontextmanager
    async def _client(self, own: OwnKey) -> AsyncIterator[Dht]:
        from meshconsole.content.libp2p.dht import Dht
        from meshconsole.content.libp2p.host import Bounds, Host, Rules
        from meshconsole.content.libp2p.kademlia import LAN, PUBLIC
        from meshconsole.content.libp2p.multiaddr import Multiaddr

        settings = self._settings()
        if settings is None:
            raise Unavailable("Public discovery was switched off.")
        rules = Rules(
            judge=lambda _, dialled: "stranger" if dialled else None,
            admit=lambda _: "",
            up=lambda _: None,
            down=lambda _: None,
        )
        host = Host(own, rules, self._meter, Bounds(), agent="")  # which program asks is nobody's business
        servers = [Multiaddr.parse(text) for text in settings.dht_servers]
        try:
            yield Dht(host, PUBLIC if settings.dht == "public" else LAN, servers)
        finally:
            await host.stop()


class _Told(NamedTuple):
    key: bytes
    days: tuple[int, ...]
    addresses: tuple[str, ...]
