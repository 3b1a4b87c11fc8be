"""The composition root: every room is made here, joined by the bus, started and stopped in order.

start: database → team → relay → content → mesh → server → control socket, each on what was before;
stop: the other way round. The life of an event and of a file is told in docs/architecture.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.core import kinds
from meshconsole.core.config import serves_clients
from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.event import decode_event
from meshconsole.core.health import Health
from meshconsole.core.verdict import ACCEPTED
from meshconsole.node.applying import Applying
from meshconsole.node.audit.keeping import AuditKeeping
from meshconsole.node.content_room import learn_files, make_content, make_files, make_scrubbing, make_sharing
from meshconsole.node.ground import SWITCHED_OFF, Ground
from meshconsole.node.groups import sharing_groups
from meshconsole.node.guesting import Guesting
from meshconsole.node.happenings import Happenings
from meshconsole.node.libp2p_room import Libp2pRoom
from meshconsole.node.listen import split_listen
from meshconsole.node.measuring import Measuring
from meshconsole.node.reloading import Reloading
from meshconsole.node.report import node_status, pulse_line
from meshconsole.node.state import Cursors, KnownAddresses
from meshconsole.node.supervisor import Supervisor
from meshconsole.node.teamwork import Teamwork
from meshconsole.node.timekeeping import Timekeeping
from meshconsole.node.vouching import Vouching
from meshconsole.node.web_tls import web_certificate
from meshconsole.node.whats_wrong import whats_wrong
from meshconsole.relay.filter import Filter
from meshconsole.relay.server import RelayServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.control.server import ControlHandler, ControlServer
    from meshconsole.core.config import Config
    from meshconsole.core.home import Home
    from meshconsole.core.status import HealthItem, NodeStatus, PeerStatus
    from meshconsole.core.verdict import Verdict
    from meshconsole.crypto.keystore import Secrets
    from meshconsole.node.audit.log import Places
    from meshconsole.node.edge_room import EdgeRoom
    from meshconsole.node.first_boot import InviteFile

log = logging.getLogger(__name__)

RECENT_AT_START = 500


class Node(Ground):
    """One node. Made and run on one event loop; `run` returns when it has stopped in good order."""

    def __init__(
        self,
        home: Home,
        config: Config,
        unlocked: Secrets,
        control: ControlServer,
        commands: Callable[[Node], ControlHandler],
    ) -> None:
        """`commands` answers consoles once everything serves; `control` may serve before, see `Ground`."""
        super().__init__(home, config, unlocked, control)
        self._commands = commands
        self.health = Health()
        self.timekeeping = Timekeeping(self.state, self.clock)
        self.vouching = Vouching(self, unlocked.derive("watermark"))
        self.libp2p = Libp2pRoom(self, unlocked.derive("libp2p"))
        self.guesting = Guesting(self)
        self.applying = Applying(self, self.guesting, self.libp2p)
        self.reloading = Reloading(self, self.applying)
        self.teamwork = Teamwork(self, self.applying, self.libp2p, self.vouching)
        self.audit_keeping = AuditKeeping(
            self.audit,
            home.audit_log,
            unlocked.derive("audit"),
            identity=self.identity,
            record=self.record,
            limit_bytes=lambda: self.governor.audit_limit_bytes,
            is_evidence=lambda: bool(self.vouching.set_back),
            clock=time.time,
        )
        self.happenings = Happenings(self, self.teamwork, self.vouching, self.libp2p, self.audit_keeping)
        self.measuring = Measuring(self, self.look_at_health)
        self.door.counts.append(self._connections)
        self.edge: EdgeRoom | None = None
        self.supervisor: Supervisor | None = None
        self.invite_file: InviteFile | None = None
        self._stopping = asyncio.Event()
        self._stop_reason = ""

    def request_stop(self, reason: str) -> None:
        self._stop_reason = reason
        self._stopping.set()

    async def run(self, ready: Callable[[], None]) -> None:
        """Calls `ready` once everything serves. Raises MeshconsoleError when it cannot."""
        async with AsyncExitStack() as stack:
            stack.callback(self.store.close)
            stack.callback(self.state.close)
            places = self.audit.open()
            stack.callback(self.audit.close)
            await self._start_rooms(stack, places)
            group = await stack.enter_async_context(asyncio.TaskGroup())
            self.supervisor = Supervisor(group)
            stack.callback(self.supervisor.stop)
            self.supervisor.keep("measuring", self.measuring.keep)
            if self.replicating is not None:
                self.supervisor.keep("keeping copies", self.replicating.follow)
            if self.scrubbing is not None:
                self.supervisor.keep("checking the blocks", self.scrubbing.keep)
            self.supervisor.keep("keeping the time", self.timekeeping.keep)
            self.supervisor.keep("tending the roster", self.teamwork.tend)
            self.supervisor.keep("following the roster", self.teamwork.follow)
            self.supervisor.keep("signing checkpoints", self.vouching.keep)
            self.supervisor.keep("keeping the audit log small", self.audit_keeping.keep)
            self.supervisor.keep("reading the configuration", self.reloading.follow)
            self.supervisor.keep("telling who belongs", self.mirror.follow)
            self.supervisor.keep("libp2p", self.libp2p.follow)
            if self.edge is not None:
                self.supervisor.keep("holding pins to their limits", self.edge.pinning.keep_within)
            if self.invite_file is not None:
                self.supervisor.keep("using the invite file", self.invite_file.use)
            self.record("start")
            ready()
            await self._stopping.wait()
            log.info("stopping: %s", self._stop_reason)
            self.audit_keeping.tell_links()
            self.record("stop", reason=self._stop_reason)
            await self.vouching.make()
            await self.timekeeping.end()

    async def _start_rooms(self, stack: AsyncExitStack, audit: Places) -> None:
        await self.relay.start()
        stack.push_async_callback(self.relay.stop)
        await self.teamwork.load()
        self.relay.apply(self.effective.relay)  # it was made before the team's rules were known
        await self.vouching.load(audit)
        await self._start_content(stack)
        await self._fill_recent()
        self.measuring.once()
        self.happenings.listen()
        await self._start_mesh(stack)
        self.control.handler = self._commands(self)
        await self.control.start()
        stack.push_async_callback(self.control.stop)
        if self.config.control.socket:
            await self.control.share(Path(self.config.control.socket), sharing_groups(self.config.control))
        log.info("node %s…, %s", self.identity.npub[:8], self.provider.name)

    async def _start_content(self, stack: AsyncExitStack) -> None:
        self.content = make_content(self, self._secrets.derive("blob-index"))
        await self.content.start()
        stack.push_async_callback(self.content.stop)
        self.files = make_files(self, self.content)
        self.scrubbing = make_scrubbing(self, self.content)
        await learn_files(self)

    async def _fill_recent(self) -> None:
        after = max(0, self.store.head_seq - RECENT_AT_START)
        for row in await self.relay.feed(after, RECENT_AT_START):
            event = decode_event(row.raw)
            if event.kind == kinds.HOLDINGS:
                continue
            self.recent.add(
                event,
                seq=row.seq,
                received_at=event.created_at,
                size=len(row.raw),
                via="",
                verdict=ACCEPTED,
            )

    async def _start_mesh(self, stack: AsyncExitStack) -> None:
        from meshconsole.mesh.service import Mesh

        assert self.content is not None
        self.mesh = Mesh(
            identity=self.identity,
            credentials=self.credentials,
            membership=self.membership,
            relay=self.relay,
            content=make_sharing(self, self.content),
            config=self.config,
            cursors=Cursors(self.state),
            team_clock=self.clock,
            addresses=KnownAddresses(self.state),
            emit=self.bus.publish,
            meter=self.governor.bandwidth,
            admit=self.governor.admit,
        )
        host, port = split_listen(self.config.node.listen)
        relay = self.config.relay
        self.certificate = web_certificate(self.home, relay, self.host_names())
        self.server = RelayServer(
            self.relay,
            host=host,
            port=port,
            routes={"/mesh": self.mesh.accept_mesh, "/join": self.mesh.accept_join},
            admit=self._admit,
            meter=self.governor.bandwidth,
            hosts=self.host_names,
            manage=self.managing.answer,
            limits=self.config.limits,
            tls=(*split_listen(relay.tls_listen), self.certificate.context) if self.certificate else None,
        )
        await self.server.start()
        stack.push_async_callback(self.server.stop)
        self.applying.keep_silence()
        self.applying.tell_strangers()
        if self.config.metrics.listen:
            from meshconsole.node.metrics import MetricsServer

            metrics = MetricsServer(self.config.metrics.listen, self.status)
            await metrics.start()
            stack.push_async_callback(metrics.stop)
        await self.libp2p.start()
        await self.mesh.start(int(self.addresses[0].rpartition(":")[2]))
        stack.push_async_callback(self.mesh.stop)
        if self.config.edge.listen:
            from meshconsole.edge.tables import Tables
            from meshconsole.node.edge_room import EdgeRoom

            tables = await asyncio.to_thread(Tables, self.home.database, self._secrets.database_key)
            self.edge = EdgeRoom(self, self.libp2p, self.content, tables, self._secrets.derive("edge"))
            self.edge_server = self.edge.server
            await self.edge.start(stack)
            self.applying.keep_silence()
        stack.push_async_callback(self.guesting.stop)
        await self.guesting.start()

    def _connections(self) -> int:
        """Of clients and teammates' devices."""
        incoming = self.server.connections if self.server is not None else 0
        outgoing = self.mesh.outgoing if self.mesh is not None else 0
        return incoming + outgoing

    def _admit(self, kind: str, remote: str) -> Verdict:
        if kind == "client" and not serves_clients(self.config):
            return self.governor.refuse("restricted", SWITCHED_OFF)
        blocked = self.lists.current.judge_ip(remote) if kind == "client" else ACCEPTED
        if not blocked.accepted:
            return self.governor.refuse(blocked.code, blocked.sentence)
        if kind == "join" and self.vouching.set_back:  # letting somebody in may begin an epoch
            return self.governor.refuse("restricted", "this node lets nobody in: it was set back")
        return self.door.admit(kind, remote)

    # --- How it is -----------------------------------------------------------------------------------

    def status(self) -> NodeStatus:
        return node_status(
            self,
            self.look_at_health,
            guests=self.guesting.status(),
            libp2p=self.libp2p.status(),
            edge=self.edge.status() if self.edge is not None else None,
        )

    def look_at_health(self, peers: tuple[PeerStatus, ...]) -> tuple[HealthItem, ...]:
        """What is wrong now, and has been for long enough."""
        found = [
            *(self.supervisor.health() if self.supervisor is not None else ()),
            *whats_wrong(self, peers, set_back=self.vouching.set_back, libp2p_trouble=self.libp2p.trouble),
            *self.happenings.damage,
        ]
        return self.health.look(found, time.monotonic(), time.time())

    async def pulse(self) -> str:
        """A line about the node, once its event store has answered a question: it lives.

        A store that is out of reach is no reason to start this process anew.
        """
        if self.supervisor is None:
            return "starting"
        with contextlib.suppress(MeshconsoleError):
            await self.relay.query([Filter(limit=1)], 1)
        return pulse_line(self.status())
