"""What is used, every two seconds: for the governor, the history, and what is wrong."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import msgspec

from meshconsole.node.limits.degrading import CAUSES
from meshconsole.node.logs import log_bytes
from meshconsole.node.memory import trim

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.content.service import Content
    from meshconsole.core.status import PeerStatus, StorageStatus
    from meshconsole.node.ground import Ground
    from meshconsole.node.limits.degrading import Change

log = logging.getLogger(__name__)

SAMPLE_S = 2.0
MEMORY_S = 0.5
LOOK_S = 10.0
"""Peers are asked about less often: in a large team that costs more than all other samples together."""
SLOWED_FPS = 1.0


class Measuring:
    def __init__(self, node: Ground, look_at_health: Callable[[tuple[PeerStatus, ...]], object]) -> None:
        self._node = node
        self._look_at_health = look_at_health
        self._looked_at = 0.0

    async def keep(self) -> None:
        while True:
            await self._until_next()
            self.once()
            if "caches-small" in self._node.governor.degrading:
                await asyncio.to_thread(trim)  # what the caches held, and what was read since

    async def _until_next(self) -> None:
        """Memory that nears its limit is looked at in between, and nothing else is: what was promised of the
        storage counts until it has been measured twice, however long its writing takes."""
        governor = self._node.governor
        if not governor.is_near_memory:
            await asyncio.sleep(SAMPLE_S)
            return
        for _ in range(round(SAMPLE_S / MEMORY_S)):
            await asyncio.sleep(MEMORY_S)
            for change in governor.sample_memory(time.monotonic()):
                self._degraded(change)

    def once(self) -> None:
        node = self._node
        events = node.store.usage()
        stored = msgspec.structs.replace(
            node.use.stored,
            events_bytes=events.bytes,
            events_count=events.count,
            audit_bytes=node.audit.size_bytes,
            log_bytes=log_bytes(node.home),
        )
        node.use.stored = _with_blocks(stored, node.content) if node.content is not None else stored
        if node.scrubbing is not None:
            at, damaged = node.scrubbing.last
            node.use.stored = msgspec.structs.replace(node.use.stored, checked_at=at, checked_damaged=damaged)
        node.door.count()
        now = time.monotonic()
        for change in node.governor.sample(now):
            self._degraded(change)
        node.relay.sample(now)
        node.remembering.sample(time.time(), node.governor.limits_status({}), node.governor.quota.used_bytes)
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            peers = node.mesh.status() if node.mesh is not None else ()
            node.performance.look()
            node.remembering.sample_peers(time.time(), peers)
            self._look_at_health(peers)  # also while nobody asks: how long a thing lasts is counted here

    def _degraded(self, change: Change) -> None:
        node, degraded = self._node, change.degraded
        if change.began:
            node.record("degraded", step=degraded.step.name, cause=CAUSES[degraded.pressure])
            log.warning("%s", degraded.words)
        else:
            node.record("recovered", step=degraded.step.name)
            log.info("no longer: %s", degraded.words)
        if degraded.step.name == "caches-small":
            node.performance.squeeze(on=change.began)
        slow = "frames-slowed" in node.governor.degrading
        node.control.limit_frames(SLOWED_FPS if slow else None)
        if node.replicating is not None and not change.began:
            node.replicating.is_due.set()
        node.control.status_changed()


def _with_blocks(stored: StorageStatus, content: Content) -> StorageStatus:
    blocks, place = content.usage(), content.blocks_state()
    evicted_blocks, evicted_bytes = content.evicted
    handed_on_blocks, handed_on_bytes = content.handed_on
    return msgspec.structs.replace(
        stored,
        blocks_bytes=blocks.bytes,
        blocks_count=blocks.blocks,
        pinned_bytes=blocks.pinned_bytes,
        evicted_blocks=evicted_blocks,
        evicted_bytes=evicted_bytes,
        handed_on_blocks=handed_on_blocks,
        handed_on_bytes=handed_on_bytes,
        blocks_at=place.place,
        blocks_trouble=place.trouble,
    )
