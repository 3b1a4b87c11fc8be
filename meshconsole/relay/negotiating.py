"""Negotiations (NIP-77) as work: events are read and messages answered off the loop, one at a time.

One thread for all of them: a negotiation never takes a REQ's place, and only one set of events is
being gathered at any moment. What is open is a snapshot of the events at its NEG-OPEN; all snapshots
together hold at most HELD times the most that one may cover.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from meshconsole.core.errors import MeshconsoleError, Refused, RemoteError
from meshconsole.relay.items import ItemVector
from meshconsole.relay.negentropy import Responder
from meshconsole.relay.pacing import charged, in_turn
from meshconsole.relay.policy import may_ask
from meshconsole.relay.verbs import neg

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from meshconsole.core.sections import RelaySection
    from meshconsole.relay.happening import Negotiated
    from meshconsole.relay.session import Negotiation, Session
    from meshconsole.relay.store import EventStore, Item

log = logging.getLogger(__name__)

T = TypeVar("T")

HELD = 2
EVENTS_PER_REQUEST = 2000
"""So many events take about as long to gather as a request to answer: a negotiation over more of them is
charged to its client's requests as that many."""

SWEEP_S = 10.0


class Negotiating:
    """`sessions` gives all that are connected, `config` the limits of now. Made on the loop."""

    def __init__(
        self,
        store: EventStore,
        sessions: Callable[[], Collection[Session]],
        config: Callable[[], RelaySection],
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._config = config
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="relay-negotiate")
        self._loop = asyncio.get_running_loop()
        self._stopped = False
        self._sweeping = asyncio.create_task(self._sweep(), name="relay-negotiations")

    def answer(self, asked: Negotiated) -> None:
        """The session hears of the answer, or of the failure, on the loop."""
        in_turn(asked.negotiation.session, self._loop, self._answer, asked)

    def _answer(self, asked: Negotiated) -> None:
        negotiation, message = asked
        if self._stopped or negotiation.closed:
            return
        if negotiation.responder is None:
            begun = self._loop.run_in_executor(self._thread, self._begin, negotiation, message)
            begun.add_done_callback(lambda done: self._begun(negotiation, done))
        else:
            said = self._loop.run_in_executor(self._thread, self._go_on, negotiation, message)
            said.add_done_callback(lambda done: self._answered(negotiation, done))

    async def stop(self) -> None:
        self._stopped = True
        self._sweeping.cancel()
        await asyncio.gather(self._sweeping, return_exceptions=True)
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    def end_idle(self, now: float) -> None:
        """`now` is monotonic seconds."""
        for session in list(self._sessions()):
            neg.end_idle(session, now)

    def _begun(self, negotiation: Negotiation, done: asyncio.Future[_Begun]) -> None:
        if self._has_failed(negotiation, done):
            return
        responder, answer, gathered = done.result()
        _charge(negotiation.session, gathered)
        held = sum(_held(session) for session in self._sessions())
        if held + responder.count > HELD * self._config().max_sync_events:
            busy = Refused("rate-limited", "too many negotiations are under way; try again in a minute")
            negotiation.session.fail_negotiation(negotiation, busy)
        else:
            negotiation.responder = responder
            _tell(negotiation, answer)

    def _answered(self, negotiation: Negotiation, done: asyncio.Future[bytes]) -> None:
        if not self._has_failed(negotiation, done):
            _tell(negotiation, done.result())

    def _has_failed(self, negotiation: Negotiation, done: asyncio.Future[T]) -> bool:
        if done.cancelled():
            return True
        fail = negotiation.session.fail_negotiation
        match done.exception():
            case None:
                return False
            case Refused(code="blocked") as error:
                most = self._config().max_sync_events
                _charge(negotiation.session, most)
                fail(negotiation, error, most)
            case Refused() as error:
                fail(negotiation, error)
            case RemoteError(sentence=sentence):
                fail(negotiation, Refused("invalid", sentence))
            case MeshconsoleError() as error:
                fail(negotiation, Refused("error", str(error)))
            case error:
                log.error("a negotiation failed", exc_info=error)
                fail(negotiation, Refused("error", "an internal error; open it again"))
        return True

    def _begin(self, negotiation: Negotiation, message: bytes) -> _Begun:
        """Runs in the thread."""
        if negotiation.closed:
            raise Refused("closed", "it was closed before it began")
        with charged(negotiation.session, self._loop):
            wanted = negotiation.wanted
            items = [] if wanted.impossible else self._store.items(wanted, self._config().max_sync_events)
            responder = Responder(ItemVector(_newest(items, wanted.limit)))
            return _Begun(responder, responder.receive(message), len(items))

    def _go_on(self, negotiation: Negotiation, message: bytes) -> bytes:
        """Runs in the thread."""
        with charged(negotiation.session, self._loop):
            assert negotiation.responder is not None
            return negotiation.responder.receive(message)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self.end_idle(time.monotonic())


class _Begun(NamedTuple):
    responder: Responder
    answer: bytes
    gathered: int


def _tell(negotiation: Negotiation, answer: bytes) -> None:
    """The client may have been removed meanwhile."""
    session = negotiation.session
    verdict = may_ask(session.client)
    if verdict.accepted:
        session.negotiate(negotiation, answer)
    else:
        session.fail_negotiation(negotiation, Refused(verdict.code, verdict.sentence))


def _newest(items: list[Item], limit: int | None) -> list[Item]:
    """In the order of NIP-01, of two with the same time the one with the lower id; sorted again."""
    if limit is None or len(items) <= limit:
        return items
    return sorted(sorted(items, key=lambda item: (-item.created_at, item.id))[:limit])


def _charge(session: Session, events: int) -> None:
    session.requests.take(events // EVENTS_PER_REQUEST, time.monotonic())


def _held(session: Session) -> int:
    open_ = list(session.negotiations.values())
    return sum(negotiation.responder.count for negotiation in open_ if negotiation.responder is not None)
