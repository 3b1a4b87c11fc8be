"""The life of an event in the relay: offered -> checked -> judged -> committed -> answered.

One loop tick gathers what all connections offered. Duplicates are set aside, the rest is read and
its signatures are verified in batches off the loop; what the policies let through is committed in
groups by one writer thread. Nothing is answered or passed on before its commit is durable.

Order is kept: batches are checked side by side but leave the check in the order they entered it.
An offer whose id is under way already waits for the first one's fate: a forgery must not be able to
shadow the genuine event.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.event import decode_event, is_addressable, is_ephemeral, is_replaceable
from meshconsole.core.kinds import DELETION, VANISH
from meshconsole.core.verdict import ACCEPTED, DUPLICATE, Verdict, refuse
from meshconsole.relay import vanishing
from meshconsole.relay.checkers import Checkers
from meshconsole.relay.checking import check
from meshconsole.relay.event import MAX_EVENT_BYTES, ReadEvent, expiration
from meshconsole.relay.judging import judge_event, vanishes_here
from meshconsole.relay.policy import may_offer
from meshconsole.relay.promptness import FEW, FEW_BYTES
from meshconsole.relay.store import Entry, PromptWriter, Written
from meshconsole.relay.threads import LoopThreads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from meshconsole.core.event import Event
    from meshconsole.core.sections import PerformanceMode
    from meshconsole.relay.policy import Client, House
    from meshconsole.relay.store import EventStore, FeedRow

log = logging.getLogger(__name__)

CHUNK = 128
CHUNK_BYTES = 1 << 20
MAX_COMMIT = 1024
LOOK_FOR = 2048
"""So many offers are looked for in the store after the last one that it had already. Later none is, until
the write finds a duplicate, as it does each: a reader's cache is void after each commit, so that looking
costs a fifth of a signature check, and those behind a batch that comes late to its check wait for it."""

TURN_BYTES = 64 * 1024
"""Of events that are passed on in one turn of the loop: then connections are written to, and others
get theirs, before the rest of a commit follows."""

TURN_EVENTS = 256
"""So many are answered in one turn, so that clients send the next ones while the rest is answered."""

RECENT = 2048

STOPPING = refuse("error", "this relay is shutting down")
BROKEN = refuse("error", "an internal error; the event was not stored")


class Offer(msgspec.Struct, eq=False, gc=False):
    """An event somebody wants published. `answer` is called exactly once, on the loop."""

    data: bytes | Event
    claimed: str
    client: Client
    via: str
    answer: Callable[[Verdict], None]
    max_bytes: int = MAX_EVENT_BYTES
    read: ReadEvent | None = None

    @property
    def size(self) -> int:
        """In bytes, about."""
        data = self.data
        return len(data) if isinstance(data, bytes) else len(data.content) + 64 * len(data.tags)


@dataclass(slots=True, eq=False)
class _Batch:
    offers: list[Offer]
    checked: list[ReadEvent | Verdict] | None = None


class Pipeline:
    """`happened(offer, verdict, seq)` is called after the answer, for everything but duplicates, and says
    how many bytes are sent on because of it; `heard` is the same for what other processes took in.
    `paced` has the last word on what the policies let through. `answered` sends answers at once: called where
    nobody but one waits for one."""

    def __init__(
        self,
        store: EventStore,
        happened: Callable[[Offer, Verdict, int], int | None],
        clock: Callable[[], float],
        paced: Callable[[Event, Client], Verdict] = lambda _event, _client: ACCEPTED,
        heard: Callable[[Event, FeedRow], int] = lambda event, row: 0,
        answered: Callable[[], None] = lambda: None,
        mode: PerformanceMode = "balanced",
    ) -> None:
        self._store = store
        self._prompt = store if isinstance(store, PromptWriter) else None
        self._paced = paced
        self._happened = happened
        self._heard = heard
        self._answered = answered
        self._clock = clock
        self._inbox: list[Offer] = []
        self._ticking = False
        self._under_way: dict[str, list[Offer] | None] = {}
        """Claimed ids, and later offers of the same one."""
        self._recent: OrderedDict[str, None] = OrderedDict()
        self._batches: deque[_Batch] = deque()
        self._ready: list[Offer] = []
        self._ended: deque[tuple[Offer, Verdict, int]] = deque()
        """What the writer is done with, to be settled in order."""
        self._foreign: deque[FeedRow] = deque()
        """What other processes on the same store took in, to be told in the log's order with the others."""
        self._settling = False
        self._writing = False
        self._look_for = LOOK_FOR
        self._open_offers = 0
        self.clients_waiting = 0
        """Events of plain clients among them."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False
        self._loop = asyncio.get_running_loop()
        self._checkers = Checkers(store, mode)
        self._writer = LoopThreads(1, "relay-write")

    def offer(self, offer: Offer) -> None:
        if self._stopping:
            offer.answer(STOPPING)
            return
        self._open_offers += 1
        self.clients_waiting += not offer.client.trusted
        self._idle.clear()
        self._inbox.append(offer)
        if len(self._inbox) < CHUNK:
            self._schedule()
        else:
            self._take_in()  # those who check it begin while the loop reads on

    def hear(self, rows: Sequence[FeedRow]) -> None:
        """Other processes on the same store took these in (relay/shared.py)."""
        self._foreign += rows
        if not self._settling:
            self._settle_some()

    def forget(self) -> None:
        """Something was removed from the store by another way than a write."""
        self._recent.clear()

    def set_mode(self, mode: PerformanceMode) -> Checkers:
        """Batches from now on are checked as it says. Returns those who checked before: to be stopped, which
        lets what is under way end."""
        former, self._checkers = self._checkers, Checkers(self._store, mode)
        return former

    async def stop(self) -> None:
        """Lets what was offered run to its end, then ends the threads."""
        self._stopping = True
        await self._idle.wait()
        await self._checkers.stop()
        self._writer.stop()

    def _schedule(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        self._ticking = False
        self._take_in()

    def _take_in(self) -> None:
        inbox, self._inbox = self._inbox, []
        fresh = [offer for offer in inbox if self._is_fresh(offer)]
        if not fresh:
            return
        if not self._batches and _is_little(fresh):
            self._leave_check(_Batch(fresh, [check(offer) for offer in fresh]))
            return
        for offers in _chunks(fresh):
            batch = _Batch(offers)
            self._batches.append(batch)
            self._checkers.check(
                offers,
                partial(self._checked, batch),
                partial(self._unchecked, batch),
                looking=self._looks(len(offers)),
            )

    def _is_fresh(self, offer: Offer) -> bool:
        if not offer.claimed:
            return True
        if offer.claimed in self._recent:
            self._settle(offer, DUPLICATE, 0)
            return False
        if offer.claimed not in self._under_way:
            self._under_way[offer.claimed] = None
            return True
        others = self._under_way[offer.claimed]
        if others is None:
            self._under_way[offer.claimed] = [offer]
        else:
            others.append(offer)
        return False

    def _looks(self, count: int) -> bool:
        """Whether a batch is looked for in the store before its signatures are checked."""
        self._look_for = max(0, self._look_for - count)
        return self._look_for > 0

    def _unchecked(self, batch: _Batch, error: BaseException) -> None:
        log.error("checking events failed", exc_info=error)
        self._checked(batch, [BROKEN] * len(batch.offers))

    def _checked(self, batch: _Batch, checked: list[ReadEvent | Verdict]) -> None:
        batch.checked = checked
        while self._batches and self._batches[0].checked is not None:
            self._leave_check(self._batches.popleft())

    def _leave_check(self, batch: _Batch) -> None:
        now = self._clock()
        for offer, checked in zip(batch.offers, batch.checked or (), strict=True):
            if isinstance(checked, Verdict):
                self._settle(offer, checked, 0)
                continue
            offer.read = checked
            verdict = self._judge(checked.event, offer.client, now)
            if verdict.code:
                self._settle(offer, verdict, 0)
            elif is_ephemeral(checked.event.kind):
                expires = expiration(checked.event)
                expired = expires is not None and expires <= now
                self._settle(offer, refuse("invalid", "the event has expired") if expired else ACCEPTED, 0)
            else:
                self._ready.append(offer)
        self._write()

    def _judge(self, event: Event, client: Client, now: float) -> Verdict:
        """A fault costs one event, never those beside it, whose answers would not come any more."""
        try:
            verdict = judge_event(event, client, now)
            return verdict if verdict.code else self._paced(event, client)
        except Exception:
            log.exception("judging an event failed")
            return BROKEN

    def _write(self) -> None:
        if self._writing or not self._ready:
            return
        # A commit costs as much by itself as some thirty events: while more is being checked, it waits
        # until half of what is under way can go together.
        if self._batches and len(self._ready) < min(self._open_offers // 2, MAX_COMMIT):
            return
        self._writing = True
        group, self._ready = self._ready[:MAX_COMMIT], self._ready[MAX_COMMIT:]
        entries = [_entry(offer.read, offer.client.house) for offer in group if offer.read is not None]
        uninvited = {
            entry.event.pubkey
            for entry, offer in zip(entries, group, strict=True)
            if entry.vanish and not may_offer(offer.client).accepted
        }
        written = self._written_now(group, entries)
        if written is not None:
            self._written(group, written)
            return
        self._writer.do(
            partial(vanishing.write, self._store, entries, uninvited)
            if uninvited
            else partial(self._store.write, entries),
            partial(self._written, group),
            partial(self._unwritten, group),
        )

    def _written_now(self, group: Sequence[Offer], entries: Sequence[Entry]) -> list[Written] | None:
        """On the loop itself, where that is quick and nothing else is under way: to the writing thread and
        back takes a tenth of the time until the answer. What removes others' events may take long."""
        if self._prompt is None or len(group) < self._open_offers or not _is_little(group):
            return None
        if any(entry.vanish or entry.event.kind == DELETION for entry in entries):
            return None
        try:
            return self._prompt.write_now(entries)
        except Exception:
            log.exception("writing events failed")
            return [Written(BROKEN, 0)] * len(entries)

    def _unwritten(self, group: Sequence[Offer], error: BaseException) -> None:
        log.error("writing events failed", exc_info=error)
        self._written(group, [Written(BROKEN, 0)] * len(group))

    def _written(self, group: Sequence[Offer], answers: Sequence[Written]) -> None:
        self._writing = False
        self._ended += ((offer, verdict, seq) for offer, (verdict, seq) in zip(group, answers, strict=True))
        self._write()
        if not self._settling:
            self._settle_some()

    def _settle_some(self) -> None:
        """Some of what was committed, here or by others; the rest in the next turns.

        By seq, which peers that follow the log rely on. A write that is under way may have taken a lower
        one than what is heard meanwhile.
        """
        self._settling = False
        sent_on = 0
        until = len(self._ended) - TURN_EVENTS
        while sent_on < TURN_BYTES and len(self._ended) > until:
            own = self._ended[0] if self._ended else None
            if self._foreign and (self._foreign[0].seq < own[2] if own is not None else not self._writing):
                sent_on += self._tell(self._foreign.popleft())
            elif own is not None:
                sent_on += self._settle(*self._ended.popleft())
            else:
                return
        self._settling = True
        self._loop.call_soon(self._settle_some)

    def _tell(self, row: FeedRow) -> int:
        """A client may have sent an ephemeral event to several processes: then it is known already."""
        event = decode_event(row.raw)
        if is_ephemeral(event.kind) and event.id in self._recent:
            return 0
        self._remember(event)
        return self._heard(event, row)

    def _settle(self, offer: Offer, verdict: Verdict, seq: int) -> int:
        """The one place where an offer ends. Returns how many bytes are sent on because of it."""
        sent_on = 0
        others = self._under_way.pop(offer.claimed, None) if offer.claimed else None
        if verdict.accepted and offer.claimed and offer.read is not None:
            self._remember(offer.read.event)
        offer.answer(verdict)
        if self._open_offers == 1:
            self._answered()
        if verdict is DUPLICATE:
            self._look_for = LOOK_FOR
        elif verdict.code != DUPLICATE.code:
            sent_on = self._happened(offer, verdict, seq) or 0
        if others:
            self._inbox += others
            self._schedule()
        self._open_offers -= 1
        self.clients_waiting -= not offer.client.trusted
        if not self._open_offers:
            self._idle.set()
        return sent_on

    def _remember(self, event: Event) -> None:
        """Recently accepted ids answer for the store, so only those that nothing has replaced or
        deleted since. Of what the store knew before, the kind was not looked at: it is left out."""
        kind = event.kind
        if kind in (DELETION, VANISH):
            self._recent.clear()
        if is_replaceable(kind) or is_addressable(kind):
            return
        self._recent[event.id] = None
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)


def _entry(read: ReadEvent, house: House) -> Entry:
    return Entry(read.event, read.raw, vanishes_here(read.event, house))


def _chunks(offers: Sequence[Offer]) -> Iterator[list[Offer]]:
    """Batches that are worth a thread's while, and do not take long."""
    chunk: list[Offer] = []
    size = 0
    for offer in offers:
        chunk.append(offer)
        size += offer.size
        if len(chunk) == CHUNK or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _is_little(offers: Sequence[Offer]) -> bool:
    """So little is checked on the loop itself, in well under a millisecond: handing it to a thread costs
    more. The store is not asked for duplicates then, since that could block; the write finds them."""
    if len(offers) > FEW:
        return False
    return sum(offer.size for offer in offers) <= FEW_BYTES
