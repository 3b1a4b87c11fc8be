"""Settings that were changed, applied while the node runs: to open connections and links too.

What cannot be applied waits for the next start, and is told as waiting until then.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from meshconsole.core.config import RELOADABLE, capabilities, changed_keys, serves_clients
from meshconsole.node.content_room import peer_rate_bps
from meshconsole.node.logs import apply_logging
from meshconsole.node.setup import log_bytes
from meshconsole.relay.memory import caches_within
from meshconsole.relay.store import EmbeddedStore

if TYPE_CHECKING:
    from meshconsole.core.config import Config
    from meshconsole.core.sections import PerformanceMode
    from meshconsole.node.node import Node

SWITCHED_OFF = "the Nostr relay of this node is switched off"

log = logging.getLogger(__name__)


class Applying:
    def __init__(self, node: Node) -> None:
        self._node = node
        self.waiting: set[str] = set()
        """Keys that were changed and wait for the next start."""

    def adopt(self, config: Config) -> None:
        node = self._node
        changed = changed_keys(node.config, config)
        self.waiting |= changed - RELOADABLE
        node.config = config
        node.governor.apply(config)
        node.performance.choose(config.limits.performance_mode)
        if "limits.max_memory_mb" in changed:
            self._fit_caches()
        node.relay.apply(node.effective.relay)
        if isinstance(node.store, EmbeddedStore):
            node.store.limit_log(log_bytes(config))
        if node.content is not None:
            node.content.limit_peers(peer_rate_bps(config))
        if node.replicating is not None:
            node.replicating.is_due.set()
        if node.server is not None:
            node.server.apply(node.effective.limits)
            if not serves_clients(config):
                node.server.expel_clients(SWITCHED_OFF)
        self.keep_silence()
        self.tell_strangers()
        node.guesting.recheck()
        if node.mesh is not None:
            node.mesh.offer(capabilities(config))
            node.mesh.set_uplinks(config.mesh.uplinks)
        node.libp2p.recheck()
        node.libp2p.is_due.set()
        node.mirror.changed()
        apply_logging(config)
        node.control.status_changed()

    def perform(self, mode: PerformanceMode) -> None:
        """How much of the machine the relay takes."""
        self._node.relay.set_mode(mode)
        self._fit_caches()

    def _fit_caches(self) -> None:
        memory = self._node.governor.memory_limit_bytes
        self._node.relay.set_caches(caches_within(self._node.performance.mode, memory))

    def tell_strangers(self) -> None:
        """Of the relay, where the owner and the team allow it and there is one to tell of."""
        node = self._node
        if node.mesh is not None:
            allowed = node.effective.privacy.allow_public_discovery
            node.mesh.allow_dht(node.config.p2p if allowed else None, on=node.config.discovery.dht)
            node.mesh.tell_strangers(on=allowed and serves_clients(node.config))

    def keep_silence(self) -> None:
        """As `privacy.emcon` says: the mesh first, so that links can still be told goodbye."""
        node = self._node
        level = node.config.privacy.emcon
        if node.mesh is not None:
            node.mesh.set_emcon(level)
        if node.server is not None and not node.server.silence(on=level in ("receive-only", "dark")):
            log.warning("this system answers whoever knocks at the node's port, also in silence")
        if node.edge is not None and not node.edge.server.silence(on=level in ("receive-only", "dark")):
            log.warning("this system answers whoever knocks at the HTTP edge, also in silence")
