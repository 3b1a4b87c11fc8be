"""The RPC interface of a Kubo node: one HTTP request for a command, with a deadline for each. Blocking.

Every command is a POST under /api/v0; arguments are in the query, bytes in a form with one part. A command
that fails answers 500 with a message. A reader who is not allowed gets 403.
Source: docs.ipfs.tech/reference/kubo/rpc.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
from base64 import b64encode
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from meshconsole.core.errors import Refused, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TIMEOUT_S = 20.0
LISTING_TIMEOUT_S = 120.0
"""Kubo collects a whole listing before it says the first of it."""

SPARED_S = 5.0
"""After a command that got no answer in time, others fail at once for so long: each would hold a thread."""

PIECE_BYTES = 64 << 10
MAX_MESSAGE_PIECES = 4
MAX_ANSWER_BYTES = 4 << 20

_BOUNDARY = "meshconsole-block"
_PART_HEAD = (
    f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="data"; filename="data"\r\n'
    "Content-Type: application/octet-stream\r\n\r\n"
).encode()
_PART_END = f"\r\n--{_BOUNDARY}--\r\n".encode()


class CommandFailed(Exception):
    """Kubo's own message. Never leaves the room."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the interface is: a TCP port, or a Unix socket at `path`."""

    host: str = ""
    port: int = 0
    tls: bool = False
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """A URL (http, https) or a multiaddr (ip4, ip6, dns with tcp; unix). Raises Refused("invalid")."""
        try:
            found = _of_multiaddr(text) if text.startswith("/") else _of_url(text)
        except ValueError:
            found = None
        if found is None:
            raise Refused(
                "invalid",
                f"{text!r} is no address of a Kubo node.",
                hint="Write http://127.0.0.1:5001, or what `ipfs config Addresses.API` says.",
            )
        return found

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


def _of_url(text: str) -> Address | None:
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname or url.username or url.path.strip("/"):
        return None
    tls = url.scheme == "https"
    return Address(url.hostname, url.port or (443 if tls else 80), tls)


def _of_multiaddr(text: str) -> Address | None:
    match text.strip("/").split("/"):
        case ["unix", *path] if path:
            return Address(path="/" + "/".join(path))
        case ["ip4" | "ip6" | "dns" | "dns4" | "dns6", host, "tcp", port, *rest] if rest in (
            [],
            ["http"],
            ["https"],
            ["tls", "http"],
        ):
            return Address(host, int(port), rest[:1] in (["https"], ["tls"]))
        case _:
            return None


def authorization(secret: str) -> str:
    """The header for a secret as Kubo's own configuration writes it: `basic:USER:PASSWORD`, `bearer:TOKEN`,
    or a bare token. Empty for none."""
    scheme, _, rest = secret.partition(":")
    match scheme:
        case "":
            return ""
        case "basic":
            return "Basic " + b64encode(rest.encode()).decode()
        case "bearer":
            return f"Bearer {rest}"
        case _:
            return f"Bearer {secret}"


class KuboRpc:
    """Any number of threads may call it at once. Connections are kept for the next command."""

    def __init__(
        self,
        address: Address,
        secret: str = "",
        *,
        timeout_s: float = TIMEOUT_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = address
        self._authorization = authorization(secret)
        self._timeout_s = timeout_s
        self._now = now
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._spared_until = 0.0
        self._spared = ""

    def close(self) -> None:
        """When no command is under way any more."""
        while self._idle:
            self._idle.pop().close()

    def call(self, command: str, body: bytes | None = None, /, **options: str) -> bytes:
        """The answer, whole. Raises CommandFailed, Unavailable (out of reach, too slow, not allowed)."""
        answer = bytearray()
        with self.pieces(command, body, timeout_s=self._timeout_s, **options) as pieces:
            for piece in pieces:
                answer += piece
                if len(answer) > MAX_ANSWER_BYTES:
                    raise Unavailable("Kubo sent a larger answer than any block has.", hint=_HINT)
        return bytes(answer)

    @contextmanager
    def pieces(
        self, command: str, body: bytes | None = None, /, *, timeout_s: float, **options: str
    ) -> Iterator[Iterator[bytes]]:
        """As `call`, for an answer of any length. All of it must come within `timeout_s`."""
        if self._now() < self._spared_until:
            raise Unavailable(self._spared, hint=_HINT)
        exchange: _Exchange | None = None
        try:
            exchange = self._ask(_Question(f"/api/v0/{command}?{urlencode(options)}", body), timeout_s)
            self._check(command, exchange)
            yield exchange.pieces()
        except TimeoutError:
            self._spared = f"The Kubo node at {self.address} gave no answer in time."
            self._spared_until = self._now() + SPARED_S
            raise Unavailable(self._spared, hint=_HINT) from None
        except (OSError, http.client.HTTPException) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else "it broke off"
            raise Unavailable(
                f"The Kubo node at {self.address} cannot be reached: {why}.", hint=_HINT
            ) from error
        finally:
            if exchange is not None and exchange.is_read:
                self._idle.append(exchange.connection)
            elif exchange is not None:
                exchange.close()  # the rest of the answer would be taken for the next one

    def _ask(self, question: _Question, timeout_s: float) -> _Exchange:
        """A kept connection may be one that Kubo has closed meanwhile, or that a restart has cut."""
        deadline = self._now() + timeout_s
        while True:
            try:
                connection, is_kept = self._idle.pop(), True
            except IndexError:
                connection, is_kept = _connection(self.address), False
            exchange = _Exchange(connection, deadline, self._now)
            try:
                exchange.ask(question, self._authorization)
            except (OSError, http.client.HTTPException) as error:
                exchange.close()
                if not is_kept or isinstance(error, TimeoutError):
                    raise
            else:
                return exchange

    def _check(self, command: str, exchange: _Exchange) -> None:
        if exchange.status == http.client.OK:
            return
        text = b"".join(islice(exchange.pieces(), MAX_MESSAGE_PIECES))
        if exchange.status == http.client.INTERNAL_SERVER_ERROR:
            raise CommandFailed(_message(text))
        if exchange.status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
            raise Unavailable(
                f"The Kubo node at {self.address} does not allow {command} to this node.",
                hint="Give content.kubo_token_file the secret that its API.Authorizations asks for.",
            )
        raise Unavailable(
            f"What answers at {self.address} is no RPC interface of Kubo (status {exchange.status}).",
            hint="Compare content.kubo_api with: ipfs config Addresses.API",
        )


@dataclass(frozen=True, slots=True)
class _Question:
    target: str
    body: bytes | None


class _Exchange:
    """A question and its answer on one connection, before a deadline."""

    def __init__(
        self, connection: http.client.HTTPConnection, deadline: float, now: Callable[[], float]
    ) -> None:
        self.connection = connection
        self.is_read = False
        self._deadline = deadline
        self._now = now
        self._response: http.client.HTTPResponse | None = None

    def ask(self, question: _Question, authorization: str) -> None:
        headers = {"Authorization": authorization} if authorization else {}
        body = question.body
        if body is not None:
            body = b"".join((_PART_HEAD, body, _PART_END))
            headers["Content-Type"] = f"multipart/form-data; boundary={_BOUNDARY}"
        self._set_timeout()
        self.connection.request("POST", question.target, body or b"", headers)
        self._set_timeout()
        self._response = self.connection.getresponse()

    @property
    def status(self) -> int:
        return self._response.status if self._response is not None else 0

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
        self.connection.close()

    def pieces(self) -> Iterator[bytes]:
        while self._response is not None:
            self._set_timeout()
            piece = self._response.read1(PIECE_BYTES)
            if not piece:
                if self._response.length:
                    raise http.client.IncompleteRead(b"", self._response.length)
                self.is_read = not self._response.will_close
                self._response.close()
                return
            yield piece

    def _set_timeout(self) -> None:
        left = self._deadline - self._now()
        if left <= 0:
            raise TimeoutError
        self.connection.timeout = left
        if self.connection.sock is not None:
            self.connection.sock.settimeout(left)


_HINT = "Start it (ipfs daemon), or correct content.kubo_api. It is tried again by itself."


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(address: Address) -> http.client.HTTPConnection:
    if address.path:
        return _UnixConnection(os.path.expanduser(address.path))
    kind = http.client.HTTPSConnection if address.tls else http.client.HTTPConnection
    return kind(address.host, address.port)


def _message(body: bytes) -> str:
    try:
        found = json.loads(body)
        return str(found["Message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:200]
