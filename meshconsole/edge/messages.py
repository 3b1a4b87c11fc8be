"""Requests and replies of the HTTP edge, and the errors that become replies. Pure.

`connection.py` makes requests of bytes and bytes of replies; what lies between sees neither.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from meshconsole.core.errors import Fatal, MeshconsoleError, Refused, RemoteError, Unavailable

Headers = tuple[tuple[str, str], ...]
Stream = AsyncIterator[bytes]

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
RETRY_AFTER_S = 10


async def _nothing() -> Stream:
    pieces: tuple[bytes, ...] = ()
    for piece in pieces:
        yield piece


@dataclass(slots=True)
class Request:
    """`headers` have names in lower case. `body` can be read once. `path` is as it came, percent signs and
    all; `base` is the URL of this server as the client names it."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: Stream = field(default_factory=_nothing)
    remote: str = ""
    base: str = ""

    def header(self, name: str) -> str:
        return self.headers.get(name, "")

    @property
    def length(self) -> int | None:
        """Bytes of the body, where the client says so."""
        text = self.header("content-length")
        return int(text) if text else None

    def parameters(self) -> list[tuple[str, str]]:
        """Of the query. Raises HttpError."""
        try:
            return parse_qsl(self.query, keep_blank_values=True, errors="strict", max_num_fields=64)
        except ValueError:
            raise HttpError(HTTPStatus.BAD_REQUEST, "The query of the URL is malformed.") from None

    def parameter(self, name: str) -> str:
        """The first of that name, "" if there is none. Raises HttpError."""
        return next((value for key, value in self.parameters() if key == name), "")

    def segments(self) -> tuple[str, ...]:
        """Of the path, decoded; an empty one at the end is left out. Raises HttpError."""
        return tuple(_decoded(part) for part in self.path.removesuffix("/").split("/")[1:])


@dataclass(slots=True)
class Reply:
    """`length` belongs to a body that is a stream; None where it is not known before. `body` is None in an
    answer to HEAD whose length is not known."""

    status: HTTPStatus
    headers: Headers = ()
    body: bytes | Stream | None = b""
    length: int | None = None


Handler = Callable[[Request], Awaitable[Reply]]


class HttpError(Exception):
    """Becomes a reply with this status and sentence."""

    def __init__(self, status: HTTPStatus, sentence: str, headers: Headers = ()) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = headers


def text(status: HTTPStatus, sentence: str, headers: Headers = ()) -> Reply:
    body = f"{sentence}\n".encode()
    return Reply(status, (("Content-Type", TEXT), *headers), body)


def json(value: object, status: HTTPStatus = HTTPStatus.OK, headers: Headers = ()) -> Reply:
    return Reply(status, (("Content-Type", JSON), *headers), msgspec.json.encode(value))


def as_http(error: MeshconsoleError) -> HttpError:
    """What a client is told of an error of a room."""
    if isinstance(error, Refused):
        return HttpError(_REFUSALS.get(error.code, HTTPStatus.FORBIDDEN), error.sentence)
    if isinstance(error, RemoteError):
        return HttpError(HTTPStatus.BAD_REQUEST, error.sentence)
    if isinstance(error, Unavailable):
        again = (("Retry-After", str(RETRY_AFTER_S)),)
        return HttpError(HTTPStatus.SERVICE_UNAVAILABLE, error.sentence, again)
    sentence = error.sentence if isinstance(error, Fatal) else "An internal error; see the node's log."
    return HttpError(HTTPStatus.INTERNAL_SERVER_ERROR, sentence)


_REFUSALS = {
    "auth-required": HTTPStatus.UNAUTHORIZED,
    "invalid": HTTPStatus.BAD_REQUEST,
    "rate-limited": HTTPStatus.TOO_MANY_REQUESTS,
}


def listed(header: str) -> Iterable[str]:
    """The parts of a header that is a list, such as Cache-Control, in lower case."""
    return (part.strip().lower() for part in header.split(","))


def matches_etag(header: str, etag: str) -> bool:
    """If-None-Match, by weak comparison (RFC 9110 §13.1.2)."""
    bare = etag.removeprefix("W/")
    given = [part.strip() for part in header.split(",")]
    return "*" in given or any(part.removeprefix("W/") == bare for part in given)


def _decoded(part: str) -> str:
    try:
        return unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        raise HttpError(HTTPStatus.BAD_REQUEST, "The path of the URL is not UTF-8.") from None
