"""What all parts of a node stand on: identity, stores, relay, team, the owner's settings and limits.

Whatever acts for the node is handed this and names what it needs besides; `node.py` puts it all together.
Rooms that are made only when the node starts are None until then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from socket import gethostname
from typing import TYPE_CHECKING

from meshconsole.control.messages import Notice
from meshconsole.core.errors import Fatal
from meshconsole.crypto.self_test import sound_provider
from meshconsole.crypto.suites import suite_by_id
from meshconsole.crypto.tls import LinkCredentials
from meshconsole.mesh.addresses import host_addresses, listen_addresses
from meshconsole.mesh.clock import TeamClock
from meshconsole.node.access import TeamAccess
from meshconsole.node.aside import Aside
from meshconsole.node.audit.log import AuditLog, Chain, read_places
from meshconsole.node.bus import Bus
from meshconsole.node.limits.door import Door
from meshconsole.node.limits.governor import Governor, Use
from meshconsole.node.limits.performance import Performance
from meshconsole.node.listbook import ListBook
from meshconsole.node.machine_clock import MachineClock
from meshconsole.node.managing import Managing
from meshconsole.node.membership import Membership
from meshconsole.node.mirror import RosterMirror
from meshconsole.node.recent import RecentEvents
from meshconsole.node.remembering import Remembering
from meshconsole.node.routes import Routes
from meshconsole.node.setup import make_identity, open_store
from meshconsole.node.state import NodeState
from meshconsole.node.unread import Unread
from meshconsole.relay.eviction import eviction_classes
from meshconsole.relay.memory import caches_within
from meshconsole.relay.relay import Relay
from meshconsole.team.rules import stricter

if TYPE_CHECKING:
    from meshconsole.content.service import Content
    from meshconsole.control.server import ControlServer
    from meshconsole.core.config import Config
    from meshconsole.core.event import Event
    from meshconsole.core.home import Home
    from meshconsole.core.sections import PerformanceMode
    from meshconsole.core.status import Severity
    from meshconsole.core.verdict import Verdict
    from meshconsole.crypto.keystore import Secrets
    from meshconsole.crypto.web_certificate import WebCertificate
    from meshconsole.edge.server import EdgeServer
    from meshconsole.mesh.service import Mesh
    from meshconsole.node.audit.log import AuditRecord, Places
    from meshconsole.node.files import TeamFiles
    from meshconsole.node.replicating import Replicating
    from meshconsole.node.scrub_keeping import ScrubKeeping
    from meshconsole.relay.lists import Lists
    from meshconsole.relay.server import RelayServer
    from meshconsole.relay.store import EvictionClass
    from meshconsole.team.rules import Rules

log = logging.getLogger(__name__)

SWITCHED_OFF = "the Nostr relay of this node is switched off"


class Ground:
    """Belongs to one event loop."""

    def __init__(self, home: Home, config: Config, unlocked: Secrets, control: ControlServer) -> None:
        """`control` serves already where the home was locked before."""
        self.home = home
        self.config = config
        self._effective: tuple[Config | None, Rules | None, Config] = (None, None, config)
        """The settings and rules that the last answer came from, and the answer: each event asks."""
        self.started = time.time()
        self.bus = Bus()
        self.control = control
        self.use = Use()
        self.remembering = Remembering()
        self.routes = Routes()
        self.provider = sound_provider(config.crypto.provider, suite_by_id(unlocked.suite))
        self.identity = make_identity(unlocked, self.provider)
        self.credentials = LinkCredentials.make(self.identity)
        self.audit = AuditLog(home.audit_log, unlocked.derive("audit"))
        self.unrecorded = ""
        """Why the audit log is behind, if it is."""
        self.governor = Governor(config, home.path, lambda: self.use)
        self.door = Door(self.governor, self.use)
        self.performance = Performance(config.limits.performance_mode, self._perform)
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
        self.membership = Membership(self.identity, self.provider, self.state)
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
        self.mirror = RosterMirror(self.relay, unlocked.derive("relay-self"), self._told_members, time.time)
        self.content: Content | None = None
        self.scrubbing: ScrubKeeping | None = None
        self.files: TeamFiles | None = None
        self.replicating: Replicating | None = None
        self.mesh: Mesh | None = None
        self.server: RelayServer | None = None
        self.edge_server: EdgeServer | None = None
        self.certificate: WebCertificate | None = None
        self.has_passphrase = unlocked.by_passphrase
        self._secrets = unlocked

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

    # --- Where it is ---------------------------------------------------------------------------------

    @property
    def addresses(self) -> tuple[str, ...]:
        return self.server.addresses if self.server is not None else ()

    def host_names(self) -> tuple[str, ...]:
        return (*host_addresses(), gethostname(), f"{gethostname()}.local")

    def reachable_addresses(self) -> tuple[str, ...]:
        """Where teammates may dial this node: for invites. Three at most, the likeliest first."""
        port = self.addresses[0].rpartition(":")[2]
        return listen_addresses(self.config.node.listen, int(port), host_addresses())[:3]

    # --- What it says ----------------------------------------------------------------------------------

    async def publish(self, event: Event) -> Verdict:
        """One of this node's own events: stored durably, delivered and forwarded."""
        return await self.relay.publish(event, via="local")

    def notice(self, severity: Severity, text: str, remedy: str = "") -> None:
        self.control.notice(Notice(time.time(), severity, text, remedy))

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

    # --- What the relay asks ---------------------------------------------------------------------------

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

    def _told_members(self) -> dict[str, str] | None:
        """Who belongs, for Nostr clients; None while that is nobody's business."""
        team = self.membership.team
        effective = self.effective
        if team is None or not (effective.relay.tell_members and effective.privacy.share_with_team_only):
            return None
        guests = dict.fromkeys(self.lists.current.allowed_keys, "")
        clients = {one.npub: "client" if one.writes else "client-observer" for one in team.clients()}
        return guests | clients | {one.npub: one.role for one in team.members() if not one.removed}

    def _lists_changed(self, lists: Lists) -> None:
        """An admin has listed something (NIP-86)."""
        if self.server is not None:
            self.server.recheck()
        self.mirror.changed()
        self.control.status_changed()

    def _perform(self, mode: PerformanceMode) -> None:
        """How much of the machine the relay takes."""
        self.relay.set_mode(mode)
        self.fit_caches()

    def fit_caches(self) -> None:
        self.relay.set_caches(caches_within(self.performance.mode, self.governor.memory_limit_bytes))
