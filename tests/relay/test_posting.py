"""HTTP as the door reads it: one POST, one way to read it."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.relay.posting import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    BadRequest,
    PostReader,
    begins_post,
    response,
)

GOOD = (
    b"POST /x?y=1 HTTP/1.1\r\nHost: pi.local:7447\r\nContent-Type: application/nostr+json+rpc\r\n"
    b"Authorization:  Nostr abc \r\nContent-Length: 5\r\n\r\nhello"
)


@given(st.lists(st.integers(1, len(GOOD) - 1), max_size=6))
def test_a_request_may_come_in_any_pieces(cuts: list[int]) -> None:
    reader, start, got = PostReader(), 0, None
    for end in [*sorted(set(cuts)), len(GOOD)]:
        assert got is None
        got = reader.receive(GOOD[start:end])
        start = end
    assert got is not None
    assert (got.method, got.target, got.body) == ("POST", "/x?y=1", b"hello")
    assert got.headers["authorization"] == "Nostr abc"
    assert got.headers["host"] == "pi.local:7447"


def test_what_may_become_a_post() -> None:
    assert begins_post(b"")
    assert begins_post(b"PO")
    assert begins_post(b"POST / HTTP/1.1")
    assert not begins_post(b"POSTER")
    assert not begins_post(b"GET / HTTP/1.1")


def changed(old: bytes, new: bytes) -> bytes:
    assert old in GOOD
    return GOOD.replace(old, new)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (changed(b"HTTP/1.1", b"HTTP/1.0"), 400),
        (changed(b"/x?y=1", b"http://pi.local/"), 400),
        (changed(b"/x?y=1", b"/a b"), 400),
        (changed(b"Content-Length: 5\r\n", b""), 411),
        (changed(b"Content-Length: 5", b"Content-Length: 5\r\nContent-Length: 6"), 400),
        (changed(b"Content-Length: 5", b"Content-Length: +5"), 400),
        (changed(b"Content-Length: 5", b"Content-Length: 5, 5"), 400),
        (changed(b"Content-Length: 5", b"Content-Length: 0x5"), 400),
        (changed(b"Content-Length: 5", b"Content-Length : 5"), 400),
        (changed(b"Content-Length: 5", b"Content-Length: -1"), 400),
        (changed(b"Content-Length: 5", b"Content-Length: 4"), 400),
        (changed(b"Content-Length: 5", b"Content-Length: %d" % (MAX_BODY_BYTES + 1)), 413),
        (changed(b"Content-Length: 5", b"Content-Length: 99999999999999999999"), 400),
        (changed(b"Content-Length: 5", b"Transfer-Encoding: chunked"), 501),
        (changed(b"Content-Length: 5", b"Content-Length: 5\r\nTransfer-Encoding: chunked"), 501),
        (changed(b"Content-Length: 5", b"Content-Length: 5\r\nExpect: 100-continue"), 417),
        (changed(b"Host: pi.local:7447", b"Host: a\r\nHost: b"), 400),
        (changed(b"Host: pi.local:7447\r\n", b""), 400),
        (changed(b"Authorization:  Nostr abc ", b"Authorization: a\r\nAuthorization: b"), 400),
        (changed(b"Host: pi.local:7447", b"Host: pi.local\r\n folded: yes"), 400),
        (changed(b"Host: pi.local:7447", b"Host: pi\nX: y"), 400),
        (changed(b"Host: pi.local:7447", b"Host: pi\x00"), 400),
        (changed(b"Host: pi.local:7447", b"Host: pi\r\n" + b"X: y\r\n" * 70 + b"Z: 1"), 431),
        (b"POST / HTTP/1.1\r\nX: " + b"y" * MAX_HEAD_BYTES, 431),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(data: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as caught:
        PostReader().receive(data)
    assert caught.value.status == status
    assert caught.value.sentence


@given(st.binary(max_size=300))
def test_noise_is_refused_or_waited_for(noise: bytes) -> None:
    reader = PostReader()
    with suppress(BadRequest):
        assert reader.receive(b"POST " + noise) is None


def test_an_answer_says_how_long_it_is_and_that_it_is_the_last() -> None:
    said = response(HTTPStatus.OK, "text/plain", b"hi", [("X-A", "b")])
    head, _, body = said.partition(b"\r\n\r\n")
    assert body == b"hi"
    assert head.split(b"\r\n")[0] == b"HTTP/1.1 200 OK"
    assert {b"Content-Length: 2", b"Connection: close", b"X-A: b"} <= set(head.split(b"\r\n"))
