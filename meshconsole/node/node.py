"""The composition root: every room is made here, joined by the bus, started and stopped in order.

start: database → team → relay → content → mesh → server → control socket, each on what was before;
stop: the other way round. The life of an event and of a file is told in docs/architecture.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from contextlib import AsyncExitStack
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING

from meshconsole.control.messages import Notice
from meshconsole.core import kinds
from meshconsole.core.config import serves_clients, with_values
from meshconsole.core.errors import Fatal, MeshconsoleError
from meshconsole.core.event import decode_event
from meshconsole.core.health import Health
from meshconsole.core.verdict import ACCEPTED
from meshconsole.crypto.self_test import sound_provider
from meshconsole.crypto.suites import suite_by_id
from meshconsole.crypto.tls import LinkCredentials
from meshconsole.mesh.addresses import host_addresses, listen_addresses
from meshconsole.mesh.clock import TeamClock
from meshconsole.node.access import TeamAccess
from meshconsole.node.applying import SWITCHED_OFF, Applying
from meshconsole.node.aside import Aside
from meshconsole.node.audit import AuditLog, Chain, read_places
from meshconsole.node.audit_keeping import AuditKeeping
from meshconsole.node.bus import Bus
from meshconsole.node.commands import Commands
from meshconsole.node.config_file import write_values
from meshconsole.node.content_room import (
    learn_files,
    make_content,
    make_files,
    make_scrubbing,
    make_sharing,
)
from meshconsole.node.governor import Governor, Use
from meshconsole.node.groups import sharing_groups
from meshconsole.node.guesting import Guesting
from meshconsole.node.happenings import Happenings
from meshconsole.node.libp2p_room import Libp2pRoom
from meshconsole.node.listbook import ListBook
from meshconsole.node.listen import split_listen
from meshconsole.node.machine_clock import MachineClock
from meshconsole.node.managing import Managing
from meshconsole.node.measuring import Measuring
from meshconsole.node.membership import Membership
from meshconsole.node.mirror import RosterMirror
from meshconsole.node.performance import Performance
from meshconsole.node.recent import RecentEvents
from meshconsole.node.reloading import Reloading
from meshconsole.node.remembering import Remembering
from meshconsole.node.report import node_status, pulse_line
from meshconsole.node.setup import make_identity, open_store
from meshconsole.node.state import Cursors, KnownAddresses, NodeState
from meshconsole.node.supervisor import Supervisor
from meshconsole.node.teamwork import Teamwork
from meshconsole.node.timekeeping import Timekeeping
from meshconsole.node.unread import Unread
from meshconsole.node.vouching import Vouching
from meshconsole.node.web_tls import web_certificate
from meshconsole.node.whats_wrong import whats_wrong
from meshconsole.relay.eviction import eviction_classes
from meshconsole.relay.filter import Filter
from meshconsole.relay.relay import Relay
from meshconsole.relay.server import RelayServer
from meshconsole.team.rules import stricter

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.content.service import Content
    from meshconsole.control.server import ControlServer
    from meshconsole.core.config import Config, Values
    from meshconsole.core.event import Event
    from meshconsole.core.home import Home
    from meshconsole.core.status import HealthItem, NodeStatus, PeerStatus, Severity
    from meshconsole.core.verdict import Verdict
    from meshconsole.crypto.keystore import Secrets
    from meshconsole.crypto.web_certificate import WebCertificate
    from meshconsole.mesh.service import Mesh
    from meshconsole.node.audit import AuditRecord, Places
    from meshconsole.node.edge_room import EdgeRoom
    from meshconsole.node.files import TeamFiles
    from meshconsole.node.first_boot import InviteFile
    from meshconsole.node.replicating import Replicating
    from meshconsole.node.scrub_keeping import ScrubKeeping
    from meshconsole.relay.lists import Lists
    from meshconsole.relay.store import EvictionClass
    from meshconsole.team.rules import Rules

log = logging.getLogger(__name__)

RECENT_AT_START = 500
CONTROL_LIMIT = 1_000_000


class Node:
    """One node. Made and run on one event loop; `run` returns when it has stopped in good order."""

    def __init__(self, home: Home, config: Config, unlocked: Secrets, control: ControlServer) -> None:
        """`control` serves already where the home was locked before."""
        self.home = home
        self.config = config
        self._effective: tuple[Config | None, Rules | None, Config] = (None, None, config)
        """The settings and rules that the last answer came from, and the answer: each event asks."""
        self.started = time.time()
        self.bus = Bus()
        self.teamwork = Teamwork(self)
        self.use = Use()
        self.health = Health()
        self.remembering = Remembering()
        self.measuring = Measuring(self)
        self.applying = Applying(self)
        self.provider = sound_provider(config.crypto.provider, suite_by_id(unlocked.suite))
        self.identity = make_identity(unlocked, self.provider)
        self.credentials = LinkCredentials.make(self.identity)
        self.audit = AuditLog(home.audit_log, unlocked.derive("audit"))
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
        self.governor = Governor(config, home.path, lambda: self.use)
        self.performance = Performance(
            config.limits.performance_mode, lambda mode: self.applying.perform(mode)
        )
        self.clock = TeamClock(time.time, MachineClock().quality, time.monotonic)
        self.store = open_store(
            home,
            config,
            unlocked,
            self.governor.quota.events,
            self._may_go,
            self.clock.time,
            self.performance.mode,
            self.governor.memory_limit_bytes,
        )
        self.state = NodeState(home.database, unlocked.database_key)
        self.timekeeping = Timekeeping(self.state, self.clock)
        self.membership = Membership(self.identity, self.provider, self.state)
        self.guesting = Guesting(self)
        self.recent = RecentEvents(lambda: self.membership.team, self.identity)
        self.unread = Unread(self.state, self.recent, self.clock.time)
        self.access = TeamAccess(
            lambda: self.effective.privacy, lambda: self.membership.team, self.identity.npub
        )
        self.lists = ListBook(self.state)
        self.relay = Relay(
            self.store,
            access=self.access,
            emit=self.bus.publish,
            config=config.relay,
            lists=lambda: self.lists.current,
            mode=self.performance.mode,
            is_device=self.access.is_device,
            by_role=self.access.by_role,
            clock=self.clock.time,
        )
        self.aside = Aside(self.relay, self.access.by_role)
        self.managing = Managing(
            book=self.lists,
            state=self.state,
            relay=self.relay,
            may_manage=self.access.may_manage,
            takes_two=self.access.takes_two,
            record=self.record,
            changed=self._lists_changed,
            clock=time.time,
        )
        self.mirror = RosterMirror(
            self.relay, unlocked.derive("relay-self"), self.teamwork.told_members, time.time
        )
        self.vouching = Vouching(self, unlocked.derive("watermark"))
        self.libp2p = Libp2pRoom(self, unlocked.derive("libp2p"))
        self.happenings = Happenings(self)
        self.content: Content | None = None
        self.scrubbing: ScrubKeeping | None = None
        self.files: TeamFiles | None = None
        self.replicating: Replicating | None = None
        self.mesh: Mesh | None = None
        self.server: RelayServer | None = None
        self.edge: EdgeRoom | None = None
        self.certificate: WebCertificate | None = None
        self.control = control
        self.supervisor: Supervisor | None = None
        self.has_passphrase = unlocked.by_passphrase
        self._secrets = unlocked
        self.reloading = Reloading(self)
        self.invite_file: InviteFile | None = None
        self.unrecorded = ""
        """Why the audit log is behind, if it is."""
        self._stopping = asyncio.Event()
        self._stop_reason = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        return self.server.addresses if self.server is not None else ()

    @property
    def effective(self) -> Config:
        """The owner's settings under the team's rules."""
        team = self.membership.team
        if team is None:
            return self.config
        rules = team.rules
        known_config, known_rules, effective = self._effective
        if known_config is not self.config or known_rules is not rules:
            effective = stricter(self.config, rules)
            self._effective = (self.config, rules, effective)
        return effective

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
        self.control.handler = Commands(self)
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
            self.edge = EdgeRoom(self, self.content, tables, self._secrets.derive("edge"))
            await self.edge.start(stack)
            self.applying.keep_silence()
        stack.push_async_callback(self.guesting.stop)
        await self.guesting.start()

    def host_names(self) -> tuple[str, ...]:
        return (*host_addresses(), gethostname(), f"{gethostname()}.local")

    # --- What commands and rooms ask of the node ---------------------------------------------------

    async def publish(self, event: Event) -> Verdict:
        """One of this node's own events: stored durably, delivered and forwarded."""
        return await self.relay.publish(event, via="local")

    def status(self) -> NodeStatus:
        return node_status(self)

    def look_at_health(self, peers: tuple[PeerStatus, ...]) -> tuple[HealthItem, ...]:
        """What is wrong now, and has been for long enough."""
        return self.health.look(whats_wrong(self, peers), time.monotonic(), time.time())

    async def pulse(self) -> str:
        """A line about the node, once its event store has answered a question: it lives.

        A store that is out of reach is no reason to start this process anew.
        """
        if self.supervisor is None:
            return "starting"
        with contextlib.suppress(MeshconsoleError):
            await self.relay.query([Filter(limit=1)], 1)
        return pulse_line(self.status())

    def record(self, act: str, **detail: str) -> None:
        """A full disk must not undo what was done: it is told instead."""
        try:
            self.audit.append(act, time.time(), **detail)
        except Fatal as error:
            log.error("%s was not written to the audit log: %s", act, error.sentence)
            self.unrecorded = f"{error.sentence} Acts since then are not in the audit log."

    async def audit_places(self) -> Places:
        """Raises CorruptData naming the first bad line of the audit log."""
        return await asyncio.to_thread(read_places, self.home.audit_log, self._secrets.derive("audit"))

    async def read_audit(self, newest: int | None = None) -> tuple[list[AuditRecord], Event | None]:
        """The records, all or the newest so many, and the cut before the first, if there is one. Raises
        CorruptData."""
        chain = Chain(self.home.audit_log, self._secrets.derive("audit"))
        records = await asyncio.to_thread(deque, chain, newest)
        return list(records), chain.places.cut

    async def set_config(self, values: Values) -> None:
        """Checked, saved, and applied at once where that is possible. Raises ConfigError."""
        config = with_values(self.config, values, "the console")
        await asyncio.to_thread(write_values, self.home, values)
        self.applying.adopt(config)

    def _admit(self, kind: str, remote: str) -> Verdict:
        if kind == "client" and not serves_clients(self.config):
            return self.governor.refuse("restricted", SWITCHED_OFF)
        blocked = self.lists.current.judge_ip(remote) if kind == "client" else ACCEPTED
        if not blocked.accepted:
            return self.governor.refuse(blocked.code, blocked.sentence)
        if kind == "join" and self.vouching.set_back:  # letting somebody in may begin an epoch
            return self.governor.refuse("restricted", "this node lets nobody in: it was set back")
        self.measuring.count_connections()
        return self.governor.admit(kind, remote)

    def _lists_changed(self, lists: Lists) -> None:
        """An admin has listed something (NIP-86)."""
        if self.server is not None:
            self.server.recheck()
        self.mirror.changed()
        self.control.status_changed()

    def _may_go(self) -> list[EvictionClass]:
        """What makes room when the storage is full, as the owner and the roster are now."""
        relay = self.effective.relay
        if relay.eviction == "off":
            return []
        team = self.membership.team
        members = () if team is None else team.members()
        return eviction_classes(
            relay.evict, frozenset({self.identity.npub, *(one.npub for one in members)}), int(time.time())
        )

    def reachable_addresses(self) -> tuple[str, ...]:
        """Where teammates may dial this node: for invites. Three at most, the likeliest first."""
        port = self.addresses[0].rpartition(":")[2]
        return listen_addresses(self.config.node.listen, int(port), host_addresses())[:3]

    def notice(self, severity: Severity, text: str, remedy: str = "") -> None:
        self.control.notice(Notice(time.time(), severity, text, remedy))
