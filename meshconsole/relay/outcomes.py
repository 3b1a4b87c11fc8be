"""What became of an event: taken in or turned away, it is counted, passed on live, and the node is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.event import Event, is_ephemeral
from meshconsole.core.kinds import CONTROL_KINDS
from meshconsole.relay.shared import VIA_SHARED, SharedStore

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from meshconsole.core.verdict import Verdict
    from meshconsole.relay.delivering import Delivering
    from meshconsole.relay.frequent import Use
    from meshconsole.relay.pipeline import Offer
    from meshconsole.relay.store import EventStore, FeedRow
    from meshconsole.relay.traffic import Traffic


class Stored(msgspec.Struct, frozen=True):
    """An event was taken in, after its durable commit. `seq` is 0 for ephemeral ones, which are not
    kept. `received_at` is in seconds since the epoch; `raw` is the event as it is stored and sent."""

    event: Event
    seq: int
    via: str
    received_at: float
    raw: bytes


class RefusedEvent(msgspec.Struct, frozen=True):
    """An event was turned away. `event` is None when it could not even be read."""

    event: Event | None
    id: str
    via: str
    received_at: float
    size: int
    verdict: Verdict


class Outcomes:
    """`emit` hears Stored and RefusedEvent. `refusals` counts by verb and code."""

    def __init__(
        self,
        store: EventStore,
        live: Delivering,
        traffic: Traffic,
        refusals: Counter[tuple[str, str]],
        emit: Callable[[Stored | RefusedEvent], None],
        clock: Callable[[], float],
    ) -> None:
        self._shared = store if isinstance(store, SharedStore) else None
        self._live = live
        self._traffic = traffic
        self._refusals = refusals
        self._emit = emit
        self._clock = clock
        self.announced = 0
        """The newest event that was passed on."""

    def happened(self, offer: Offer, verdict: Verdict, seq: int) -> int:
        """An event reached its end in the pipeline. Returns the bytes that each of those who want it is
        sent."""
        if offer.read is None or not verdict.accepted:
            event = offer.data if isinstance(offer.data, Event) else None
            size = len(offer.data) if isinstance(offer.data, bytes) else 0
            if offer.read is not None:
                event, size = offer.read.event, len(offer.read.raw)
            self.turned_away(event, offer.claimed, size, verdict, offer.via, offer.client.use)
            return 0
        event, raw, _ = offer.read
        self._traffic.stored(event.kind, event.pubkey, len(raw))
        offer.client.use.events += 1
        if self._shared is not None and is_ephemeral(event.kind):
            self._shared.pass_on(raw)
        wanted = self._taken_in(event, raw, seq, offer.via)
        return len(raw) if wanted else 0

    def heard(self, event: Event, row: FeedRow) -> int:
        """Another process on the same store took it in. Returns bytes as `happened` does."""
        return len(row.raw) if self._taken_in(event, row.raw, row.seq, VIA_SHARED) else 0

    def turned_away(
        self, event: Event | None, claimed: str, size: int, verdict: Verdict, via: str, use: Use
    ) -> None:
        """Also for what is a duplicate, which is an accepting verdict and no refusal in the figures."""
        self._refusals["EVENT", verdict.code] += 1
        if not verdict.accepted:
            self._traffic.refuse(verdict, use)
        self._emit(RefusedEvent(event, claimed, via, self._clock(), size, verdict))

    def _taken_in(self, event: Event, raw: bytes, seq: int, via: str) -> bool:
        """True when anybody here wanted it."""
        wanted = self._live.pass_on(event, raw, seq)
        self.announced = max(self.announced, seq)
        self._emit(Stored(event, seq, via, self._clock(), raw))
        if event.kind in CONTROL_KINDS:
            self._live.ask_again()  # it may have changed who belongs to the team
        return wanted
