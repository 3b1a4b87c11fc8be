"""The parts of the mesh: made here, and joined by what each of them tells the others."""

from __future__ import annotations

import asyncio
import os
import time
from random import Random
from typing import TYPE_CHECKING, Any

from meshconsole.core.config import capabilities
from meshconsole.mesh.afar import Afar
from meshconsole.mesh.asked import Asked
from meshconsole.mesh.board import Board
from meshconsole.mesh.clock import TeamClock
from meshconsole.mesh.control_rows import ControlRows
from meshconsole.mesh.datachannels import DataChannels
from meshconsole.mesh.dialling import Dialler
from meshconsole.mesh.discovery.rungs import Rungs
from meshconsole.mesh.emcon import Emcon
from meshconsole.mesh.flashing import Flashing
from meshconsole.mesh.ice import IceServers
from meshconsole.mesh.join import Doorkeeper
from meshconsole.mesh.known import KnownIds
from meshconsole.mesh.ladder import Ladder
from meshconsole.mesh.linking import Links, Self
from meshconsole.mesh.links.courtesy import COURTESY
from meshconsole.mesh.links.description import ice_servers
from meshconsole.mesh.messages import Describe, Receipt, Signal, Told
from meshconsole.mesh.nearby import Nearby
from meshconsole.mesh.network import NetworkWatch
from meshconsole.mesh.reach.reach import Reach
from meshconsole.mesh.rows import RecentRows
from meshconsole.mesh.snapshots import Snapshots
from meshconsole.mesh.surroundings import Surroundings
from meshconsole.mesh.tending import Tending
from meshconsole.mesh.uplinking import Uplinking

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from meshconsole.core.config import Config
    from meshconsole.core.verdict import Verdict
    from meshconsole.crypto.identity import Identity
    from meshconsole.crypto.tls import LinkCredentials
    from meshconsole.mesh.discovery.cached import AddressStore
    from meshconsole.mesh.discovery.dht import DhtRung
    from meshconsole.mesh.happenings import MeshHappening
    from meshconsole.mesh.links.link import Link
    from meshconsole.mesh.links.pipe import Meters, Pipe
    from meshconsole.mesh.nursery import Nursery
    from meshconsole.mesh.roster import Membership
    from meshconsole.mesh.session import PeerSession
    from meshconsole.mesh.surroundings import Blocks, Cursors
    from meshconsole.relay.relay import Relay


class Parts:
    """What they do together in the life of a node is in `service.py`."""

    def __init__(
        self,
        identity: Identity,
        credentials: LinkCredentials,
        membership: Membership,
        relay: Relay,
        content: Blocks | None,
        config: Config,
        *,
        cursors: Cursors,
        emit: Callable[[MeshHappening], None],
        meter: Meters,
        admit: Callable[[str, str], Verdict],
        clock: Callable[[], float] = time.time,
        team_clock: TeamClock | None = None,
        addresses: AddressStore | None = None,
        random: Random | None = None,
    ) -> None:
        self._identity = identity
        self._credentials = credentials
        self._membership = membership
        self._relay = relay
        self._clock = clock
        self._now = time.monotonic
        self._meter = meter
        self._admit = admit
        self._port = 0
        self._offered = capabilities(config)
        self._libp2p = b""
        self._ephemeral = KnownIds()
        self._runner: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._nursery: Nursery | None = None
        self._random = random or Random()
        # Each on what was made before it. What is made later is named in functions only.
        self._find(config, addresses)
        self._reach_afar(config)
        self._link(content, cursors, emit, team_clock or TeamClock(clock, lambda: "device", self._now))
        self._keep_linked(config)
        self._speak(config, emit)

    def _find(self, config: Config, addresses: AddressStore | None) -> None:
        """Where teammates may be, and whether this node may look for them."""
        self._ladder = Ladder(self._random)
        self._network = NetworkWatch(self._network_changed, self._now)
        self._emcon = Emcon(config.privacy.emcon)
        self._rungs = Rungs(
            config,
            self._membership,
            self._ladder,
            addresses,
            self._network,
            self._emcon,
            changed=self._wake,
            now=self._now,
        )
        self._rungs.make_dht = self._make_dht

    def _make_dht(self) -> DhtRung:
        from meshconsole.mesh.discovery import dht  # only here: it loads libp2p's keys

        return dht.DhtRung(
            self._identity.npub,
            lambda: self._rungs.dht_settings,
            self._membership,
            self._ladder,
            self._meter,
            listen=self._rungs.listen,
            missing=self._missing,
            may_ask=lambda: self._emcon.may_announce,
            changed=self._wake,
            clock=self._around.clock.time,
            now=self._now,
        )

    def _reach_afar(self, config: Config) -> None:
        """Data channels, for teammates whom no address reaches."""
        self._ice = IceServers(
            ice_servers(config.nat),
            may_ask=lambda: (
                self._membership.team is not None and self._emcon.may_send and self._channels.enabled
            ),
            now=self._now,
        )
        self._ice.more_live = lambda: self._channels.network_changed(self._wanted_afar())
        self._afar = Afar(
            self._identity,
            self._membership,
            self._relay,
            self._emcon,
            has_path=lambda: bool(self._links.sessions) or self._uplinks.is_up,
            spawn=self._spawn,
            clock=self._clock,
        )
        self._channels = DataChannels(
            self._identity.npub,
            self._ice.soon_live,
            enabled=config.capabilities.webrtc_hub,
            session=lambda npub: self._links.sessions.get(npub),
            send_far=self._afar.send,
            carry=self._carry_channel,
            spawn=self._spawn,
            admit=self._admit,
            now=self._now,
            random=self._random,
        )

    def _link(
        self,
        content: Blocks | None,
        cursors: Cursors,
        emit: Callable[[MeshHappening], None],
        team_clock: TeamClock,
    ) -> None:
        """Links and the sessions over them, whatever they go over."""
        relay = self._relay
        COURTESY.is_needed = lambda: relay.is_pressed
        self._around = Surroundings(
            relay,
            content,
            cursors,
            RecentRows(relay.store.head_seq),
            KnownIds(16_384),
            Asked(),
            Snapshots(relay.store, lambda: relay.config.max_sync_events),
            ControlRows(relay),
            self._now,
            self._random,
            team_clock,
        )
        self._me = Self(
            self._identity.npub,
            self._identity.mldsa_public,
            os.urandom(8),
            lambda: self._offered,
            self._rungs.listen,
            lambda: self._libp2p,
        )
        self._links = Links(
            self._me,
            self._credentials,
            self._around,
            roster=lambda: self._membership.team,
            meter=self._meter,
            emit=emit,
            clock=self._clock,
            on_signal=self._signal,
            on_echo=lambda session, link, echo: self.reach.receive(session, link, echo),
            keep_beside=self._channels.keep,
            on_linked=self._linked,
            on_unlinked=self._unlinked,
        )

    def _keep_linked(self, config: Config) -> None:
        """Whom this node dials, and how it shows itself to who may dial it."""
        self._tending = Tending(
            self._identity.npub,
            lambda: self._membership.team,
            self._links,
            self._ladder,
            self._rungs.beyond,
            gossips=config.discovery.gossip,
            now=self._now,
        )
        self._dialler = Dialler(
            self._ladder,
            self._links,
            may_dial=lambda: self._membership.team is not None and self._emcon.may_dial,
            wants=self._tending.wants,
            admit=self._admit,
            worked=self._rungs.worked,
            now=self._now,
        )
        self._nearby = Nearby(
            self._me,
            config,
            self._membership,
            self._ladder,
            self._network,
            self._emcon,
            is_linked=self._is_linked,
            changed=self._wake,
            now=self._now,
            random=self._random,
        )

    def _speak(self, config: Config, emit: Callable[[MeshHappening], None]) -> None:
        """What goes beside the log: flash notes, what people ask of the mesh, plain relays, joining."""
        identity, membership, relay = self._identity, self._membership, self._relay
        now, clock = self._now, self._clock
        self.flashing = Flashing(
            identity,
            membership,
            relay,
            self._links,
            self._ladder,
            self._nearby,
            meter=self._meter,
            now=now,
            clock=clock,
        )
        self._board = Board(
            identity.npub,
            membership,
            self._links,
            self._ladder,
            self._channels,
            self._nearby.hearing,
            now,
            clock,
            self._around.clock,
        )
        self.reach = Reach(
            identity.npub,
            self._links,
            self._ladder,
            self._rungs,
            self._nearby.hearing,
            self._emcon,
            self._ice,
            membership,
            config,
            clock=clock,
            now=now,
        )
        self.reach.on_asked = self._channels.try_soon
        self._uplinks = Uplinking(
            identity,
            relay,
            membership,
            meter=self._meter,
            admit=self._admit,
            emcon=self._emcon,
            keep=lambda name, loop: self._links.nursery.keep(name, loop),
            random=self._random,
            now=now,
            clock=clock,
        )
        self._uplinks.urls = config.mesh.uplinks
        self._doorkeeper = Doorkeeper(
            identity,
            self._credentials,
            membership,
            relay,
            meter=self._meter,
            emit=emit,
            joined=self.recheck,
            clock=clock,
            now=now,
        )

    def recheck(self) -> None:
        """The roster has changed: links of removed devices are dropped, strangers may be members."""
        self._links.recheck()
        self._ladder.roster_changed(self._now())
        self._rungs.roster_changed()
        self._nearby.refresh()
        self._uplinks.team_changed()
        self._wake()

    async def _carry_channel(self, npub: str, pipe: Pipe, dialled: bool) -> None:
        link, device = await self._links.open(pipe, dialled=dialled, only=npub)
        await self._links.carry(link, device)

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self._links.nursery.spawn(name, work)

    def _linked(self, npub: str, link: Link) -> None:
        if link.pipe.path == "websocket":
            self._ladder.peer_up(npub)
            self._rungs.told(npub, link)

    def _unlinked(self, npub: str) -> None:
        self._ladder.peer_down(npub, self._now())
        if npub not in self._links.sessions:
            self._rungs.beyond.pop(npub, None)
        self._wake()

    def _wake(self) -> None:
        self._dialler.wake()

    def _network_changed(self) -> None:
        self._links.network_changed(self._network.current.own)
        self._rungs.network_changed()
        self._nearby.network_changed()
        self.flashing.network_changed()
        self._ice.refresh()
        self._channels.network_changed(self._wanted_afar())

    def _wanted_afar(self) -> list[str]:
        return list(filter(self._tending.wants_afar, self._afar.members()))

    def _missing(self) -> list[str]:
        """Teammates without a link."""
        team = self._membership.team
        devices = team.members() if team is not None else ()
        return [
            device.npub
            for device in devices
            if not device.removed and device.npub != self._identity.npub and not self._is_linked(device.npub)
        ]

    def _is_linked(self, npub: str) -> bool:
        session = self._links.sessions.get(npub)
        return session is not None and any(not link.is_suspect for link in session.links)

    def _signal(self, session: PeerSession, message: Signal) -> None:
        match message:
            case Describe():
                self._channels.signal(session.npub, message)
            case Told():
                self._rungs.gossip(session.npub, message)
            case Receipt():
                self.flashing.receipt(message, session)
