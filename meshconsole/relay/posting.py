"""One HTTP POST from bytes to request, and an answer to bytes. Pure.

The websockets library's server answers nothing but GET, so this is what the door needs of HTTP/1.1 and
nothing more. There is one way to say how long a body is, and one request on a connection: what could
be read in two ways is refused (RFC 9112 section 11.2), and after the answer the connection is closed.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from meshconsole.relay.http_auth import HttpRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

BEGIN = b"POST "
MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 64 * 1024
MAX_HEADERS = 64

_request_line = re.compile(r"POST (/[!-~]*) HTTP/1\.1").fullmatch
_header = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*").fullmatch
_length = re.compile(r"[0-9]{1,9}").fullmatch


class BadRequest(Exception):
    """Not HTTP as it is taken here. Answered with `status`, then the connection is closed."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class PostReader:
    """Bytes as they come in; the request when it is whole."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._head: HttpRequest | None = None
        self._body_bytes = 0

    def receive(self, data: bytes) -> HttpRequest | None:
        """Raises BadRequest. Holds at most one head and one body."""
        self._data += data
        if self._head is None:
            end = self._data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
            if end < 0:
                if len(self._data) >= MAX_HEAD_BYTES:
                    raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too long.")
                return None
            self._head = _read_head(bytes(self._data[:end]).decode("latin-1"))
            self._body_bytes = _body_bytes(self._head.headers)
            del self._data[: end + 4]
        if len(self._data) > self._body_bytes:
            raise _bad("There are more bytes than Content-Length says.")
        if len(self._data) < self._body_bytes:
            return None
        return self._head._replace(body=bytes(self._data))


def begins_post(data: bytes | bytearray) -> bool:
    """Whether the first bytes of a connection may be those of a POST, as far as they go."""
    return BEGIN.startswith(bytes(data[: len(BEGIN)]))


def response(status: HTTPStatus, media_type: str, body: bytes, headers: Iterable[tuple[str, str]]) -> bytes:
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {media_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _read_head(text: str) -> HttpRequest:
    first, *lines = text.split("\r\n")
    begun = _request_line(first)
    if begun is None:
        raise _bad("The first line is not that of a POST in HTTP/1.1.")
    if len(lines) > MAX_HEADERS:
        raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "There are too many headers.")
    headers: dict[str, str] = {}
    for line in lines:
        parted = _header(line)
        if parted is None:
            raise _bad("A header is not written as HTTP/1.1 has it.")
        name, value = parted[1].lower(), parted[2]
        if name in headers and name in _ONCE:
            raise _bad(f"There is more than one {name}.")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if "host" not in headers:
        raise _bad("There is no Host.")
    return HttpRequest("POST", begun[1], headers, b"")


def _body_bytes(headers: dict[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise BadRequest(HTTPStatus.NOT_IMPLEMENTED, "Bodies come with a Content-Length here.")
    if "content-length" not in headers:
        raise BadRequest(HTTPStatus.LENGTH_REQUIRED, "There is no Content-Length.")
    if "expect" in headers:
        raise BadRequest(HTTPStatus.EXPECTATION_FAILED, "Send the body at once.")
    if _length(headers["content-length"]) is None:
        raise _bad("The Content-Length is not a number.")
    size = int(headers["content-length"])
    if size > MAX_BODY_BYTES:
        raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"At most {MAX_BODY_BYTES} bytes are taken.")
    return size


_ONCE = frozenset({"host", "content-length", "content-type", "authorization", "transfer-encoding"})


def _bad(sentence: str) -> BadRequest:
    return BadRequest(HTTPStatus.BAD_REQUEST, sentence)
