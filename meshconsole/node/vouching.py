"""Checkpoints of this device, and what those of the team say about it.

One is made where something was accepted since the last: after an act on the team, before a stop, and now
and then. Each goes to the team like any control event and into the watermark beside the keystore.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core import kinds
from meshconsole.core.errors import MeshconsoleError, Refused
from meshconsole.core.event import decode_event
from meshconsole.node.watermark import (
    Watermark,
    log_was_set_back,
    read_watermark,
    roster_was_set_back,
    write_watermark,
)
from meshconsole.relay.filter import Filter
from meshconsole.team.checkpoints import Checkpoint, merkle_root, sign_checkpoint, verify_checkpoint

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from meshconsole.node.audit import AuditRecord
    from meshconsole.node.node import Node
    from meshconsole.team.state import Team

log = logging.getLogger(__name__)

EVERY_S = 6 * 3600
PAGE = 2000
STATE = "checkpoint"


class Covered(msgspec.Struct, frozen=True):
    """Up to where this device has vouched."""

    n: int = 0
    log_id: str = ""
    head_seq: int = 0


class Vouching:
    def __init__(self, node: Node, key: bytes) -> None:
        self._node = node
        self._key = key
        self._making = asyncio.Lock()
        self.mark = Watermark()
        """How far this home had come when it was last written down."""
        self.newest: dict[str, tuple[Checkpoint, Event]] = {}
        """The last checkpoint of each device."""
        self.set_back = ""
        """Why this home is not what it was, "" if it is. Until it is, this device issues no epochs."""

    async def load(self, records: list[AuditRecord]) -> None:
        """What the watermark and the stored checkpoints say. Raises CorruptData."""
        self.mark = await asyncio.to_thread(read_watermark, self._node.home.watermark, self._key)
        self.set_back = log_was_set_back(self.mark, records)
        self.roster_changed()
        wanted = Filter(kinds=frozenset({kinds.CHECKPOINT}))
        for raw in reversed(await self._node.relay.query([wanted], PAGE)):
            self.heard(decode_event(raw))

    def roster_changed(self) -> None:
        """The roster may have caught up with what it was."""
        team = self._node.membership.team
        entries, epoch = (0, 0) if team is None else (team.entries_known, team.epoch)
        behind = roster_was_set_back(self.mark, entries, epoch)
        if behind:
            self.set_back = self.set_back or behind
        elif self.set_back.startswith("The database"):
            log.info("the roster is as new again as it was before the database was set back")
            self.set_back = ""

    def heard(self, event: Event) -> None:
        """A checkpoint that was stored. Raises nothing: a false one is logged and counts for nothing."""
        team = self._node.membership.team
        bundle = team.bundle_of(event.pubkey) if team is not None else None
        if bundle is None:
            return
        try:
            checkpoint = verify_checkpoint(event, bundle, self._node.provider)
        except Refused as error:
            log.warning("a checkpoint of %s counts for nothing: %s", event.pubkey[:8], error.sentence)
            return
        known = self.newest.get(event.pubkey)
        if known is None or known[0].n < checkpoint.n:
            self.newest[event.pubkey] = (checkpoint, event)
        if event.pubkey == self._node.identity.npub and checkpoint.audit_seq > self._node.audit.seq:
            self.set_back = (
                f"A teammate holds this device's signature over {checkpoint.audit_seq} audit records; "
                f"there are {self._node.audit.seq} here."
            )

    async def make(self) -> None:
        """A checkpoint, if there is a team and something to vouch for. A full disk is told, not raised."""
        team = self._node.membership.team
        if team is None or self.set_back:
            return
        async with self._making:
            try:
                await self._make(team)
            except MeshconsoleError as error:
                log.warning("no checkpoint could be made: %s", error)

    async def _make(self, team: Team) -> None:
        node = self._node
        covered = node.state.get(STATE, Covered, Covered())
        log_id = node.store.log_id
        after = covered.head_seq if covered.log_id == log_id else 0
        audit_seq, audit_head = node.audit.seq, node.audit.head
        ids, head = await self._taken_in(after)
        if not ids and audit_seq == self.mark.audit_seq:
            return
        n = 1 + max(covered.n, self.mark.checkpoint)
        checkpoint = Checkpoint(1, n, audit_seq, audit_head, log_id, head, len(ids), merkle_root(ids).hex())
        event = await asyncio.to_thread(sign_checkpoint, node.identity, checkpoint, int(time.time()))
        verdict = await node.publish(event)
        if not verdict.accepted:
            raise Refused(verdict.code, verdict.sentence)
        node.state.put(STATE, Covered(n, log_id, head))
        self.mark = Watermark(audit_seq, audit_head, team.entries_known, team.epoch, n)
        await asyncio.to_thread(write_watermark, node.home.watermark, self._key, self.mark)

    async def _taken_in(self, after: int) -> tuple[list[bytes], int]:
        """Ids of the events since, checkpoints of this device left out, and the last one's place."""
        ids: list[bytes] = []
        me = self._node.identity.npub
        while rows := await self._node.relay.feed(after, PAGE):
            after = rows[-1].seq
            ids += [
                bytes.fromhex(row.id)
                for row in rows
                if row.kind != kinds.CHECKPOINT or decode_event(row.raw).pubkey != me
            ]
        return ids, after

    async def acknowledge(self) -> None:
        """The operator knows why the home was set back, and goes on from here."""
        self.set_back = ""
        self.mark = msgspec.structs.replace(self.mark, audit_seq=0, audit_head="", entries=0, epoch=0)
        await asyncio.to_thread(write_watermark, self._node.home.watermark, self._key, self.mark)
        await self.make()

    async def keep(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.make()
