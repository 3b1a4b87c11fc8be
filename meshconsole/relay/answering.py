"""Questions answered from the store: the stored part of a REQ, and counts. Off the loop, in pages.

A page is read when the connection can take it, so that a slow client costs no memory and holds up
nobody.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from meshconsole.core.errors import MeshconsoleError, Refused, Unavailable
from meshconsole.core.verdict import Verdict, refuse
from meshconsole.relay.counting import Counted, count_stored
from meshconsole.relay.event import has_expired
from meshconsole.relay.pacing import charged, in_turn
from meshconsole.relay.policy import may_ask
from meshconsole.relay.store import Answer, PromptStore, first_page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from meshconsole.core.sections import RelaySection
    from meshconsole.relay.filter import Filter
    from meshconsole.relay.happening import Counting
    from meshconsole.relay.session import Session, Subscription
    from meshconsole.relay.store import EventStore
    from meshconsole.relay.threads import LoopThreads
    from meshconsole.relay.traffic import Traffic

log = logging.getLogger(__name__)

PAGE_BYTES = 256 * 1024
"""Stored events are read and sent in pages of about this size, so that memory stays bounded."""

SETTLE_S = 1.0
WINDOW_S = 0.010
AT_ONCE_S = 0.006
"""So much of each WINDOW_S the loop itself may spend on answers while events are to be taken in; the rest of
the questions then go to threads."""

TURN_S = 0.010
"""The same of one turn of the loop, whether events wait or not: what came over other connections meanwhile
it sees with the next turn."""

SLOW_S = 0.050
RESPITE = 20
"""An answer on the loop that took so long waited for the disk, page after page: for so many times as long all
questions go to threads."""


class Answering:
    """`announced` is the newest event that was passed on live. `drained` waits until a session's
    connection can take more, and says whether it is still there. `closed` hears of subscriptions that
    ended because their question failed; `others_wait` says whether the loop has events to take in. Made on
    the loop."""

    def __init__(
        self,
        store: EventStore,
        readers: LoopThreads,
        *,
        config: Callable[[], RelaySection],
        announced: Callable[[], int],
        drained: Callable[[Session], Awaitable[bool]],
        closed: Callable[[Subscription], None],
        others_wait: Callable[[], bool],
        traffic: Traffic,
        clock: Callable[[], float],
    ) -> None:
        self._traffic = traffic
        self._clock = clock
        self._store = store
        self._prompt = store if isinstance(store, PromptStore) else None
        self._readers = readers
        self._config = config
        self._announced = announced
        self._drained = drained
        self._closed = closed
        self._others_wait = others_wait
        self._pages: set[asyncio.Task[None]] = set()
        # Counts look at all that matches, so they may take long: they wait for each other, nobody for them.
        self._counting = ThreadPoolExecutor(1, thread_name_prefix="relay-count")
        self._loop = asyncio.get_running_loop()
        self._stopped = False
        self._window = self._spent_s = self._turn_s = self._respite_until = 0.0

    async def stop(self) -> None:
        self._stopped = True
        for task in self._pages:
            task.cancel()
        await asyncio.gather(*self._pages, return_exceptions=True)
        await asyncio.to_thread(self._counting.shutdown, cancel_futures=True)

    def open(self, subscription: Subscription, since: int) -> None:
        """It is registered for live events already; `since` is the newest that was passed on before."""
        subscription.since = since
        filters = [wanted for wanted in subscription.filters if wanted.limit != 0 and not wanted.impossible]
        if not filters:
            everything = True if all(wanted.impossible for wanted in subscription.filters) else None
            subscription.session.finish(subscription, 0, complete=everything)
            return
        cap = self._config().max_limit
        answer = self._at_once(filters, cap)
        if answer is not None:
            self._opened(subscription, answer)
            return
        self._readers.do(
            partial(self._first, subscription, filters, cap),
            partial(self._opened_late, subscription),
            partial(self._give_up, subscription),
        )

    def _at_once(self, filters: Sequence[Filter], cap: int) -> Answer | None:
        """Most questions are answered in less time than it takes to hand them to a thread and back, and two
        threads at once cost a third more of the processor than one. What questions may take of the loop's
        time is bounded while events are to be taken in; and in a turn, for many come in one piece."""
        if self._prompt is None:
            return None
        began = time.perf_counter()
        if began < self._respite_until:
            return None
        if began - self._window > WINDOW_S:
            self._window, self._spent_s = began, 0.0
        if self._turn_s > TURN_S or (self._spent_s > AT_ONCE_S and self._others_wait()):
            return None
        if not self._turn_s:
            self._loop.call_soon(self._end_turn)
        answer = None
        try:
            answer = self._prompt.answer_now(filters, cap, PAGE_BYTES)
        except Exception:  # a thread tells the client what it is, or answers
            log.exception("answering at once failed")
        spent = time.perf_counter() - began
        self._spent_s += spent
        self._turn_s += spent
        if spent > SLOW_S:
            self._respite_until = began + spent * RESPITE
        return answer

    def _end_turn(self) -> None:
        self._turn_s = 0.0

    def _first(self, subscription: Subscription, filters: Sequence[Filter], cap: int) -> Answer:
        """Runs in a thread. What was closed while it waited costs nothing: it is counted no more among
        what its client has under way."""
        if subscription.closed:
            return Answer([], [], 0, None)
        return self._store.answer(filters, cap, PAGE_BYTES)

    def _opened_late(self, subscription: Subscription, answer: Answer) -> None:
        if not self._is_shut_out(subscription):
            self._opened(subscription, answer)

    def _is_shut_out(self, subscription: Subscription) -> bool:
        """The client may have been removed while it waited or read: then it is told so."""
        verdict = may_ask(subscription.session.client)
        if not verdict.accepted:
            self._closed(subscription)
            subscription.session.fail(subscription, verdict)
        return not verdict.accepted

    def _opened(self, subscription: Subscription, answer: Answer) -> None:
        if answer.head_seq > subscription.since:
            subscription.sent = set()
        self._send_stored(subscription, answer.raws)
        if not answer.rest:
            self._finish(subscription, answer)
        elif not subscription.closed:
            task = asyncio.create_task(self._send_rest(subscription, answer))
            self._pages.add(task)
            task.add_done_callback(self._pages.discard)

    async def _send_rest(self, subscription: Subscription, answer: Answer) -> None:
        keys = answer.rest
        try:
            while keys and not subscription.closed:
                if not await self._drained(subscription.session) or self._is_shut_out(subscription):
                    return
                raws, taken = await self._readers.run(
                    partial(first_page, self._store.fetch, keys, PAGE_BYTES)
                )
                now = self._clock()  # a client may take its time: what has expired by now is left out
                self._send_stored(subscription, [raw for raw in raws if not has_expired(raw, now)])
                keys = keys[taken:]
        except Exception as error:  # whatever it is, the client is told
            self._give_up(subscription, error)
            return
        self._finish(subscription, answer)

    def _finish(self, subscription: Subscription, answer: Answer) -> None:
        """What a filter with `limit` 0 leaves out was not looked for, so it is not known (NIP-67)."""
        unasked = any(wanted.limit == 0 and not wanted.impossible for wanted in subscription.filters)
        complete = None if unasked and answer.complete else answer.complete
        settled = self._announced() >= answer.head_seq
        subscription.session.finish(subscription, answer.head_seq, complete=complete, settled=settled)
        if not settled:
            self._loop.call_later(SETTLE_S, self._settle, subscription)

    def _settle(self, subscription: Subscription) -> None:
        """Ids are remembered no longer than until everything up to the snapshot was passed on."""
        if subscription.closed or self._announced() >= subscription.snapshot:
            subscription.sent = None
        else:
            self._loop.call_later(SETTLE_S, self._settle, subscription)

    def _send_stored(self, subscription: Subscription, raws: Sequence[bytes]) -> None:
        if not subscription.closed:
            subscription.session.stored(subscription, raws)
            self._traffic.events_out += len(raws)

    def _give_up(self, subscription: Subscription, error: BaseException) -> None:
        self._traffic.queries_cut += isinstance(error, Unavailable)
        self._closed(subscription)
        subscription.session.fail(subscription, _in_words(error))

    def count(self, asked: Counting) -> None:
        in_turn(asked.session, self._loop, self._count_now, asked)

    def _count_now(self, asked: Counting) -> None:
        if self._stopped or asked.session.ended:
            return
        future = self._loop.run_in_executor(self._counting, self._count, asked)
        future.add_done_callback(lambda done: self._counted(asked, done))

    def _count(self, asked: Counting) -> Counted:
        """Runs in the thread. A client that has left is not counted for."""
        if asked.session.ended:
            return Counted(0, approximate=True, registers=b"")
        with charged(asked.session, self._loop):
            return count_stored(self._store, asked.filters)

    def _counted(self, asked: Counting, done: asyncio.Future[Counted]) -> None:
        if done.cancelled():
            return
        error = done.exception()
        verdict = may_ask(asked.session.client)
        if error is not None:
            self._traffic.queries_cut += isinstance(error, Unavailable)
            verdict = _in_words(error)
        elif verdict.accepted:
            counted, approximate, registers = done.result()
            asked.session.counted(asked.id, counted, approximate=approximate, registers=registers)
            return
        asked.session.uncounted(asked.id, Refused(verdict.code, verdict.sentence))


def _in_words(error: BaseException) -> Verdict:
    if isinstance(error, MeshconsoleError):
        return refuse("error", str(error))
    log.error("a query failed", exc_info=error)
    return refuse("error", "an internal error; ask again")
