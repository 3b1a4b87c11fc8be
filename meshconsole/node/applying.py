"""Settings that were changed, applied while the node runs: to open connections and links too.

What cannot be applied waits for the next start, and is told as waiting until then.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from meshconsole.core.config import RELOADABLE, capabilities, changed_keys, serves_clients, with_values
from meshconsole.node.config_file import write_values
from meshconsole.node.content_room import peer_rate_bps
from meshconsole.node.ground import SWITCHED_OFF
from meshconsole.node.logs import apply_logging
from meshconsole.node.setup import log_bytes
from meshconsole.relay.store import EmbeddedStore

if TYPE_CHECKING:
    from meshconsole.core.config import Config, Values
    from meshconsole.node.ground import Ground
    from meshconsole.node.guesting import Guesting
    from meshconsole.node.libp2p_room import Libp2pRoom

log = logging.getLogger(__name__)


class Applying:
    def __init__(self, node: Ground, guesting: Guesting, libp2p: Libp2pRoom) -> None:
        self._node = node
        self._guesting = guesting
        self._libp2p = libp2p
        self.waiting: set[str] = set()
        """Keys that were changed and wait for the next start."""

    async def set(self, values: Values) -> None:
        """Checked, saved, and applied at once where that is possible. Raises ConfigError."""
        config = with_values(self._node.config, values, "the console")
        await asyncio.to_thread(write_values, self._node.home, values)
        self.adopt(config)

    def adopt(self, config: Config) -> None:
        node = self._node
        changed = changed_keys(node.config, config)
        self.waiting |= changed - RELOADABLE
        node.config = config
        node.governor.apply(config)
        node.performance.choose(config.limits.performance_mode)
        if "limits.max_memory_mb" in changed:
            node.fit_caches()
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
        self._guesting.recheck()
        if node.mesh is not None:
            node.mesh.offer(capabilities(config))
            node.mesh.set_uplinks(config.mesh.uplinks)
        self._libp2p.recheck()
        self._libp2p.is_due.set()
        node.mirror.changed()
        apply_logging(config)
        node.control.status_changed()

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
        silent = level in ("receive-only", "dark")
        if node.server is not None and not node.server.silence(on=silent):
            log.warning("this system answers whoever knocks at the node's port, also in silence")
        if node.edge_server is not None and not node.edge_server.silence(on=silent):
            log.warning("this system answers whoever knocks at the HTTP edge, also in silence")
