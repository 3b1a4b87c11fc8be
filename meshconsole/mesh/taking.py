"""The taking half of the sync machine: takes over one peer's log, and never loses its place. Pure.

The laws:

1. Store, then move the cursor, then acknowledge: the cursor on disk is never ahead of the store.
2. Batches are finished in their order. One that waits for a `Fill` holds up those behind it, and so,
   through the peer's window, the peer.
3. Offered events that are here already are not asked for, nor those that another peer was just asked for.
4. What the store refuses for good (a bad signature, a newer version is here) is counted, remembered and
   passed over. What it refuses for now (no room) is tried again: the cursor waits, the peer waits. What a
   later entry of the roster may make good is passed over, and not remembered: the node keeps it aside, and
   where it could not, the comparison of the next session brings it again.
5. At most NEED_BYTES are asked for at once; a peer that sends what was not asked for, or more than the
   window, breaks the protocol. So does one whose offers are nearly all empty, or whose events are nearly all
   forged: every honest device has checked what it holds.

Asks for the shell are in `asks`, messages for the peer in `outbox`. Times are seconds.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import RemoteError
from meshconsole.mesh.asked import ASKED_S, Asked, Progress
from meshconsole.mesh.asks import AnswerCompare, FindMissing, SaveCursor, Store, StoreLive
from meshconsole.mesh.flights import WINDOW_BATCHES, WINDOW_BYTES
from meshconsole.mesh.incoming import Incoming
from meshconsole.mesh.messages import OFFER, Ack, Batch, Compare, Compared, Fill, Live, Need, Sync, Want
from meshconsole.relay.event import claimed_id as store_claimed_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshconsole.core.verdict import Verdict
    from meshconsole.mesh.known import KnownIds

NEED_BYTES = 256 * 1024
STORE_BYTES = 256 * 1024
MAX_FALSE = 64
RETRY_FIRST_S = 2.0
RETRY_LAST_S = 60.0
_LARGEST_EVENT = (1 << 20) + 4096

TEMPORARY = frozenset({"error", "rate-limited", "restricted"})
"""Codes of verdicts that may change with time: the disk is full, the quota is reached."""


def claimed_id(raw: bytes) -> bytes | None:
    """The id that the store takes an event's to be, read by the store's own reader: two readers that
    disagree would let a peer pass one event off as another. None if it says nothing usable."""
    claimed = store_claimed_id(raw)
    return bytes.fromhex(claimed) if claimed else None


class Taking(msgspec.Struct):
    known: KnownIds
    """Ids the peer has; shared with the serving half."""
    settled: KnownIds
    """Ids that went through the store lately, whatever it said; shared by all peers."""
    asked: Asked
    """Shared by all peers."""
    asks: list[FindMissing | Store | StoreLive | AnswerCompare | SaveCursor] = msgspec.field(
        default_factory=list
    )
    outbox: list[Sync] = msgspec.field(default_factory=list)
    log_id: str = ""
    cursor: int = 0
    head: int = 0
    """The newest seq of the peer's log, as far as it was announced."""
    is_active: bool = False
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    trouble: str = ""
    """Why nothing is taken over at the moment."""
    _empty: int = 0
    """Offers that came to nothing."""
    _forged: int = 0
    _behind: int = 0
    """Events that the peer found this side to lack, and has not offered yet."""
    _answering: bool = False
    _stream: int = 0
    _expected: int = 1
    _queue: deque[Incoming] = msgspec.field(default_factory=deque)
    _held: int = 0
    _asked_bytes: int = 0
    _elsewhere: dict[bytes, tuple[Incoming, int]] = msgspec.field(default_factory=dict)
    _look_at: float | None = None
    """When to ask for what another peer was asked for."""
    _progress: Progress = msgspec.field(default_factory=Progress)
    _storing: list[Incoming] = msgspec.field(default_factory=list)
    _saving: bool = False
    _retry_at: float | None = None
    _retry_s: float = RETRY_FIRST_S

    def start(self, log_id: str, head: int, cursor: int) -> None:
        """A link is up, or another one is to carry the stream: asks for everything behind `cursor`."""
        self.stop()
        self._stream += 1
        self.is_active = True
        self.log_id, self.head, self.cursor = log_id, head, cursor
        self.outbox.append(Want(self._stream, log_id, cursor))

    def stop(self) -> None:
        """The link of the stream is gone."""
        self.is_active = False
        self._expected = 1
        self._held = self._asked_bytes = self._behind = 0
        self._answering = False
        for incoming in self._queue:
            self.asked.release(incoming.offers[place][0] for place in incoming.awaited)
        self._progress = Progress()
        self._keep_what_came()
        self._elsewhere.clear()
        self._look_at = None
        self._queue.clear()
        self._storing = []
        self._saving = False
        self._retry_at = None
        self._retry_s = RETRY_FIRST_S
        self.trouble = ""
        self.outbox.clear()

    def _keep_what_came(self) -> None:
        """What is here in full is stored for itself, so that another stream need not bring it again."""
        for incoming in self._queue:
            if incoming.events and incoming not in self._storing:
                self.asks.append(StoreLive(tuple(incoming.events)))

    @property
    def lag(self) -> int:
        """Events that the peer holds and this side lacks: exact for what was offered, and for the rows of
        the log behind that at most so many. 0 exactly when none are left."""
        offered = self._queue[-1].upto if self._queue else self.cursor
        rows = max(0, self.head - max(offered, self.cursor))
        return rows + self._behind + sum(incoming.missing for incoming in self._queue)

    @property
    def lag_bytes(self) -> int:
        """Bytes of the events that were offered and are lacking."""
        return sum(incoming.missing_bytes for incoming in self._queue)

    def announced(self, head: int) -> None:
        """The peer says how long its log is."""
        self.head = max(self.head, head)

    def batch(self, batch: Batch, now: float) -> None:
        """Raises RemoteError for what breaks order, window or form."""
        if not self.is_active or batch.stream != self._stream:
            return
        newest = self._queue[-1].upto if self._queue else 0
        if batch.number != self._expected or batch.upto < newest or len(batch.offered) % OFFER:
            raise RemoteError("bad-batch", "The peer sent a batch out of order.")
        self._expected += 1
        self.head = max(batch.head, batch.upto)
        self._behind = batch.behind
        self._held += sum(len(raw) for raw in batch.pushed)
        if len(self._queue) >= 2 * WINDOW_BATCHES or self._held > 2 * WINDOW_BYTES + _LARGEST_EVENT:
            raise RemoteError("window", "The peer sent more than its window allows.")
        for raw in batch.pushed:
            event_id = claimed_id(raw)
            if event_id is not None:
                self.known.add(event_id)
                # Whoever offers it as well need not be asked.
                self.asked.claim(event_id, now, self._progress)
        offers: list[tuple[bytes, int]] = []
        for start in range(0, len(batch.offered), OFFER):
            event_id = batch.offered[start : start + 32]
            size = int.from_bytes(batch.offered[start + 32 : start + OFFER], "big")
            if size > _LARGEST_EVENT:
                raise RemoteError("too-big", f"The peer offered an event of {size} bytes.")
            self.known.add(event_id)
            offers.append((event_id, size))
        unknown = tuple(event_id for event_id, _ in offers if event_id not in self.settled)
        incoming = Incoming(batch.number, batch.upto, list(batch.pushed), offers, is_checked=not unknown)
        self._queue.append(incoming)
        if unknown:
            self.asks.append(FindMissing(self._stream, batch.number, unknown))
        self._proceed(now)

    def missing(self, stream: int, number: int, missing: set[bytes], now: float) -> None:
        """Answers FindMissing."""
        incoming = self._find(stream, number)
        if incoming is None:
            return
        incoming.is_checked = True
        incoming.to_ask.extend(
            position for position, (event_id, _) in enumerate(incoming.offers) if event_id in missing
        )
        self._proceed(now)

    def fill(self, fill: Fill, now: float) -> None:
        """Raises RemoteError for events that were not asked for, or are larger than offered."""
        if not self.is_active or fill.stream != self._stream:
            return
        incoming = self._find(fill.stream, fill.number)
        for position, raw in fill.events:
            if incoming is None or position not in incoming.awaited:
                raise RemoteError("unasked", "The peer sent an event that was not asked for.")
            size = incoming.offers[position][1]
            if len(raw) > size:
                raise RemoteError("too-big", "The peer sent an event larger than it had offered.")
            incoming.awaited.discard(position)
            self._asked_bytes -= size
            if not raw:
                self.asked.release((incoming.offers[position][0],))
                self._empty += 1
                if self._empty > MAX_FALSE + self.accepted:
                    raise RemoteError("false-offers", "The peer offers events that it does not have.")
            else:
                incoming.events.append(raw)
                self._held += len(raw)
                self._progress.at = now
        self._proceed(now)

    def compare(self, compare: Compare) -> None:
        """Raises RemoteError if the peer does not wait for the answer."""
        if not self.is_active or compare.stream != self._stream:
            return
        if self._answering:
            raise RemoteError("bad-compare", "The peer did not wait for the answer to a comparison.")
        self._answering = bool(compare.data)
        self.asks.append(AnswerCompare(compare.stream, compare.number, compare.sealed, compare.data))

    def answered(self, stream: int, number: int, data: bytes) -> None:
        """Answers AnswerCompare; b"" when this side cannot compare."""
        if stream == self._stream and self._answering:
            self._answering = False
            self.outbox.append(Compared(stream, number, data))

    def live(self, live: Live) -> None:
        for raw in live.events:
            self._peer_has(claimed_id(raw))
        self.asks.append(StoreLive(live.events))

    def stored(self, stream: int, verdicts: Sequence[Verdict], now: float) -> None:
        """Answers Store. Raises RemoteError for a peer that is no honest one."""
        if stream != self._stream or not self._storing:
            return
        reasons = [v for v in verdicts if not v.accepted and v.code in TEMPORARY]
        if reasons:
            self.trouble = reasons[0].sentence
            self._storing = []
            self._retry_at = now + self._retry_s
            self._retry_s = min(2 * self._retry_s, RETRY_LAST_S)
            return
        self.judge(verdicts)
        self.trouble = ""
        self._progress.at = now
        self._retry_s = RETRY_FIRST_S
        raws = (raw for incoming in self._storing for raw in incoming.events)
        for raw, verdict in zip(raws, verdicts, strict=True):
            self._count(verdict)
            event_id = claimed_id(raw)
            if event_id is None:
                continue
            if verdict.code == "auth-required":
                self.settled_elsewhere(event_id, now)
            elif verdict.code != "invalid":
                self.settled.add(event_id)
                self.settled_elsewhere(event_id, now)
        self._save(now)

    def saved(self, stream: int, now: float) -> None:
        """Answers SaveCursor: now, and not before, the peer hears of it."""
        if stream != self._stream or not self._saving:
            return
        self._saving = False
        last = self._storing[-1]
        for incoming in self._storing:
            self._queue.popleft()
            self._held -= sum(len(raw) for raw in incoming.events)
        self._storing = []
        self.cursor = last.upto
        self.outbox.append(Ack(self._stream, last.number))
        self._proceed(now)

    def judge(self, verdicts: Sequence[Verdict]) -> None:
        """What the store said of events of this peer, live ones too. Raises RemoteError for a forger."""
        forged = sum(1 for verdict in verdicts if verdict.code == "invalid")
        self._forged += forged
        if forged and self._forged > MAX_FALSE + self.accepted:
            raise RemoteError("forged", "The peer sends events that are not what they claim to be.")

    def settled_elsewhere(self, event_id: bytes, now: float) -> None:
        """It is in the store now, whoever brought it."""
        self.asked.release((event_id,))
        if event_id in self._elsewhere:
            incoming, place = self._elsewhere.pop(event_id)
            incoming.elsewhere.discard(place)
            self._proceed(now)

    def next_timer(self) -> float | None:
        timers = [at for at in (self._retry_at, self._look_at) if at is not None]
        return min(timers, default=None)

    def handle_timer(self, now: float) -> None:
        if self._look_at is not None and now >= self._look_at:
            self._look_at = None
            for incoming, place in self._elsewhere.values():
                incoming.elsewhere.discard(place)
                incoming.to_ask.append(place)
            self._elsewhere.clear()
            for incoming in self._queue:
                incoming.to_ask = deque(sorted(incoming.to_ask))
            self._proceed(now)
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            self._proceed(now)

    def _proceed(self, now: float) -> None:
        self._ask(now)
        if self._storing or self._retry_at is not None:
            return
        size = 0
        for incoming in self._queue:
            if not incoming.is_whole or size > STORE_BYTES:
                break
            self._storing.append(incoming)
            size += sum(len(raw) for raw in incoming.events)
        if not self._storing:
            return
        events = tuple(raw for incoming in self._storing for raw in incoming.events)
        if events:
            self.asks.append(Store(self._stream, events))
        else:
            self._save(now)

    def _ask(self, now: float) -> None:
        """Needs in the order of the batches, as far as NEED_BYTES allow."""
        for incoming in self._queue:
            positions: list[int] = []
            while incoming.to_ask and self._asked_bytes < NEED_BYTES:
                position = incoming.to_ask.popleft()
                event_id, size = incoming.offers[position]
                if event_id in self.settled:
                    continue
                if event_id in self._elsewhere:
                    continue  # offered twice by this peer, and the first of them waits
                if not self.asked.claim(event_id, now, self._progress):
                    incoming.elsewhere.add(position)
                    self._elsewhere[event_id] = incoming, position
                    self._look_at = self._look_at or now + ASKED_S
                    continue
                positions.append(position)
                incoming.awaited.add(position)
                self._asked_bytes += size
            if positions:
                self.outbox.append(Need(self._stream, incoming.number, tuple(positions)))
            if incoming.to_ask:
                return

    def _save(self, now: float) -> None:
        self._saving = True
        upto = self._storing[-1].upto
        if upto == self.cursor:
            self.saved(self._stream, now)
        else:
            self.asks.append(SaveCursor(self._stream, self.log_id, upto))

    def _find(self, stream: int, number: int) -> Incoming | None:
        if stream != self._stream:
            return None
        return next((incoming for incoming in self._queue if incoming.number == number), None)

    def _peer_has(self, event_id: bytes | None) -> None:
        if event_id is not None:
            self.known.add(event_id)

    def _count(self, verdict: Verdict) -> None:
        if verdict.code == "duplicate":
            # Also of one that is not accepted because a newer version of it is here.
            self.duplicates += 1
        elif verdict.accepted:
            self.accepted += 1
        else:
            self.refused += 1
