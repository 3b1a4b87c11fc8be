"""A Nostr client at the relay: what its connection brings goes to its session, what that says goes out.

A client that has too much under way or does not take what it is sent is not read, and bandwidth is paid
for in both directions. What one reading of the connection brings is answered in one write where it can be
answered at once; everything else is written at the end of a turn of the loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from meshconsole.relay.pulse import Signs

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.relay.connection import ClientConnection
    from meshconsole.relay.relay import Relay
    from meshconsole.relay.session import Session

WRITE_BYTES = 64 * 1024
"""One write to the socket; also the grain in which bandwidth is paid."""

MAX_OFFERED_BYTES = 512 * 1024
"""Bytes of the events of one client that wait for their OK; beyond it the client is not read."""

MAX_READING = 4
"""Stored queries of one client under way at the same time."""

MAX_UNSENT_BYTES = 512 * 1024
"""Answers of one client that wait to be written; beyond it no further question of it is heard."""

MAX_UNPAID_BYTES = 128 * 1024
"""Received bytes that the meter has not let pass yet; beyond it the client is not read."""


class Meter(Protocol):
    """The owner's bandwidth. Both wait until that many bytes may pass."""

    async def wait_out(self, count: int, /) -> None: ...

    async def wait_in(self, count: int, /) -> None: ...


@runtime_checkable
class EagerMeter(Protocol):
    """A meter that can also say yes at once, which saves a task switch for each write and each read.
    Both take the bytes if they may pass now."""

    def try_out(self, count: int, /) -> bool: ...

    def try_in(self, count: int, /) -> bool: ...


class Meters(Meter, Protocol):
    """With a limit for each client, too."""

    def of_one(self) -> Meter:
        """The meter of one more client."""


class ClientPort:
    """One client at the relay. Implements the relay's `Port` and the connection's `Listener`."""

    def __init__(
        self,
        relay: Relay,
        connection: ClientConnection,
        *,
        meter: Meter | None,
        via: str,
        network: str,
        is_own_url: Callable[[str], bool],
    ) -> None:
        self._relay = relay
        self.connection = connection
        self._meter = meter
        self._eager: EagerMeter | None = meter if isinstance(meter, EagerMeter) else None
        self._via = via
        self._turn_end = relay.turn_end
        self._flushing = False
        self.hearing = False
        """What the client sent is being acted upon: answers are written when that is done."""
        self._piece = b""
        """Written as soon as the meter lets it pass."""
        self._to_pay_out = asyncio.Event()
        self._unpaid_in = 0
        self._to_pay_in = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self.messages = 0
        """Ever received."""
        self.drains = 0
        """How often the connection has caught up with what it was sent."""
        self._session: Session = relay.connect(self, is_own_url, network=network)
        self.client = self._session.client
        self._use = self.client.use

    @property
    def owed(self) -> int:
        """Bytes that the client has not taken yet."""
        return self._session.unsent + len(self._piece) + self.connection.transport.get_write_buffer_size()

    def signs(self) -> Signs:
        session, connection = self._session, self.connection
        return Signs(
            bytes_in=self._use.bytes_in,
            messages=self.messages,
            drained=self.drains,
            owes=connection.paused,
            is_held=connection.is_held,
            is_busy=bool(session.subscriptions or session.offered or session.unsent or self._piece),
        )

    @property
    def full(self) -> bool:
        session = self._session
        return (
            session.offered >= self._relay.max_offered
            or session.offered_bytes >= MAX_OFFERED_BYTES
            or session.reading >= MAX_READING
            or session.unsent >= MAX_UNSENT_BYTES
            or self._unpaid_in >= MAX_UNPAID_BYTES
            or self.connection.paused  # it does not take what it is sent
            or bool(self._piece)
        )

    async def run(self) -> None:
        """Until the connection is closed."""
        try:
            self.connection.attach(self)
            if self._meter is None:
                await self.connection.wait_closed()
                return
            async with asyncio.TaskGroup() as group:
                paying = [
                    group.create_task(self._pay_out(self._meter)),
                    group.create_task(self._pay_in(self._meter)),
                ]
                await self.connection.wait_closed()
                for task in paying:
                    task.cancel()
        finally:
            self._relay.disconnect(self._session)
            self._empty.set()

    def take(self, message: bytes) -> None:
        self.messages += 1
        self._relay.receive(self._session, message, self._via)

    def received(self, count: int) -> None:
        self._use.bytes_in += count
        if self._meter is None:
            return
        if self._unpaid_in or self._eager is None or not self._eager.try_in(count):
            self._unpaid_in += count
            self._to_pay_in.set()

    def heard(self) -> None:
        """What could be answered at once is written at once: another turn of the loop would cost more."""
        self.hearing = False
        if self._session.unsent and not self._flushing:
            self.flush()

    def wake(self) -> None:
        self._empty.clear()
        if not self._flushing and not self.hearing:
            self._flushing = True
            self._turn_end.do(self.flush)

    async def drained(self) -> None:
        await self._empty.wait()

    def flush(self) -> None:
        """Writes what the session has, as far as the connection and the meter take it now."""
        self._flushing = False
        connection, session = self.connection, self._session
        while session.unsent and not connection.paused and not self._piece:
            if not connection.is_open:
                session.outbox()  # nobody reads it any more
                break
            piece = connection.frames(session.take(WRITE_BYTES))
            self._use.bytes_out += len(piece)
            if self._meter is None or (self._eager is not None and self._eager.try_out(len(piece))):
                connection.transport.write(piece)
            else:
                self._piece = piece
                self._to_pay_out.set()
        if not session.unsent and not self._piece and not connection.paused:
            self._empty.set()
        if connection.is_held and not self.full:
            connection.go_on()

    async def _pay_out(self, meter: Meter) -> None:
        while True:
            await self._to_pay_out.wait()
            self._to_pay_out.clear()
            await meter.wait_out(len(self._piece))
            piece, self._piece = self._piece, b""
            if self.connection.is_open:
                self.connection.transport.write(piece)
            self.flush()

    async def _pay_in(self, meter: Meter) -> None:
        while True:
            await self._to_pay_in.wait()
            self._to_pay_in.clear()
            count, self._unpaid_in = self._unpaid_in, 0
            await meter.wait_in(count)
            if not self.full:
                self.connection.go_on()
