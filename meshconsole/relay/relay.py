"""The relay as a service: its parts are put together here, for the rooms that publish, ask and connect.

What clients send is handed on in `receiving.py`; the way of an event is `pipeline.py`, and what follows from
its end `outcomes.py`; questions are answered in `answering.py`, live delivery is `delivering.py`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.event import Event
from meshconsole.core.sections import PerformanceMode, RelaySection
from meshconsole.core.status import RelayStatus
from meshconsole.relay.answering import Answering
from meshconsole.relay.delivering import Delivering
from meshconsole.relay.event import claimed_id
from meshconsole.relay.lists import Lists
from meshconsole.relay.memory import OFFERED
from meshconsole.relay.names import names_this_relay
from meshconsole.relay.negotiating import Negotiating
from meshconsole.relay.outcomes import Outcomes, RefusedEvent, Stored
from meshconsole.relay.pipeline import Offer, Pipeline
from meshconsole.relay.policy import Access, Client, House, is_stranger
from meshconsole.relay.receiving import Receiving, Takers
from meshconsole.relay.session import Session
from meshconsole.relay.shared import SharedStore
from meshconsole.relay.store import EmbeddedStore, Removed
from meshconsole.relay.threads import LoopThreads
from meshconsole.relay.traffic import Traffic, slowest
from meshconsole.relay.turn import TurnEnd

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

    from meshconsole.core.status import SlowClient
    from meshconsole.core.verdict import Verdict
    from meshconsole.relay.filter import Filter
    from meshconsole.relay.guests import Guest
    from meshconsole.relay.memory import Caches
    from meshconsole.relay.receiving import Port
    from meshconsole.relay.store import EventStore, EvictionClass, FeedRow

__all__ = ["PRESSED", "RefusedEvent", "Relay", "Stored"]

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

TIDY_EVERY_S = 300.0
SHRINK_PAUSE_S = 0.1
"""Between two steps towards a smaller quota, in which others write."""
PRESSED = 64
"""Events of plain clients that wait, from which on others should hold back."""


class Relay:
    """`access` answers for plain clients; `emit` hears Stored and RefusedEvent, on the loop; `lists`
    gives what admins have listed by now (NIP-86). In `full` mode signatures are checked in processes."""

    def __init__(
        self,
        store: EventStore,
        *,
        access: Access,
        emit: Callable[[Stored | RefusedEvent], None],
        config: RelaySection | None = None,
        clock: Callable[[], float] = time.time,
        lists: Callable[[], Lists] = Lists,
        mode: PerformanceMode = "balanced",
        is_device: Callable[[Collection[str]], bool] | None = None,
        by_role: Callable[[Event], Verdict] | None = None,
    ) -> None:
        self.store = store
        self._mode: PerformanceMode = mode
        self.config = config or RelaySection()
        self.access = access
        self.address = ""
        self.ports: tuple[int, ...] = ()
        """Where it listens."""
        self.refusals: Counter[tuple[str, str]] = Counter()
        """How often what was refused, by verb and code, since the start."""
        self.house = House(access, self.config, lists, self._names_us)
        if is_device is not None:
            self.house.is_device = is_device
        if by_role is not None:
            self.house.by_role = by_role
        self._clock = clock
        self._local = Client(self.house, trusted=True, own=True)
        self._linked = Client(self.house, trusted=True)
        self.turn_end = TurnEnd()
        """Where connections wait to be written to."""
        self.traffic = Traffic()
        self._live = Delivering(self.turn_end, self.traffic)
        self._outcomes = Outcomes(store, self._live, self.traffic, self.refusals, emit, clock)
        self._receiving = Receiving(self.config, self._live, self.traffic, self._outcomes)
        self._pipeline: Pipeline | None = None
        self._reading: LoopThreads | None = None
        self._answering: Answering | None = None
        self._negotiating: Negotiating | None = None
        self._tending: asyncio.Task[None] | None = None
        self._tidying = asyncio.Event()
        self._changing: asyncio.Task[None] | None = None
        self._shared: SharedStore | None = None

    async def start(self) -> None:
        self._outcomes.announced = self.store.head_seq
        self._pipeline = Pipeline(
            self.store,
            self._outcomes.happened,
            self._clock,
            self._receiving.judge_pace,
            self._outcomes.heard,
            self.turn_end.run_now,
            self._mode,
        )
        self._reading = LoopThreads(2, "relay-read")
        self._answering = Answering(
            self.store,
            self._reading,
            config=lambda: self.config,
            announced=lambda: self._outcomes.announced,
            drained=self._receiving.drained,
            closed=self._live.remove,
            others_wait=lambda: self._running.clients_waiting > 0,
            traffic=self.traffic,
            clock=self._clock,
        )
        self._negotiating = Negotiating(self.store, self._receiving.ports.keys, lambda: self.config)
        self._receiving.takers = Takers(self._pipeline, self._answering, self._negotiating)
        self._tending = asyncio.create_task(self._tidy(), name="relay-tidy")
        if isinstance(self.store, SharedStore):
            loop = asyncio.get_running_loop()

            def heard(rows: Sequence[FeedRow]) -> None:
                loop.call_soon_threadsafe(self._running.hear, rows)

            self._shared = self.store
            self._shared.follow(heard)

    async def stop(self) -> None:
        """What was offered is committed and answered first. The store stays open: it is not ours."""
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.gather(self._tending, return_exceptions=True)
        if self._changing is not None:
            await self._changing
        if self._answering is not None:
            await self._answering.stop()
        if self._negotiating is not None:
            await self._negotiating.stop()
        if self._pipeline is not None:
            await self._pipeline.stop()
        if self._shared is not None:
            await asyncio.to_thread(self._shared.unfollow)
        if self._reading is not None:
            await asyncio.to_thread(self._reading.stop)

    def set_mode(self, mode: PerformanceMode) -> None:
        """How much of the machine is used, from now on."""
        self._mode = mode
        if self._pipeline is not None:
            self._change(self._pipeline.set_mode(mode).stop)

    @property
    def max_offered(self) -> int:
        """Events of one client that may wait for their OK."""
        return OFFERED[self._mode]

    def set_caches(self, caches: Caches) -> None:
        """What the store may hold in memory, where it does, from now on."""
        store = self.store
        if isinstance(store, EmbeddedStore):
            self._change(lambda: asyncio.to_thread(store.set_caches, caches))

    def _change(self, change: Callable[[], Awaitable[None]]) -> None:
        """Beside what is under way, one change after the other."""
        before = self._changing

        async def changing() -> None:
            if before is not None:
                await before
            try:
                await change()
            except MeshconsoleError as error:
                log.error("a change of the performance mode failed: %s", error.sentence)

        self._changing = asyncio.create_task(changing())

    @property
    def is_pressed(self) -> bool:
        """Plain clients wait for their events to be taken in: whatever can wait a little should."""
        return self._pipeline is not None and self._pipeline.clients_waiting >= PRESSED

    def apply(self, config: RelaySection) -> None:
        """New limits, or another team: for open sessions too."""
        self.config = self.house.config = config
        self._receiving.apply(config)
        self._tidying.set()  # there may be less room than there was

    def status(
        self,
        addresses: Sequence[str] = (),
        *,
        handshakes: int = 0,
        slow: Iterable[SlowClient] = (),
    ) -> RelayStatus:
        """`addresses` are where it can be reached, if the caller knows better than its server, which
        knows of handshakes under way and slow clients."""
        traffic = self.traffic
        clients = [session.client for session in self._receiving.ports]
        counts = traffic.counts(client.use for client in clients)
        public = self.access.public()
        opened = [open_ for session in self._receiving.ports for open_ in session.subscriptions.values()]
        return RelayStatus(
            enabled=self.config.enable,
            address=", ".join(addresses) or self.address,
            public=public,
            clients=len(clients),
            subscriptions=len(self._live),
            events_in=counts.events_in,
            events_out=counts.events_out,
            store=self.store.description,
            requests=counts.requests,
            bytes_in=counts.bytes_in,
            bytes_out=counts.bytes_out,
            filters=sum(len(open_.filters) for open_ in opened),
            strangers=0 if public else sum(map(is_stranger, clients)),
            handshakes=handshakes,
            queries_cut=traffic.queries_cut,
            slow_closed=traffic.slow_closed,
            refusals=dict(traffic.reasons),
            rates=traffic.rates(),
            kinds=traffic.top_kinds(),
            keys=traffic.top_authors(),
            addresses=traffic.top_addresses((client.network, client.use) for client in clients),
            slow=slowest(slow),
        )

    def sample(self, now: float) -> None:
        """Every few seconds, for the rates. `now` is monotonic."""
        self.traffic.sample(now, (session.client.use for session in self._receiving.ports))

    async def publish_for(self, event: Event, npubs: tuple[str, ...], *, via: str) -> Verdict:
        """Of a client that has proven these keys, by another way than a session: all its rules hold."""
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        client = Client(self.house, npubs)
        self._running.offer(Offer(event, event.id, client, via, _setter(answer), self.config.max_event_bytes))
        return await answer

    async def publish(self, raw: bytes | Event, *, via: str = "local", trusted: bool = False) -> Verdict:
        """Verified, judged, durably stored and delivered live when this returns an accepting verdict.

        `trusted` says that it came over an enrolled node's link, which `via` names; "local" events
        are this node's own. For both, the gates for plain clients do not apply; what came over a link is
        judged by its author's role.
        """
        return (await self.publish_many([raw], via=via, trusted=trusted))[0]

    async def publish_many(
        self, events: Sequence[bytes | Event], *, via: str = "local", trusted: bool = False, own: bool = False
    ) -> list[Verdict]:
        """In order, as one batch. `own` says that the node's owner vouches for them, as for "local" ones."""
        loop = asyncio.get_running_loop()
        client = Client(self.house)
        if own or via == "local":
            client = self._local
        elif trusted:
            client = self._linked
        answers: list[asyncio.Future[Verdict]] = []
        for event in events:
            answer: asyncio.Future[Verdict] = loop.create_future()
            claimed = event.id if isinstance(event, Event) else claimed_id(event)
            self._running.offer(Offer(event, claimed, client, via, _setter(answer)))
            answers.append(answer)
        return [await answer for answer in answers]

    async def query(self, filters: Sequence[Filter], limit: int | None = None) -> list[bytes]:
        """Canonical events, newest first. `limit` caps each filter; default is the owner's limit."""
        cap = self.config.max_limit if limit is None else limit
        return await self._read(self.store.query, filters, cap)

    async def feed(self, after_seq: int, limit: int) -> list[FeedRow]:
        return await self._read(self.store.feed, after_seq, limit)

    async def delete(self, filters: Sequence[Filter]) -> Removed:
        """Removes all that matches, in steps between which others may write."""
        count = size = 0
        while True:
            removed = await asyncio.to_thread(self.store.delete, filters, dry_run=False)
            self._running.forget()
            if not removed.count:
                return Removed(count, size)
            count, size = count + removed.count, size + removed.bytes

    async def retire(self, ids: Collection[str]) -> None:
        """Removes checkpoints that are needless by now."""
        await asyncio.to_thread(self.store.retire, ids)
        self._running.forget()

    async def evict(
        self, classes: Sequence[EvictionClass], need_bytes: int, *, dry_run: bool
    ) -> list[tuple[str, Removed]]:
        """One step of making room."""
        removed = await asyncio.to_thread(self.store.evict, classes, need_bytes, dry_run=dry_run)
        self._running.forget()
        return removed

    def connect(
        self,
        port: Port,
        is_own_url: Callable[[str], bool],
        *,
        trusted: bool = False,
        network: str = "",
        guest: Guest | None = None,
    ) -> Session:
        """A session for a connection; feed it through `receive` and end it with `disconnect`.

        `is_own_url` says whether the relay URL in a login (NIP-42) means this relay; `network` is where
        the client comes from, for limits and counts.
        """
        client = Client(self.house, trusted=trusted, network=network, guest=guest)
        challenge = secrets.token_hex(16)
        count = partial(self.traffic.refuse, client=client.use)
        session = Session(client, self.config, challenge, port.wake, is_own_url, self.refusals, count)
        self._receiving.connected(session, port)
        return session

    def receive(self, session: Session, message: bytes, via: str = "client") -> None:
        """One text message from the session's client."""
        self._receiving.receive(session, message, via)

    def disconnect(self, session: Session) -> None:
        self._receiving.disconnected(session)

    def _names_us(self, url: str) -> bool:
        return names_this_relay(url, self.ports, self.config.urls)

    async def _tidy(self) -> None:
        while True:
            self._tidying.clear()
            try:
                is_more = bool(await self._read(self.store.purge_expired))
                if isinstance(self.store, EmbeddedStore) and await self._read(self.store.shrink):
                    is_more = True
                    await asyncio.sleep(SHRINK_PAUSE_S)
            except MeshconsoleError as error:
                log.warning("the event store could not be tidied: %s", error)
                is_more = False
            if not is_more:
                with suppress(TimeoutError):
                    async with asyncio.timeout(TIDY_EVERY_S):  # wait_for may swallow that it is cancelled
                        await self._tidying.wait()

    @property
    def _running(self) -> Pipeline:
        if self._pipeline is None:
            raise MeshconsoleError("The relay was not started.")
        return self._pipeline

    async def _read(self, function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> T:
        """Runs a blocking read of the store in the reading threads."""
        if self._reading is None:
            raise MeshconsoleError("The relay was not started.")
        return await self._reading.run(partial(function, *arguments, **named))


def _setter(answer: asyncio.Future[Verdict]) -> Callable[[Verdict], None]:
    """The publisher may have been cancelled in the meantime; the event is stored all the same."""

    def set_once(verdict: Verdict) -> None:
        if not answer.done():
            answer.set_result(verdict)

    return set_once
