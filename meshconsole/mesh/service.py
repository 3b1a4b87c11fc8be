"""The mesh of this node: finds the team's other devices, keeps links to them, and stays in sync.

Everything runs in one TaskGroup between `start` and `stop`. The failure of a link ends that link, the
failure of a loop is logged and the loop is started again; neither ends the mesh.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused
from meshconsole.core.kinds import SIGNAL
from meshconsole.core.precedence import Precedence, precedence_of
from meshconsole.mesh.datachannels import CAPABILITY as DATA_CHANNELS
from meshconsole.mesh.emcon import SILENCE
from meshconsole.mesh.flashing import VIA_FLASH
from meshconsole.mesh.join import join
from meshconsole.mesh.links.websocket import accepted
from meshconsole.mesh.nursery import Nursery
from meshconsole.mesh.parts import Parts
from meshconsole.mesh.rows import RecentRows, Row
from meshconsole.mesh.surroundings import is_from_a_link, via_name
from meshconsole.mesh.uplinks.via import is_from_an_uplink
from meshconsole.relay.shared import VIA_SHARED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from websockets.asyncio.server import ServerConnection

    from meshconsole.core.event import Event
    from meshconsole.core.sections import EmconLevel, P2pSection
    from meshconsole.core.status import PeerStatus, UplinkStatus
    from meshconsole.mesh.attempts import Source
    from meshconsole.relay.relay import Stored
    from meshconsole.team.invites import Invite

log = logging.getLogger(__name__)

STOP_S = 1.2


class Mesh(Parts):
    """`admit(kind, remote)` guards max_connections, `meter` the bandwidth; `emit` tells the node's bus.

    While `membership` has no team nobody is let in and no link comes to be; `join` works.
    """

    # Life.

    async def start(self, listen_port: int) -> None:
        """`listen_port` is where this node's server answers."""
        self._port = listen_port
        await self._network.prepare()
        await self._rungs.prepare(listen_port)
        started = asyncio.Event()
        self._runner = asyncio.create_task(self._run(started), name="mesh")
        await started.wait()

    async def stop(self) -> None:
        """Says goodbye on every link; returns within two seconds."""
        self._stopping.set()
        if self._runner is not None:
            await self._runner
        await self._rungs.save()

    async def _run(self, started: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            nursery = self._nursery = self._links.nursery = Nursery(group)
            self._around.rows = RecentRows(self._relay.store.head_seq)
            nursery.keep("dialling", self._dialler.run)
            nursery.keep("watching the network", self._network.run)
            nursery.keep("tending links", self._tending.run)
            nursery.keep("flash notes", self.flashing.run)
            nursery.keep("late notes", self.flashing.helping.run)
            nursery.keep("answers to late notes", self.flashing.helping.answer)
            nursery.keep("STUN and TURN servers", self._ice.run)
            nursery.spawn("data channels from afar", self._channels.keep_far(self._wanted_afar))
            self._rungs.start(nursery)
            self._nearby.start(nursery, self._port)
            self._uplinks.apply()
            started.set()
            try:
                await self._stopping.wait()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STOP_S):
                        await self._say_goodbye()
            finally:
                self._nursery = None
                nursery.close()
                self._nearby.stop()

    async def _say_goodbye(self) -> None:
        while self._links.sessions:
            for session in tuple(self._links.sessions.values()):
                session.changed.clear()
                session.close("The node stops.")
                await session.changed.wait()

    def tell_strangers(self, *, on: bool) -> None:
        """Whether strangers near by may be told where the relay answers, from now on."""
        self._rungs.tell_strangers(on=on)

    def offer(self, capabilities: tuple[str, ...]) -> None:
        """What this node offers to others from now on. A Hello tells it, so links are made anew."""
        if capabilities == self._offered:
            return
        self._offered = capabilities
        self._channels.enabled = DATA_CHANNELS in capabilities
        for session in self._links.sessions.values():
            session.close("This device offers something else now.")

    def allow_dht(self, settings: P2pSection | None, *, on: bool) -> None:
        """Which DHT owner and team allow to be asked from now on, None: none; and whether it is on."""
        self._rungs.allow_dht(settings, on=on)

    def show_libp2p(self, peer: bytes) -> None:
        """This device's libp2p peer id, which a Hello vouches for; empty: none. Links are made anew."""
        if peer == self._libp2p:
            return
        self._libp2p = peer
        for session in self._links.sessions.values():
            session.close("This device has another libp2p peer id now.")

    def libp2p_of(self, npub: str) -> bytes:
        """What a teammate's device last said; empty if it has none."""
        record = self._links.records.get(npub)
        return record.libp2p if record is not None else b""

    def set_uplinks(self, urls: tuple[str, ...]) -> None:
        self._uplinks.urls = urls
        if self._nursery is not None:
            self._uplinks.apply()

    def set_emcon(self, level: EmconLevel) -> None:
        """What may be sent from now on. Links are told goodbye; silence is complete within STOP_S."""
        if level == self._emcon.level:
            return
        log.info("emission control: %s", level)
        could_send, self._emcon.level = self._emcon.may_send, level
        self._links.silence = "" if self._emcon.may_send else SILENCE
        self._rungs.emcon_changed()
        self._nearby.refresh()
        if could_send and not self._emcon.may_send and self._nursery is not None:
            self._nursery.spawn("falling silent", self._fall_silent(self._nursery))
        if self._nursery is not None:
            self._uplinks.apply()
        self._wake()

    async def _fall_silent(self, nursery: Nursery) -> None:
        for session in tuple(self._links.sessions.values()):
            session.close(SILENCE)
        await asyncio.sleep(STOP_S)
        if not self._emcon.may_send:
            nursery.cancel("dial ", "answer ", "channel ", "link from ")

    # Events.

    def on_stored(self, stored: Stored) -> None:
        """An event was taken in here, from whomever: passes it on to the peers that lack it."""
        event = stored.event
        sessions = self._links.sessions.values()
        if stored.seq and not sessions:
            self._uplinks.stored(stored)
            self._around.nobody_follows(stored.seq)
            return
        is_local = (
            not is_from_a_link(stored.via)
            and not is_from_an_uplink(stored.via)
            and stored.via not in (VIA_SHARED, VIA_FLASH)
        )
        precedence = precedence_of(event.kind, stored.raw)
        # What is urgent goes at once beside the log, which then need not push it as well.
        push = is_local and precedence > Precedence.PRIORITY
        row = Row(stored.seq, bytes.fromhex(event.id), event.kind, stored.raw, push, precedence)
        if stored.seq:
            self._uplinks.stored(stored)
            self._around.settled.add(row.id)
            self._around.rows.add(row)
            for session in sessions:
                session.stored(row)
        elif row.id not in self._ephemeral:
            self._ephemeral.add(row.id)
            for session in sessions:
                if stored.via != via_name(session.npub):
                    session.pass_on(row)
            self._uplinks.stored(stored)
            signal = self._afar.heard(event) if event.kind == SIGNAL else None
            if signal is not None:
                self._channels.signal(event.pubkey, signal)

    def towards(self, devices: Collection[str]) -> set[str]:
        """Peers that are among the devices, or have links to one of them, as far as they have said."""
        beyond = self._rungs.beyond
        return {
            npub
            for npub in self._links.sessions
            if npub in devices or not beyond.get(npub, frozenset()).isdisjoint(devices)
        }

    # Connections.

    @property
    def connections(self) -> int:
        """Links that are open now, of every kind."""
        return self._links.count

    @property
    def outgoing(self) -> int:
        """Those that do not come through the server: dialled, or over data channels."""
        return self._links.outgoing

    async def accept_mesh(self, connection: ServerConnection) -> None:
        """Handler of the route "/mesh": returns when the link has ended."""
        pipe = accepted(connection)
        if not self._emcon.may_send:
            connection.transport.abort()
            return
        if self._nursery is None or self._membership.team is None:
            await pipe.close("This node has no team, or stops.")
            return
        host = pipe.address.rpartition(":")[0]
        task = self._nursery.spawn(f"link from {pipe.address}", self._links.inbound(pipe, host))
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()

    async def accept_join(self, connection: ServerConnection) -> None:
        """Handler of the route "/join": one attempt to join."""
        if not self._emcon.may_send:
            connection.transport.abort()
            return
        pipe = accepted(connection)
        await self._doorkeeper.answer(pipe, pipe.address.rpartition(":")[0])

    async def join(self, invite: Invite, name: str) -> list[Event]:
        """Asks to join a team. Returns its control events, unjudged. Raises Refused, Unavailable.

        The addresses of the invite are dialled as links once the node has the team and says `recheck`.
        """
        if not self._emcon.may_send:
            raise Refused("restricted", SILENCE, hint="Change it: meshconsole emcon open")
        events = await join(
            invite,
            name,
            self._identity,
            self._credentials,
            meter=self._meter,
            admit=self._admit,
            now=int(self._clock()),
        )
        self.offer_addresses(invite.addresses)
        return events

    def offer_addresses(self, addresses: Iterable[str], source: Source = "invite") -> None:
        """Addresses from an invite or from the owner: dialled soon."""
        self._rungs.offer(addresses, source)

    # Status.

    def status(self) -> tuple[PeerStatus, ...]:
        """Every device of the team but this one; removed ones only while they have a link."""
        return self._board.rows()

    def uplinks(self) -> tuple[UplinkStatus, ...]:
        return self._uplinks.status()

    def discovery_lines(self) -> tuple[str, ...]:
        """One line for each rung: what it does now, or why it does not."""
        silence = (self._emcon.line,) if self._emcon.line else ()
        return (*silence, self._nearby.line(), *self._rungs.lines(), *self._ice.lines())
