"""Keeps the audit log from growing for ever: links that come and go are counted, old records let go.

When the log has passed its size, its older half goes behind a cut that the device signs. What teammates
hold of it are checkpoints, which name places: those of the half that is left can still be compared. A
home that was set back lets nothing go: its log is evidence.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from meshconsole.core.errors import MeshconsoleError
from meshconsole.mesh.happenings import LinkUp
from meshconsole.node.audit.cut import sign_cut
from meshconsole.node.audit.link_digest import LinkDigest
from meshconsole.node.audit.log import place_to_cut

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from meshconsole.crypto.identity import Identity
    from meshconsole.mesh.happenings import LinkDown
    from meshconsole.node.audit.log import AuditLog

log = logging.getLogger(__name__)

EVERY_S = 60.0


class AuditKeeping:
    def __init__(
        self,
        audit: AuditLog,
        path: Path,
        key: bytes,
        *,
        identity: Identity,
        record: Callable[..., None],
        limit_bytes: Callable[[], int],
        is_evidence: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self._audit = audit
        self._path = path
        self._key = key
        self._identity = identity
        self._record = record
        self._limit_bytes = limit_bytes
        self._is_evidence = is_evidence
        self._clock = clock
        self._links = LinkDigest()

    def link(self, happening: LinkUp | LinkDown) -> None:
        """A link came or went."""
        now = self._clock()
        if self._links.is_due(now):
            self.tell_links()
        device, path = happening.npub, happening.path
        if isinstance(happening, LinkUp):
            if self._links.note(device, "link-up", path, now):
                self._record("link-up", device=device, path=path)
        elif self._links.note(device, "link-down", happening.reason, now):
            self._record("link-down", device=device, path=path, reason=happening.reason)

    def tell_links(self) -> None:
        """What was counted since the last time."""
        for detail in self._links.take():
            self._record("links", **detail)

    async def keep(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            if self._links.is_due(self._clock()):
                self.tell_links()
            try:
                await self.shorten()
            except MeshconsoleError as error:
                log.warning("the audit log could not be shortened: %s", error)

    async def shorten(self) -> None:
        """If it has passed its size. Raises MeshconsoleError."""
        limit = self._limit_bytes()
        if self._audit.size_bytes <= limit or self._is_evidence():
            return
        place = await asyncio.to_thread(place_to_cut, self._path, self._key, limit // 2)
        if place is None:
            return
        last, from_byte = place
        cut = await asyncio.to_thread(sign_cut, self._identity, last.seq, last.digest, int(self._clock()))
        copy = await asyncio.to_thread(self._audit.copy_behind, cut, from_byte)
        self._audit.put_in_place(copy)
        self._record("audit-shortened", up_to=str(last.seq))
