"""A WebSocket connection of a Nostr client, or of another room's route.

`ClientConnection` is a `ServerConnection` of the websockets library with a short way for what
clients send nearly always: whole, unfragmented text frames. Everything else (control frames,
fragments, violations) is given to the library, one complete frame at a time, so that its parser
always stands at the start of a frame and its state stays the only truth about the connection. The
short way is taken only while that state says "open, no fragmented message under way". What is
used of the library's inside is held by a contract test; its minor version is pinned.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from websockets.asyncio.server import ServerConnection
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State

from meshconsole.relay import messages
from meshconsole.relay.deflate import deflated_frames
from meshconsole.relay.frames import NEED_MORE, Batch, Framing, next_frame, one_by_one
from meshconsole.relay.places import http_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from websockets.http11 import Request, Response

    from meshconsole.relay.places import Place, TurnedAway
    from meshconsole.relay.postdesk import Opening

MAX_EARLY = 256
"""Messages that may come before the port is there."""

LINGER_S = 1.0
"""How long last words may take to be read."""

TURN_S = 0.002
"""So long the messages of one connection may take in a turn of the loop; those that came with them follow in
the next ones. A piece of what was received may hold 40,000 pings, and others wait for it."""

PIECE_BYTES, LARGER_BYTES = 4096, 16 * 1024
"""So much at first, and then at a time, is given to the library for another room's route: it takes what it
gets in one go."""

MAX_REASON = 123
"""Bytes of a close frame's reason (RFC 6455 section 5.5)."""


class Gate(Protocol):
    """Who decides whether a connection may stay."""

    def knock(self, connection: ClientConnection, transport: asyncio.Transport) -> TurnedAway | None: ...

    def left(self, connection: ClientConnection) -> None: ...


class Listener(Protocol):
    """Who is told what a client's connection brings, and writes to it."""

    hearing: bool
    """What was received just now is being taken: answers wait for the end of it."""
    drains: int
    """How often what was written has gone out."""

    @property
    def full(self) -> bool:
        """It takes nothing more at present."""

    def received(self, count: int, /) -> None:
        """So many bytes."""

    def take(self, message: bytes, /) -> None: ...

    def heard(self) -> None:
        """All that was received just now is taken."""

    def flush(self) -> None: ...


class ClientConnection(ServerConnection):
    """Also serves the routes of other rooms, and then behaves as the library made it.

    One that the gate turns away never reaches the library: it gets its answer and a moment to read it.
    """

    def __init__(
        self, *arguments: object, gate: Gate, opening: Opening, framing: Framing, **named: object
    ) -> None:
        super().__init__(*arguments, **named)  # type: ignore[arg-type]
        self._gate = gate
        self._framing = framing
        self.place: Place | None = None
        self.forwarded = ""
        """Whose connection it is, where a trusted proxy passes it on."""
        self._turned_away = False
        self._deaf = False
        self._opening: Opening | None = opening
        self.is_client = False
        """Set before the handshake is answered, when the path is the relay's own."""
        self._port: Listener | None = None
        """Set by `attach`."""
        self._before_port: list[bytes] = []
        self._fragments = bytearray()
        self._rest = bytearray()
        self._hasty = False
        self._held = False
        self._gives_way = False
        """It is held because others have their turn of the loop first."""

    @property
    def remote_address(self) -> Any:  # noqa: ANN401 - the library's
        return (self.forwarded, 0) if self.forwarded else super().remote_address

    @property
    def is_hasty(self) -> bool:
        """It sent frames before its handshake was answered (RFC 6455 section 4.1 forbids it). They are
        inside the library already, and could not be taken in their order."""
        return self._hasty or bool(self.protocol.reader.buffer)

    @property
    def is_open(self) -> bool:
        return self.protocol.state is State.OPEN and not self.transport.is_closing()

    @property
    def is_held(self) -> bool:
        """It is not read at present."""
        return self._held

    @property
    def is_stuck(self) -> bool:
        """It does not take what it is sent."""
        return not self._deaf and self.paused

    @property
    def is_answered(self) -> bool:
        """It is an HTTP request that has its answer, or will get it."""
        return self._opening is not None and self._opening.is_ours

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        turned_away = self._gate.knock(self, transport)
        if turned_away is None:
            super().connection_made(transport)
            return
        self._turned_away = True
        self.transport = transport
        self.dismiss(turned_away)

    def dismiss(self, turned_away: TurnedAway) -> None:
        """Before the handshake is done: an HTTP answer, and the end. Closing at once, with a request
        unread, would make some systems throw the answer away."""
        transport = self.transport
        self._deaf = True
        if not transport.is_closing():
            transport.write(http_answer(turned_away))
            with suppress(OSError):  # whoever has gone already is not connected any more by now
                transport.write_eof()
            self.loop.call_later(LINGER_S, transport.abort)

    def expel(self, sentence: str) -> None:
        """After the handshake: a NOTICE if there is room for one, a close frame, and soon the end."""
        if self.is_open:
            if not self.paused:
                self.transport.write(self.frames([messages.notice(sentence)]))
            self.protocol.fail(CloseCode.POLICY_VIOLATION, sentence[:MAX_REASON])
            self.send_data()
            self.loop.call_later(LINGER_S, self.transport.abort)

    def frames(self, several: Sequence[bytes | Batch]) -> bytes:
        """Text messages as they go over this connection."""
        extensions = self.protocol.extensions
        if extensions:
            return deflated_frames(one_by_one(several), extensions)
        return self._framing.text_frames(several)

    def ping_now(self) -> None:
        """Any answer will do: what is received is counted, not matched."""
        if self.is_open and not self.paused:
            self.protocol.send_ping(b"")
            self.send_data()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._turned_away:
            return
        self._gate.left(self)
        super().connection_lost(exc)

    def eof_received(self) -> None:
        if not self._deaf:
            super().eof_received()

    def attach(self, port: Listener) -> None:
        """From now on messages go to `port`; those that came before it go first."""
        self._port = port
        early, self._before_port = self._before_port, []
        for message in early:
            port.take(message)
        self.go_on()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._opening is not None:
            data = self._opening.take(self, data)
            if not data:
                return
            self._opening = None
        state = self.protocol.state
        if state is State.CONNECTING:
            super().data_received(data)
            return
        if not self.is_client or state is not State.OPEN:
            self._pass_on(data)
            return
        port = self._port
        if port is not None:
            port.received(len(data))
        if self._rest:
            self._rest += data
            self._hear(self._rest)
        else:
            self._hear(data)

    def process_event(self, event: Request | Response | Frame) -> None:
        """Frames that took the long way."""
        if not self.is_client or not isinstance(event, Frame) or event.opcode not in _DATA:
            self._hasty = self._hasty or (isinstance(event, Frame) and self.response is None)
            super().process_event(event)
            return
        self._fragments += event.data
        if event.fin:
            message = bytes(self._fragments)
            self._fragments.clear()
            self._take(message)

    def pause_writing(self) -> None:
        if not self._turned_away:
            super().pause_writing()

    def resume_writing(self) -> None:
        if self._turned_away:
            return
        super().resume_writing()
        if self._port is not None:
            self._port.drains += 1
            self._port.flush()

    def go_on(self) -> None:
        """Takes up reading again where `_feed` or the port stopped it."""
        if not self._held or self._gives_way or self.transport.is_closing():
            return
        self._held = False
        self._feed(self._rest)
        if not self._held:
            self.transport.resume_reading()

    def hold(self) -> None:
        """Stops reading: TCP makes the client wait."""
        if not self._held and not self.transport.is_closing():
            self._held = True
            self.transport.pause_reading()

    def _have_turn(self) -> None:
        """The others had theirs."""
        self._gives_way = False
        if not self._held or self.transport.is_closing():
            return
        self._held = False
        try:
            if self.is_client and self.protocol.state is State.OPEN:
                self._hear(self._rest)
            else:
                self._pass_on(b"")
        except BaseException:
            self.transport.abort()  # as asyncio does after a fault in `data_received`
            raise
        if not self._held and not self.recv_messages.paused:
            self.transport.resume_reading()

    def _give_way(self) -> None:
        self.hold()
        self._gives_way = True
        self.loop.call_soon(self._have_turn)

    def _pass_on(self, data: bytes) -> None:
        """To the library: for another room's route, or because the connection is being closed."""
        if self._gives_way:  # the library itself has taken up reading again
            self._rest += data
            return
        if self._rest:
            data = bytes(self._rest) + data
            self._rest.clear()
        until = perf_counter() + TURN_S
        start, piece = 0, PIECE_BYTES
        while start < len(data) and not self.transport.is_closing():
            if start and perf_counter() > until:
                self._rest = bytearray(data[start:])
                self._give_way()
                return
            super().data_received(data[start : start + piece])
            start += piece
            piece = LARGER_BYTES  # what began like a link's frames is quicker in larger pieces

    def _hear(self, data: bytes | bytearray) -> None:
        """What this piece brings is answered in one write where it can be answered at once."""
        port = self._port
        if port is not None:
            port.hearing = True
        try:
            self._feed(data)
        finally:
            if port is not None:
                port.heard()

    def _feed(self, data: bytes | bytearray) -> None:
        protocol = self.protocol
        start, limit = 0, protocol.max_message_size or len(data)
        until = perf_counter() + TURN_S
        while start < len(data):
            if self._held or self._must_wait():
                self.hold()
                break
            if start and perf_counter() > until:
                self._give_way()
                break
            frame = next_frame(data, start, limit)
            if frame is NEED_MORE:
                break
            payload, end = frame
            if payload is None or protocol.current_size is not None:
                super().data_received(bytes(data[start:end]))
            elif payload.isascii() or _is_utf8(payload):
                self._take(payload)
            else:
                self._refuse_text()
            start = end
            if protocol.state is not State.OPEN or self.transport.is_closing():
                # Nothing counts after a close frame or a violation (RFC 6455 section 5.5.1, 7.1.7), and each
                # answer to somebody who has gone would be a line in the log.
                start = len(data)
        # What is left stays where it is: copying a large frame for each piece of it would be quadratic.
        if data is not self._rest or start:
            self._rest = bytearray(data[start:])

    def _must_wait(self) -> bool:
        return len(self._before_port) > MAX_EARLY if self._port is None else self._port.full

    def _take(self, message: bytes) -> None:
        if self._port is None:
            self._before_port.append(message)
        else:
            self._port.take(message)

    def _refuse_text(self) -> None:
        """RFC 6455 section 8.1."""
        self.protocol.fail(CloseCode.INVALID_DATA, "text that is not UTF-8")
        self.send_data()


_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
