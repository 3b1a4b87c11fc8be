"""A guest at the relay: plain Nostr messages over a data channel. Implements the relay's `Port`.

The guest sits in the same kind of session as any client, with the standing of a guest. It is read only as
fast as it is served, so what it sends too fast waits on its own side, within the channel's credit; whoever
ignores that, sends what is no message, or does not take what it is sent, is cut off with a reason that is
told to it and to the owner.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from meshconsole.core.errors import RemoteError
from meshconsole.core.limits import TokenBucket
from meshconsole.mesh.guests.framing import Assembler, cut
from meshconsole.mesh.links.pipe import PipeClosed
from meshconsole.relay import messages
from meshconsole.relay.client import MAX_READING, MAX_UNSENT_BYTES, WRITE_BYTES
from meshconsole.relay.session import max_message_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.mesh.links.pipe import Meter, Pipe
    from meshconsole.relay.guests import Guest
    from meshconsole.relay.relay import Relay

TAKE_S = 60.0
"""How long a guest may leave what it is sent unread."""
TOO_SLOW = "too-slow"
LAST_WORDS_S = 0.5
MAX_BROKEN = 8
"""Messages that are none, before the guest is cut off."""
MESSAGES_PER_S = 50
BURST = 1000


class GuestPort:
    """`run` returns the reason why it ended; `now` is monotonic."""

    def __init__(
        self,
        relay: Relay,
        pipe: Pipe,
        guest: Guest,
        *,
        meter: Meter,
        is_own_url: Callable[[str], bool],
        now: Callable[[], float],
    ) -> None:
        self._relay = relay
        self._pipe = pipe
        self._meter = meter
        self._now = now
        self._via = f"guest {guest.name}"
        self._to_write = asyncio.Event()
        self._moved = asyncio.Event()
        self._reason = ""
        self._ended = asyncio.Event()
        self.misbehaved = False
        """It was cut off for what it did."""
        self._session = relay.connect(self, is_own_url, network=self._via, guest=guest)
        self._use = self._session.client.use

    @property
    def events(self) -> int:
        """Notes that were taken from it."""
        return self._use.events

    def end(self, reason: str) -> None:
        """The owner, or the time, has ended it."""
        self._reason = self._reason or reason
        self._ended.set()

    async def run(self) -> str:
        try:
            work = [asyncio.ensure_future(each) for each in (self._read(), self._write(), self._ended.wait())]
            try:
                done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in work:
                    task.cancel()
                await asyncio.gather(*work, return_exceptions=True)
            for task in done:
                self._note(task.exception())
        finally:
            self._relay.disconnect(self._session)
            self._moved.set()  # nobody waits for it any more
        await self._say(self._reason)
        await self._pipe.close(self._reason)
        return self._reason

    # --- The relay's Port --------------------------------------------------------------------------

    def wake(self) -> None:
        self._to_write.set()
        self._moved.set()

    async def drained(self) -> None:
        while self._session.unsent and not self._session.ended:
            self._moved.clear()
            await self._moved.wait()

    # --- Both directions ---------------------------------------------------------------------------

    async def _read(self) -> None:
        """Raises RemoteError, PipeClosed."""
        pieces = Assembler(2 * max_message_bytes(self._relay.config))
        pace = TokenBucket(MESSAGES_PER_S, BURST)
        broken = 0
        while True:
            piece = await self._pipe.receive()
            self._use.bytes_in += len(piece)
            await self._meter.wait_in(len(piece))
            message = pieces.take(piece)
            if message is None:
                continue
            if not _is_message(message):
                broken += 1
                if broken >= MAX_BROKEN:
                    raise RemoteError("bad-frame", "It sent what is no message, again and again.")
            await asyncio.sleep(pace.delay(self._now()))
            pace.take(1, self._now())
            while self._is_full:
                self._moved.clear()
                await self._moved.wait()
            self._relay.receive(self._session, message, self._via)

    async def _write(self) -> None:
        """Raises RemoteError, PipeClosed."""
        while True:
            await self._to_write.wait()
            self._to_write.clear()
            while self._session.unsent:
                for message in self._session.outbox(WRITE_BYTES):
                    await self._send(message)
                self._moved.set()

    async def _send(self, message: bytes) -> None:
        for piece in cut(message):
            self._use.bytes_out += len(piece)
            await self._meter.wait_out(len(piece))
            try:
                async with asyncio.timeout(TAKE_S):
                    await self._pipe.send(piece)
            except TimeoutError:
                raise RemoteError(TOO_SLOW, f"It read nothing for {TAKE_S:.0f} s.") from None

    async def _say(self, reason: str) -> None:
        """Its last words, if there is somebody left to hear them."""
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                for piece in cut(messages.notice(f"restricted: {reason}")):
                    await self._pipe.send(piece)
                # What was handed to the channel is not on the wire yet.
                await asyncio.sleep(LAST_WORDS_S / 2)
        except (PipeClosed, TimeoutError):
            return

    @property
    def _is_full(self) -> bool:
        session = self._session
        return (
            session.offered >= self._relay.max_offered
            or session.reading >= MAX_READING
            or session.unsent >= MAX_UNSENT_BYTES
        )

    def _note(self, error: BaseException | None) -> None:
        if isinstance(error, RemoteError):
            self.misbehaved = error.code != TOO_SLOW
            self._reason = self._reason or error.sentence
        elif isinstance(error, PipeClosed):
            self._reason = self._reason or error.sentence
        elif error is not None:
            raise error


def _is_message(message: bytes) -> bool:
    if not message.startswith(b"["):
        return False
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True
