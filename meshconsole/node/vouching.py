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
from meshconsole.node.shelf import Shelf
from meshconsole.node.watermark import (
    Watermark,
    log_was_set_back,
    read_watermark,
    roster_was_set_back,
    stands_in,
    write_watermark,
)
from meshconsole.relay.filter import Filter
from meshconsole.team.checkpoints import Checkpoint, merkle_root, sign_checkpoint

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from meshconsole.crypto.bundle import KeyBundle
    from meshconsole.node.audit.log import Places
    from meshconsole.node.ground import Ground
    from meshconsole.node.shelf import Heard
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
    def __init__(self, node: Ground, key: bytes) -> None:
        self._node = node
        self._key = key
        self._making = asyncio.Lock()
        self._looking = asyncio.Lock()
        self.mark = Watermark()
        """How far this home had come when it was last written down."""
        self._shelf = Shelf(node.relay, self._bundle_of, node.provider)
        self._own: Heard | None = None
        """This device's checkpoint with the highest number."""
        self._signed_here: set[str] = set()
        """Ids of the checkpoints that were made since the start."""
        self._to_compare: list[Heard] = []
        """Own ones that may speak of a log that this home has no more. While it was set back they stay
        here, off the shelf: they are the evidence."""
        self._arrived: list[Event] = []
        self._something_to_do = asyncio.Event()
        self.set_back = ""
        """Why this home is not what it was, "" if it is. Until it is, this device issues no epochs."""

    async def load(self, places: Places) -> None:
        """What the watermark and the stored checkpoints say. Raises CorruptData."""
        mark = await asyncio.to_thread(read_watermark, self._node.home.watermark, self._key)
        if mark is None:
            self.set_back = "The file watermark is gone, which said how far this home had come."
        else:
            self.mark = mark
            self.set_back = log_was_set_back(mark, places)
        self.roster_changed()
        own = Filter(kinds=frozenset({kinds.CHECKPOINT}), authors=frozenset({self._node.identity.npub}))
        raws = await self._node.relay.query([own], PAGE)
        await self._look_at([decode_event(raw) for raw in raws])
        self._compare(places)

    def roster_changed(self) -> None:
        """The roster may have caught up with what it was, or name devices that it did not."""
        self._arrived += self._shelf.known_by_now()
        if self._arrived:
            self._something_to_do.set()
        team = self._node.membership.team
        entries, epoch = (0, 0) if team is None else (team.entries_known, team.epoch)
        behind = roster_was_set_back(self.mark, entries, epoch)
        if behind:
            self.set_back = self.set_back or behind
        elif self.set_back.startswith("The database"):
            log.info("the roster is as new again as it was before the database was set back")
            self.set_back = ""

    def heard(self, event: Event) -> None:
        """A checkpoint that was stored. Returns at once."""
        self._arrived.append(event)
        self._something_to_do.set()

    async def _look_at(self, events: list[Event]) -> None:
        for heard in await self._shelf.verified(events):
            checkpoint, event = heard
            if event.pubkey != self._node.identity.npub:
                self._shelf.put(heard)
                continue
            if self._own is None or self._own[0].n < checkpoint.n:
                self._own = heard
            if event.id in self._signed_here:
                self._shelf.put(heard)
            else:
                self._to_compare.append(heard)

    def _bundle_of(self, npub: str) -> KeyBundle | None:
        """This device's own even while its team is not known yet."""
        if npub == self._node.identity.npub:
            return self._node.identity.bundle
        team = self._node.membership.team
        return team.bundle_of(npub) if team is not None else None

    @property
    def newest_own(self) -> tuple[Checkpoint, Event] | None:
        """The last checkpoint of this device, those aside that speak of a log it has no more."""
        own = self._own
        return own if own is not None and own[0].n > self.mark.forgiven else None

    def _compare(self, places: Places) -> None:
        """What this device has signed with the log that it has. A set-back log may have grown longer
        again than it was: what stands at the place decides."""
        for checkpoint, _ in self._to_compare:
            if checkpoint.n > self.mark.forgiven and not stands_in(checkpoint, places):
                self.set_back = (
                    f"This device has signed record {checkpoint.audit_seq} of its audit log, as a teammate "
                    "can show, and another record or none stands there now."
                )
        self._shelve()

    def _shelve(self) -> None:
        if not self.set_back:
            for heard in self._to_compare:
                self._shelf.put(heard)
            self._to_compare.clear()

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
        self._signed_here.add(event.id)
        verdict = await node.publish(event)
        if not verdict.accepted:
            raise Refused(verdict.code, verdict.sentence)
        self._own = (checkpoint, event)
        node.state.put(STATE, Covered(n, log_id, head))
        self.mark = Watermark(audit_seq, audit_head, team.entries_known, team.epoch, n, self.mark.forgiven)
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
        await self._catch_up()
        self.set_back = ""
        last = max(self.mark.checkpoint, self._own[0].n if self._own is not None else 0)
        # Numbers go on from the highest that anybody holds, or the next ones would count for nothing.
        self.mark = Watermark(checkpoint=last, forgiven=last)
        await asyncio.to_thread(write_watermark, self._node.home.watermark, self._key, self.mark)
        self._shelve()
        await self.make()

    async def keep(self) -> None:
        """Runs until cancelled."""
        await self._shelf.look_through(spared=self._node.identity.npub)
        due = asyncio.get_running_loop().time() + EVERY_S
        while True:
            try:
                async with asyncio.timeout_at(due):
                    await self._something_to_do.wait()
            except TimeoutError:
                due += EVERY_S
                await self.make()
            else:
                await self._catch_up()

    async def _catch_up(self) -> None:
        """With the checkpoints that have come."""
        async with self._looking:
            self._something_to_do.clear()
            arrived, self._arrived = self._arrived, []
            await self._look_at(arrived)
            if self._to_compare and not self.set_back:
                self._compare(await self._node.audit_places())
                self._node.control.status_changed()
            await self._shelf.tidy()
