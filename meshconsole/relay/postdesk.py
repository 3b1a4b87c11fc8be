"""The door's desk for HTTP that is no GET, which is all that the websockets library answers.

What a connection begins with decides: a POST (NIP-86) or an OPTIONS (a browser asks first) is answered
here and the connection closed; everything else goes to the library untouched.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from meshconsole.core.errors import MeshconsoleError
from meshconsole.relay import nip11
from meshconsole.relay.management import MEDIA_TYPE, failure
from meshconsole.relay.posting import BadRequest, PostReader, begins_post, response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from websockets.asyncio.server import ServerConnection

    from meshconsole.relay.http_auth import HttpRequest

log = logging.getLogger(__name__)

MAX_AT_ONCE = 16
"""Requests that are being answered."""

LINGER_S = 1.0
"""How long an answer may take to be read."""

OPTIONS = b"OPTIONS "


class Answer(NamedTuple):
    status: HTTPStatus
    body: bytes
    """JSON."""
    headers: tuple[tuple[str, str], ...] = ()


class PostDesk:
    """`manage(request, is_own_url)` answers a POST; None where nothing is managed over HTTP. `is_relay`
    says whether the relay is at a path."""

    def __init__(
        self,
        manage: Callable[[HttpRequest, Callable[[str], bool]], Awaitable[Answer]] | None,
        is_own_url: Callable[[ServerConnection, str], bool],
        is_relay: Callable[[str], bool],
    ) -> None:
        self._manage = manage
        self._is_relay = is_relay
        self._is_own_url = is_own_url
        self._answering: set[asyncio.Task[None]] = set()

    def take(self, connection: ServerConnection, request: HttpRequest) -> None:
        if not self._is_relay(request.target.partition("?")[0]):
            say(connection, Answer(HTTPStatus.NOT_FOUND, failure("The relay is at the path / here.")))
            return
        if len(self._answering) >= MAX_AT_ONCE:
            say(connection, Answer(HTTPStatus.SERVICE_UNAVAILABLE, failure("Try again in a moment.")))
            return
        task = asyncio.create_task(self._answer(connection, request), name="relay-manage")
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def stop(self) -> None:
        """What was begun is finished: an act is never cut in half."""
        await asyncio.gather(*self._answering)

    async def _answer(self, connection: ServerConnection, request: HttpRequest) -> None:
        if self._manage is None:
            answer = Answer(HTTPStatus.METHOD_NOT_ALLOWED, failure("Nothing is managed over HTTP here."))
        else:
            try:
                answer = await self._manage(request, lambda url: self._is_own_url(connection, url))
            except MeshconsoleError as error:
                answer = Answer(HTTPStatus.SERVICE_UNAVAILABLE, failure(str(error)))
            except Exception:
                log.exception("a management call failed")
                answer = Answer(HTTPStatus.INTERNAL_SERVER_ERROR, failure("An internal error; try again."))
        say(connection, answer)


class Opening:
    """The first bytes of one connection, until it is known what they are."""

    def __init__(self, desk: PostDesk) -> None:
        self._desk = desk
        self._first = bytearray()
        self._reader: PostReader | None = None
        self.is_ours = False
        """The desk answers; the library never hears of this connection's bytes."""

    def take(self, connection: ServerConnection, data: bytes) -> bytes:
        """What is for the library: nothing yet, or all that came so far."""
        if self.is_ours:
            return b""
        if self._reader is None:
            self._first += data
            if self._first.startswith(OPTIONS):
                self.is_ours = True
                connection.transport.write(nip11.PREFLIGHT)
                _end(connection)
                return b""
            if not begins_post(self._first):
                return b"" if OPTIONS.startswith(self._first) else bytes(self._first)
            data = bytes(self._first)
            self._reader = PostReader()
        try:
            request = self._reader.receive(data)
        except BadRequest as error:
            self.is_ours = True
            say(connection, Answer(error.status, failure(error.sentence)))
            return b""
        if request is not None:
            self.is_ours = True
            self._desk.take(connection, request)
        return b""


def say(connection: ServerConnection, answer: Answer) -> None:
    if not connection.transport.is_closing():
        headers = (*nip11.CORS, *answer.headers)
        connection.transport.write(response(answer.status, MEDIA_TYPE, answer.body, headers))
        _end(connection)


def _end(connection: ServerConnection) -> None:
    """Not by closing at once: with bytes unread, some systems would throw the answer away."""
    connection.transport.write_eof()
    connection.loop.call_later(LINGER_S, connection.transport.abort)
