"""One HTTP/1.1 connection: h11 between a socket and a handler. Nothing is held but a head and a piece.

What a client may do wrong costs it its connection, never memory: heads are bounded, every wait has an
end, a client that does not read is let go, and a reply that cannot be finished is cut off, so that nobody
takes half of it for all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

import h11

from meshconsole import __version__
from meshconsole.core.errors import MeshconsoleError
from meshconsole.edge.messages import Handler, HttpError, Reply, Request, as_http, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from meshconsole.core.sections import LimitsSection

log = logging.getLogger(__name__)

MAX_HEAD_BYTES = 32 * 1024
READ_BYTES = 64 * 1024
LINGER_S = 1.0
KEEP_S = 60.0
"""For the next request on a connection to begin."""
MIN_BODY_BPS = 1000
"""What a body must bring on average, in bytes per second, but for the first wait."""
LEFTOVER_BYTES = 64 * 1024
"""Of a body that nobody wants: more of it and the connection is closed instead."""

Event = h11.Request | h11.Data | h11.EndOfMessage


class Meter(Protocol):
    """The owner's bandwidth."""

    async def wait_out(self, count: int) -> None: ...

    async def wait_in(self, count: int) -> None: ...


class Gone(Exception):
    """The client is not there any more, or was too slow."""


class Patience:
    """How long a client may still be waited for, in seconds: whoever sends a byte now and then uses
    it up as one who sends nothing. Where `per_byte` is given, bytes earn some of it back."""

    def __init__(self, wait_s: float, per_byte: float = 0.0) -> None:
        self._most = self.left = wait_s
        self._per_byte = per_byte

    def took(self, waited_s: float, count: int) -> None:
        self.left = min(self._most, max(0.0, self.left - waited_s) + count * self._per_byte)


class HttpConnection:
    """`limits` are asked at each wait, so that new ones hold at once."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        handler: Handler,
        limits: Callable[[], LimitsSection],
        meter: Meter | None,
        on_error: Callable[[HttpError], None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._handler = handler
        self._limits = limits
        self._meter = meter
        self._on_error = on_error
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        peer = writer.get_extra_info("peername")
        self._remote = str(peer[0]) if peer else ""

    async def run(self) -> None:
        """Until either side has had enough."""
        try:
            wait_s = float(self._limits().handshake_timeout_s)
            while (request := await self._next_request(wait_s)) is not None:
                await self._answer(request)
                if not await self._go_on():
                    break
                wait_s = KEEP_S
            await self._end()
        except (Gone, ConnectionError, OSError, RuntimeError):
            self._writer.transport.abort()

    async def _end(self) -> None:
        """Not by closing at once: with bytes unread, some systems would throw the answer away."""
        self._writer.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while await self._reader.read(READ_BYTES):
                    pass

    async def refuse(self, error: HttpError) -> None:
        """Instead of `run`: one reply, whatever is asked."""
        try:
            async with asyncio.timeout(self._limits().handshake_timeout_s):
                await self._next_request(float(self._limits().handshake_timeout_s))
                await self._send(_reply_of(error), is_head=False, close=True)
            await self._end()
        except (Gone, ConnectionError, OSError, TimeoutError, h11.ProtocolError):
            self._writer.transport.abort()

    # Receiving

    async def _next_request(self, wait_s: float) -> Request | None:
        """None at the end of the connection. What is not HTTP is answered with 400 here."""
        try:
            event = await self._next_event(Patience(wait_s))
        except h11.RemoteProtocolError as error:
            await self._send_bad(error)
            return None
        if not isinstance(event, h11.Request):
            return None
        headers: dict[str, str] = {}
        for name, value in event.headers:
            key, told = name.decode("ascii"), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {told}" if key in headers else told
        path, _, query = event.target.decode("ascii").partition("?")
        return Request(
            method=event.method.decode("ascii"),
            path=path,
            query=query,
            headers=headers,
            body=self._body(),
            remote=self._remote,
            base=f"http://{headers.get('host', '')}",
        )

    async def _body(self) -> AsyncIterator[bytes]:
        """Raises HttpError where the body is not what was announced."""
        patience = Patience(self._limits().write_timeout_s or KEEP_S, 1 / MIN_BODY_BPS)
        if self._http.they_are_waiting_for_100_continue:
            go = h11.InformationalResponse(status_code=100, headers=[])
            self._writer.write(self._http.send(go) or b"")
        while True:
            try:
                event = await self._next_event(patience)
            except h11.RemoteProtocolError:
                raise HttpError(HTTPStatus.BAD_REQUEST, "The body is not as long as announced.") from None
            if not isinstance(event, h11.Data):
                return
            yield bytes(event.data)

    async def _next_event(self, patience: Patience) -> Event | None:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                began_at = asyncio.get_running_loop().time()
                try:
                    async with asyncio.timeout(patience.left):
                        data = await self._reader.read(READ_BYTES)
                except TimeoutError:
                    raise Gone from None
                patience.took(asyncio.get_running_loop().time() - began_at, len(data))
                if self._meter is not None and data:
                    await self._meter.wait_in(len(data))
                self._http.receive_data(data)
            elif isinstance(event, h11.Request | h11.Data | h11.EndOfMessage):
                return event
            else:
                return None

    async def _go_on(self) -> bool:
        """Whether there may be another request: what is left of this one is read away, if it is little."""
        left = LEFTOVER_BYTES
        patience = Patience(float(self._limits().handshake_timeout_s))
        while self._http.their_state is h11.SEND_BODY and left > 0:
            if self._http.they_are_waiting_for_100_continue:
                return False
            try:
                event = await self._next_event(patience)
            except h11.RemoteProtocolError:
                return False
            left -= len(event.data) if isinstance(event, h11.Data) else 0
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    # Answering

    async def _answer(self, request: Request) -> None:
        try:
            reply = await self._handler(request)
        except HttpError as error:
            self._on_error(error)
            reply = _reply_of(error)
        except MeshconsoleError as error:
            told = as_http(error)
            self._on_error(told)
            reply = _reply_of(told)
        except (Gone, ConnectionError):
            raise
        except Exception:
            log.exception("a request at the HTTP edge failed")
            reply = text(HTTPStatus.INTERNAL_SERVER_ERROR, "An internal error; see the node's log.")
        await self._send(reply, is_head=request.method == "HEAD")

    async def _send(self, reply: Reply, *, is_head: bool, close: bool = False) -> None:
        body = reply.body
        length = len(body) if isinstance(body, bytes) else reply.length
        headers = [*reply.headers, *CORS, ("Server", f"meshconsole/{__version__}")]
        if length is not None and reply.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            headers.append(("Content-Length", str(length)))
        if close or self._http.they_are_waiting_for_100_continue:
            headers.append(("Connection", "close"))
        head = h11.Response(status_code=reply.status.value, headers=headers, reason=reply.status.phrase)
        await self._write(self._http.send(head) or b"")
        if is_head or reply.status is HTTPStatus.NOT_MODIFIED:
            if body is not None and not isinstance(body, bytes):
                await _close(body)
        elif isinstance(body, bytes):
            await self._write(self._http.send(h11.Data(data=body)) or b"")
        elif body is not None:
            await self._send_stream(body)
        await self._write(self._http.send(h11.EndOfMessage()) or b"")

    async def _send_stream(self, body: AsyncIterator[bytes]) -> None:
        try:
            async for piece in body:
                await self._write(self._http.send(h11.Data(data=piece)) or b"")
        except (Gone, ConnectionError):
            raise
        except (MeshconsoleError, HttpError) as error:
            # The status has been sent; cutting it off is how HTTP/1.1 says that this is not all.
            log.info("a reply at the HTTP edge was cut off: %s", error)
            raise Gone from None
        except Exception:
            log.exception("a reply at the HTTP edge failed")
            raise Gone from None
        finally:
            await _close(body)

    async def _send_bad(self, error: h11.RemoteProtocolError) -> None:
        status = HTTPStatus(error.error_status_hint)
        told = HttpError(status, "This is not HTTP/1.1 as it is taken here.")
        self._on_error(told)
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await self._send(_reply_of(told), is_head=False, close=True)

    async def _write(self, data: bytes) -> None:
        if not data:
            return
        if self._meter is not None:
            await self._meter.wait_out(len(data))
        self._writer.write(data)
        try:
            async with asyncio.timeout(self._limits().write_timeout_s or None):
                await self._writer.drain()
        except TimeoutError:
            raise Gone from None


CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "*"),
)
"""Every standard that is served here asks for it. What may be read is decided by who asks, not from where."""


def _reply_of(error: HttpError) -> Reply:
    reason = "".join(char if " " <= char <= "~" else "?" for char in error.sentence)
    return text(error.status, error.sentence, (*error.headers, ("X-Reason", reason)))


async def _close(body: AsyncIterator[bytes]) -> None:
    close = getattr(body, "aclose", None)
    if close is not None:
        await close()
