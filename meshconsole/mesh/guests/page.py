"""The guests' page and its WebSocket, on loopback: nothing else of this node is served there.

Names are as strict as can be: only a Host that is literally loopback is answered (a web site whose name was
bent to 127.0.0.1 is not), and a WebSocket only to the page itself (Origin). The page loads nothing from
elsewhere, runs nothing inline, and is shown in no frame.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Protocol

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response

from meshconsole import __version__
from meshconsole.core.errors import Fatal, MeshconsoleError, Refused, RemoteError
from meshconsole.mesh.guests import messages as g

if TYPE_CHECKING:
    from websockets.http11 import Request

HOST = "127.0.0.1"
_OWN_NAME = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?")
SIGNALS = "/signals"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/guest.js": ("guest.js", "text/javascript; charset=utf-8"),
    "/channel.js": ("channel.js", "text/javascript; charset=utf-8"),
    "/nostr.js": ("nostr.js", "text/javascript; charset=utf-8"),
    "/guest.css": ("guest.css", "text/css; charset=utf-8"),
}
MAX_PAGES = 16
"""WebSockets at once."""
MAX_SOCKETS = 64
"""Connections of any kind at once."""
ASK_S = 10.0
OFFER_S = 30.0


class Visit(Protocol):
    """One page that was heard. `welcome` is set when the owner says yes, or fails with the owner's no."""

    @property
    def code(self) -> str:
        """What it shows while it waits; "" if its guest is let in already."""

    @property
    def welcome(self) -> asyncio.Future[g.Welcome]: ...


class Channel(Protocol):
    """A data channel that is being made. `run` returns the words of its end."""

    @property
    def answer(self) -> str: ...

    async def run(self) -> g.Over: ...


class Desk(Protocol):
    """Who answers pages. `ask` and `answer` raise MeshconsoleError, whose sentence the page is shown."""

    @property
    def node_name(self) -> str: ...

    def ask(self, asked: g.Ask, challenge: str, url: str) -> Visit: ...

    def left(self, visit: Visit) -> None:
        """It waits no more, whether or not it got its answer."""

    async def answer(self, visit: Visit, offer: str, url: str) -> Channel: ...


class GuestPage:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._server: Server | None = None
        self._open = 0
        self._sockets: set[asyncio.BaseTransport] = set()

    @property
    def url(self) -> str:
        port = self._server.sockets[0].getsockname()[1] if self._server is not None else 0
        return f"http://{HOST}:{port}/"

    async def start(self, port: int) -> None:
        """Raises Fatal."""
        try:
            self._server = await serve(
                self._handle,
                HOST,
                port,
                process_request=self._before_upgrade,
                create_connection=self._connection,  # type: ignore[arg-type] # a maker does as well
                compression=None,
                max_size=g.MAX_MESSAGE,
                max_queue=2,
                ping_interval=20,
                close_timeout=1,
                open_timeout=ASK_S,
                server_header=f"meshconsole/{__version__}",
            )
        except OSError as error:
            raise Fatal(
                f"Cannot listen on {HOST}:{port}: {error.strerror or error}.",
                hint="Set guests.port to another port; 0 takes a free one.",
            ) from error

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    def _connection(self, *arguments: Any, **named: Any) -> _Connection:  # noqa: ANN401 - the library's own
        return _Connection(*arguments, sockets=self._sockets, **named)

    def _before_upgrade(self, _connection: ServerConnection, request: Request) -> Response | None:
        host = request.headers.get("Host", "")
        if not _OWN_NAME.fullmatch(host):
            return _said(HTTPStatus.FORBIDDEN, "This page is for this machine only.")
        path = request.path.partition("?")[0]
        if path == SIGNALS:
            return self._before_signals(request, host)
        if path not in FILES:
            return _said(HTTPStatus.NOT_FOUND, "There is no such page.")
        name, media_type = FILES[path]
        body = files(__package__).joinpath("page", name).read_bytes()
        return _response(HTTPStatus.OK, media_type, body, _policy(host))

    def _before_signals(self, request: Request, host: str) -> Response | None:
        if request.headers.get("Origin") != f"http://{host}":
            return _said(HTTPStatus.FORBIDDEN, "Another page may not ask this.")
        if self._open >= MAX_PAGES:
            return _said(HTTPStatus.SERVICE_UNAVAILABLE, "Too many pages are open.")
        return None

    async def _handle(self, connection: ServerConnection) -> None:
        if self._open >= MAX_PAGES:
            return
        self._open += 1
        try:
            over = await self._serve(connection)
        except MeshconsoleError as error:
            over = g.Over(error.sentence, final=isinstance(error, Refused))
        except (ConnectionClosed, TimeoutError):
            return
        finally:
            self._open -= 1
        try:
            await connection.send(g.encode(over))
        except ConnectionClosed:
            return

    async def _serve(self, connection: ServerConnection) -> g.Over:
        """One page, from its hello to its end. Raises MeshconsoleError, ConnectionClosed, TimeoutError."""
        assert connection.request is not None
        url = f"ws://{connection.request.headers['Host']}/"
        challenge = secrets.token_hex(16)
        await connection.send(g.encode(g.Hello(self._desk.node_name, challenge)))
        asked = g.read_ask(await _text(connection, ASK_S))
        visit = self._desk.ask(asked, challenge, url)
        try:
            if visit.code:
                await connection.send(g.encode(g.Wait(visit.code)))
            await _while_open(connection, visit.welcome)
        finally:
            self._desk.left(visit)
        await connection.send(g.encode(visit.welcome.result()))
        offer = g.read_offer(await _text(connection, OFFER_S))
        channel = await self._desk.answer(visit, offer.sdp, url)
        running = asyncio.ensure_future(channel.run())
        try:
            await connection.send(g.encode(g.Answer(channel.answer)))
        finally:
            # A channel lives on without the WebSocket that made it: a tunnel may go, and the way stay.
            over = await running
        return over


class _Connection(ServerConnection):
    """Beyond MAX_SOCKETS nobody is answered: others on this machine must not use up the node's files."""

    def __init__(self, *arguments: Any, sockets: set[asyncio.BaseTransport], **named: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **named)
        self._all = sockets

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if len(self._all) >= MAX_SOCKETS:
            self.transport.abort()
        else:
            self._all.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.discard(self.transport)
        super().connection_lost(exc)


async def _while_open(connection: ServerConnection, awaited: asyncio.Future[g.Welcome]) -> None:
    """Raises ConnectionClosed when the page goes first, RemoteError when it speaks out of turn."""
    listening = asyncio.ensure_future(connection.recv())
    try:
        both: tuple[asyncio.Future[Any], ...] = (listening, awaited)
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not awaited.done():
            listening.result()
            raise RemoteError("bad-message", "The page spoke before it was answered.")
        awaited.result()
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def _text(connection: ServerConnection, within_s: float) -> str:
    async with asyncio.timeout(within_s):
        message = await connection.recv()
    if not isinstance(message, str):
        raise RemoteError("bad-message", "The page sent something that this node does not expect.")
    return message


def _policy(host: str) -> str:
    """What the page may do. Not every browser takes a WebSocket for 'self'."""
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws://{host}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )


def _said(status: HTTPStatus, sentence: str) -> Response:
    return _response(status, "text/plain", f"{sentence}\n".encode(), "default-src 'none'")


def _response(status: HTTPStatus, media_type: str, body: bytes, policy: str) -> Response:
    headers = Headers(
        (
            ("Content-Type", media_type),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", policy),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
        )
    )
    return Response(status.value, status.phrase, headers, body)
