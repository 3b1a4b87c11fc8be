"""One uplink at work: connected with backoff, its conversation fed and answered from the relay here."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from meshconsole.core.errors import MeshconsoleError, Refused, RemoteError, Unavailable
from meshconsole.core.event import decode_event
from meshconsole.core.kinds import CARRIED_KINDS, CLIENT_AUTH
from meshconsole.core.status import UplinkStatus
from meshconsole.core.text import safe
from meshconsole.mesh.uplinks.asks import Collect, Keep, Load, Settle
from meshconsole.mesh.uplinks.conversation import Conversation
from meshconsole.mesh.uplinks.via import uplink_name
from meshconsole.relay.event import MAX_EVENT_BYTES
from meshconsole.relay.filter import Filter
from meshconsole.relay.items import ItemVector
from meshconsole.relay.reconciliation import still_needed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from websockets.asyncio.client import ClientConnection

    from meshconsole.core.event import Event
    from meshconsole.core.status import UplinkState
    from meshconsole.core.verdict import Verdict
    from meshconsole.crypto.identity import Identity
    from meshconsole.mesh.links.pipe import Meter
    from meshconsole.relay.relay import Relay

log = logging.getLogger(__name__)

CONNECT_S = 10.0
FIRST_S = 2.0
LAST_S = 300.0
STABLE_S = 60.0
MAX_MESSAGE = MAX_EVENT_BYTES + 64 * 1024
MAX_ASKS = 256
ENDS_TWICE = 2
"""Connections in a row that end while the relay was to take the same large event: it takes none so large."""
TOO_LARGE_S = 3600.0
"""After that long it is tried again: connections also end for other reasons."""
TRUST_AFTER = 64
"""So many events that are not what they claim, and more than good ones, end a connection."""


@dataclass(slots=True, frozen=True)
class Around:
    """What an uplink needs of the node. `authors` are the team's members, former ones too; `now` is
    monotonic, `clock` seconds since the epoch."""

    identity: Identity
    relay: Relay
    meter: Meter
    admit: Callable[[str, str], Verdict]
    authors: Callable[[], frozenset[str]]
    may_dial: Callable[[], bool]
    random: Random
    now: Callable[[], float]
    clock: Callable[[], float]


class Uplink:
    def __init__(self, url: str, around: Around) -> None:
        self.url = url
        self._around = around
        self._talk: Conversation | None = None
        self._since: float | None = None
        self._error = ""
        self._next_try: float | None = None
        self._failures = 0
        self._stored: list[tuple[str, bytes]] = []
        self._woken = asyncio.Event()
        self._worked = asyncio.Event()
        self._forged = 0
        self._too_large = MAX_MESSAGE
        self._too_large_since = 0.0
        self._ended_by: tuple[str, int] = ("", 0)
        """A large event, and how often in a row the connection ended while it had no answer."""

    @property
    def via(self) -> str:
        return uplink_name(self.url)

    def stored(self, event: Event, raw: bytes, via: str) -> None:
        """An event was taken in here."""
        if self._talk is not None and event.kind in CARRIED_KINDS and via != self.via:
            self._talk.offer(event.id, raw, self._around.now())
            self._woken.set()

    def team_changed(self) -> None:
        if self._talk is not None:
            self._talk.widen(self._wanted(), self._around.now())
            self._woken.set()

    def status(self) -> UplinkStatus:
        talk = self._talk
        if talk is None:
            state: UplinkState = "waiting" if self._next_try is not None else "connecting"
            if not self._around.may_dial():
                state = "off"
            return UplinkStatus(self.url, state, note=self._error, next_try=self._next_try)
        lag_in, lag_out = talk.lag
        return UplinkStatus(
            self.url,
            talk.phase,
            self._since,
            talk.sent,
            talk.received,
            talk.refused,
            lag_in,
            lag_out,
            talk.trouble,
        )

    async def run(self) -> None:
        """For ever: connects, talks, waits."""
        while True:
            while not self._around.may_dial():
                self._next_try = None
                await asyncio.sleep(1.0)
            began = self._around.now()
            try:
                await self._connect()
            except MeshconsoleError as error:
                self._error = error.sentence
                log.info("uplink %s: %s", self.url, error.sentence)
            finally:
                self._talk = self._since = None
            stable = self._around.now() - began >= STABLE_S
            self._failures = 0 if stable else self._failures + 1
            pause = min(LAST_S, FIRST_S * 2.0 ** min(self._failures, 10))
            pause *= 0.75 + self._around.random.random() / 2
            self._next_try = self._around.clock() + pause
            await asyncio.sleep(pause)
            self._next_try = None

    async def _connect(self) -> None:
        around = self._around
        verdict = around.admit("link", urlsplit(self.url).hostname or "")
        if not verdict.accepted:
            raise Unavailable(f"This node opens no more links: {verdict.sentence}.")
        connection = await _dial(self.url)
        self._error = ""
        self._since = around.clock()
        self._forged = 0
        self._talk = talk = Conversation(self._wanted(), self._prove, around.random, self._limit())
        talk.start(around.now())
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._read(connection, talk))
                working = group.create_task(self._work(connection, talk))
                await asyncio.wait([reading, working], return_when=asyncio.FIRST_COMPLETED)
                reading.cancel()
                working.cancel()
        except* (MeshconsoleError, OSError) as group_error:
            first = group_error.exceptions[0]
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            raise first if isinstance(first, MeshconsoleError) else Unavailable(str(first)) from None
        finally:
            connection.transport.abort()
            self._learn_size(talk.large_under_way)

    def _limit(self) -> int:
        if self._around.now() - self._too_large_since >= TOO_LARGE_S:
            self._too_large = MAX_MESSAGE
        return self._too_large

    def _learn_size(self, under_way: tuple[str, int] | None) -> None:
        """The connection has ended. Not every relay says first how much it takes (NIP-11), and one in between
        may take less."""
        if under_way is None:
            self._ended_by = "", 0
            return
        event_id, size = under_way
        last, times = self._ended_by
        self._ended_by = event_id, times + 1 if event_id == last else 1
        if self._ended_by[1] >= ENDS_TWICE:
            self._too_large, self._ended_by = size, ("", 0)
            self._too_large_since = self._around.now()
            self._failures = 0  # the relay is well

    async def _read(self, connection: ClientConnection, talk: Conversation) -> None:
        from websockets.exceptions import ConnectionClosed

        while True:
            try:
                message = await connection.recv(decode=False)
            except ConnectionClosed as closed:
                why = safe(closed.rcvd.reason, 120) if closed.rcvd is not None else ""
                raise Unavailable(f"The relay closed the connection{f': {why}' if why else '.'}") from None
            await self._around.meter.wait_in(len(message))
            talk.receive(message, self._around.now())
            self._woken.set()
            # What was asked for is dealt with first: a relay that floods waits on its side of the wire.
            while len(talk.asks) > MAX_ASKS:
                self._worked.clear()
                await self._worked.wait()

    async def _work(self, connection: ClientConnection, talk: Conversation) -> None:
        from websockets.exceptions import ConnectionClosed

        around = self._around
        while True:
            self._woken.clear()
            due = talk.next_timer()
            if due is not None and around.now() >= due:
                talk.handle_timer(around.now())
            while talk.asks or talk.outbox:
                messages, talk.outbox[:] = list(talk.outbox), []
                for message in messages:
                    await around.meter.wait_out(len(message))
                    try:
                        await connection.send(message.decode())
                    except ConnectionClosed:
                        raise Unavailable("The relay closed the connection.") from None
                asks, talk.asks[:] = list(talk.asks), []
                await self._answer(talk, asks)
                self._worked.set()
            due = talk.next_timer()
            wait = None if due is None else max(0.01, due - around.now())
            try:
                async with asyncio.timeout(wait):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _answer(self, talk: Conversation, asks: Sequence[Collect | Settle | Load | Keep]) -> None:
        relay, now = self._around.relay, self._around.now
        kept: list[bytes] = []
        for ask in asks:
            match ask:
                case Keep(raw):
                    kept.append(raw)
                case Collect():
                    talk.collected(await asyncio.to_thread(self._items, talk.wanted), now())
                case Settle(ids):
                    talk.needed(await asyncio.to_thread(still_needed, relay.store, ids), now())
                case Load(ids):
                    raws = await relay.query([Filter(ids=frozenset(ids))], len(ids))
                    talk.loaded(reversed(raws), now())
        if kept:
            await self._keep(talk, kept)

    async def _keep(self, talk: Conversation, raws: list[bytes]) -> None:
        authors = talk.wanted.authors or frozenset()
        fitting = [raw for raw in raws if _is_wanted(raw, authors)]
        verdicts = await self._around.relay.publish_many(fitting, via=self.via, trusted=True)
        self._forged += len(raws) - len(fitting)
        self._forged += sum(1 for verdict in verdicts if verdict.code == "invalid")
        if self._forged > max(TRUST_AFTER, talk.received // 2):
            self._failures = 8
            raise RemoteError("forged", "The relay sends events that are not what they claim to be.")

    def _items(self, wanted: Filter) -> ItemVector:
        relay = self._around.relay
        try:
            return ItemVector(relay.store.items(wanted, relay.config.max_sync_events))
        except Refused as refused:
            raise Unavailable(f"There is too much here to be compared: {refused.sentence}") from None

    def _wanted(self) -> Filter:
        return Filter(kinds=CARRIED_KINDS, authors=self._around.authors())

    def _prove(self, challenge: str) -> Event:
        tags = (("relay", self.url), ("challenge", challenge))
        return self._around.identity.sign(CLIENT_AUTH, tags, "", int(self._around.clock()))


def _is_wanted(raw: bytes, authors: frozenset[str]) -> bool:
    try:
        event = decode_event(raw)
    except (ValueError, RecursionError):
        return False
    return event.kind in CARRIED_KINDS and event.pubkey in authors


async def _dial(url: str) -> ClientConnection:
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException

    try:
        return await connect(
            url,
            max_size=MAX_MESSAGE,
            max_queue=16,
            open_timeout=CONNECT_S,
            close_timeout=1.0,
            compression=None,
            proxy=None,
            user_agent_header=None,
        )
    except (WebSocketException, EOFError, ssl.SSLError) as error:
        raise Unavailable(f"It answers, but is no relay: {safe(str(error), 100)}.") from None
    except TimeoutError:
        raise Unavailable(f"It did not answer within {CONNECT_S:.0f} s.") from None
    except OSError as error:
        words = os.strerror(error.errno).lower() if error.errno else safe(str(error), 100)
        raise Unavailable(f"It cannot be reached: {words}.") from None
