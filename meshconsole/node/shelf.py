"""The team's checkpoints as this node keeps them: verified off the loop, the needless ones removed.

What stays of a device's checkpoints is decided by their numbers (`team.checkpoints.needless`), but a
number counts only under both signatures: who has a device's Nostr key alone pushes nothing out. Those
of devices that are not known yet wait for the roster, within bounds.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from typing import TYPE_CHECKING

from meshconsole.core import kinds
from meshconsole.core.errors import MeshconsoleError, Refused
from meshconsole.core.event import decode_event
from meshconsole.relay.filter import Filter
from meshconsole.team.checkpoints import needless, read_checkpoint, verify_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from meshconsole.core.event import Event
    from meshconsole.crypto.bundle import KeyBundle
    from meshconsole.crypto.provider import Provider
    from meshconsole.relay.relay import Relay
    from meshconsole.team.checkpoints import Checkpoint

log = logging.getLogger(__name__)

PAGE = 500
MAX_STRANGERS = 256
"""Checkpoints of devices that no roster entry names yet; beyond it the oldest are removed."""

Heard = tuple["Checkpoint", "Event"]


class Shelf:
    def __init__(
        self, relay: Relay, bundle_of: Callable[[str], KeyBundle | None], provider: Provider
    ) -> None:
        self._relay = relay
        self._bundle_of = bundle_of
        self._provider = provider
        self._held: dict[str, dict[int, set[str]]] = defaultdict(dict)
        """By device and number: ids of checkpoints that are true, or were stored before this start."""
        self._strangers: dict[str, Event] = {}

    async def look_through(self, spared: str) -> None:
        """What was stored before this start, but that of `spared`. Only each device's newest is verified:
        it alone decides what goes."""
        wanted, after = [Filter(kinds=frozenset({kinds.CHECKPOINT}))], None
        while True:
            page = await asyncio.to_thread(self._relay.store.scan, wanted, after, PAGE)
            for raw in page.raws:
                self._note_stored(decode_event(raw), spared)
            after = page.after
            if after is None:
                break
        for npub in list(self._held):
            await self._trust_newest(npub)
        await self.tidy()

    def _note_stored(self, event: Event, spared: str) -> None:
        if event.pubkey == spared:
            return
        if self._bundle_of(event.pubkey) is None:
            self._strangers[event.id] = event
            return
        try:
            n = read_checkpoint(event).n
        except Refused:
            n = 0  # goes with the first that is true
        self._held[event.pubkey].setdefault(n, set()).add(event.id)

    async def _trust_newest(self, npub: str) -> None:
        """Removes false ones until the one with the highest number is true."""
        held = self._held[npub]
        while held:
            newest = max(held)
            raws = await self._relay.query([Filter(ids=frozenset(held[newest]))], len(held[newest]))
            true = await self.verified([decode_event(raw) for raw in raws])
            if true:
                held[newest] = {event.id for _, event in true}
                return
            del held[newest]

    async def verified(self, events: Sequence[Event]) -> list[Heard]:
        """Those that both signatures hold; the false ones are removed, those of strangers wait."""
        known, false = [], []
        for event in events:
            bundle = self._bundle_of(event.pubkey)
            if bundle is None:
                self._strangers[event.id] = event
            else:
                known.append((event, bundle))
        true: list[Heard] = []
        for (event, _), checkpoint in zip(known, await asyncio.to_thread(self._verify, known), strict=True):
            if checkpoint is None:
                false.append(event.id)
            else:
                true.append((checkpoint, event))
        await self._retire(false)
        return true

    def _verify(self, events: Iterable[tuple[Event, KeyBundle]]) -> list[Checkpoint | None]:
        found: list[Checkpoint | None] = []
        for event, bundle in events:
            try:
                found.append(verify_checkpoint(event, bundle, self._provider))
            except Refused as error:
                log.warning("a checkpoint of %s counts for nothing: %s", event.pubkey[:8], error.sentence)
                found.append(None)
        return found

    def put(self, heard: Heard) -> None:
        """One that is true."""
        checkpoint, event = heard
        self._held[event.pubkey].setdefault(checkpoint.n, set()).add(event.id)

    def known_by_now(self) -> list[Event]:
        """Checkpoints that waited for a device which the roster names now."""
        found = [event for event in self._strangers.values() if self._bundle_of(event.pubkey) is not None]
        for event in found:
            del self._strangers[event.id]
        return found

    async def tidy(self) -> None:
        gone = set(list(self._strangers)[:-MAX_STRANGERS])
        for event_id in gone:
            del self._strangers[event_id]
        for held in self._held.values():
            doomed = needless(held)
            for n in [n for n, ids in held.items() if ids & doomed]:
                held[n] -= doomed
                if not held[n]:
                    del held[n]
            gone |= doomed
        await self._retire(list(gone))

    async def _retire(self, ids: Sequence[str]) -> None:
        """A store that is away or full is asked again at the next start."""
        if not ids:
            return
        try:
            await self._relay.retire(ids)
        except MeshconsoleError as error:
            log.warning("needless checkpoints could not be removed: %s", error)
