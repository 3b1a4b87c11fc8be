"""The port itself, over real sockets: what clients do wrong, and what it costs whom."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
import pytest

from meshconsole.core.errors import Fatal, Refused, Unavailable
from meshconsole.core.sections import LimitsSection
from meshconsole.core.verdict import ACCEPTED, refuse
from meshconsole.edge.connection import MIN_BODY_BPS, Patience
from meshconsole.edge.messages import HttpError, Reply, Request, text
from meshconsole.edge.server import EdgeServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from meshconsole.core.verdict import Verdict
    from meshconsole.edge.messages import Handler

MIB = 1 << 20


class Meter:
    def __init__(self) -> None:
        self.sent = self.received = 0

    async def wait_out(self, count: int) -> None:
        self.sent += count

    async def wait_in(self, count: int) -> None:
        self.received += count


class Site:
    def __init__(self, server: EdgeServer, errors: list[HttpError], meter: Meter) -> None:
        self.server = server
        self.errors = errors
        self.meter = meter

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.server.address.split(":")[1]))
        try:
            yield reader, writer
        finally:
            writer.close()

    async def say(self, data: bytes) -> bytes:
        """Everything that is answered until the connection ends."""
        async with self.open() as (reader, writer):
            writer.write(data)
            writer.write_eof()
            return await reader.read()


@asynccontextmanager
async def serving(handler: Handler, verdict: Verdict = ACCEPTED, **limits: int) -> AsyncIterator[Site]:
    section = msgspec.structs.replace(LimitsSection(), **limits)
    meter = Meter()
    errors: list[HttpError] = []
    server = EdgeServer(
        handler,
        host="127.0.0.1",
        port=0,
        limits=lambda: section,
        admit=lambda remote: verdict,
        meter=lambda: meter,
        on_error=errors.append,
    )
    await server.start()
    try:
        yield Site(server, errors, meter)
    finally:
        await server.stop()


async def until_the_end(reader: asyncio.StreamReader) -> bytes:
    """Whatever way it ends."""
    told = b""
    try:
        while piece := await reader.read(65_536):
            told += piece
    except ConnectionError:
        return told
    return told


async def echo(request: Request) -> Reply:
    body = b"".join([piece async for piece in request.body])
    return text(HTTPStatus.OK, f"{request.method} {request.path} {request.query} {len(body)}")


async def test_several_requests_on_one_connection() -> None:
    async with serving(echo) as site:
        told = await site.say(
            b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
            b"PUT /d HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
            b"HEAD /e HTTP/1.1\r\nHost: x\r\n\r\n"
        )
    assert b"GET /a b=c 0" in told
    assert b"PUT /d  3" in told
    assert told.endswith(b"\r\n\r\n")
    assert told.count(b"200 OK") == 3
    assert site.meter.sent == len(told)
    assert site.meter.received > 100


async def test_a_body_in_chunks_and_one_that_waits_to_be_asked_for() -> None:
    async with serving(echo) as site:
        told = await site.say(
            b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        assert b"PUT /  5" in told
        async with site.open() as (reader, writer):
            writer.write(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            assert b"100" in await reader.readline()
            writer.write(b"ab")
            writer.write_eof()
            assert b"PUT /  2" in await reader.read()


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 40_000,
    ],
    ids=["TLS", "no host", "control", "two hosts", "two lengths", "negative", "long header", "long line"],
)
async def test_what_is_not_http_is_refused(data: bytes) -> None:
    async with serving(echo) as site:
        told = await site.say(data)
    assert told.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431", b"HTTP/1.1 414"))
    assert b"Connection: close" in told


async def test_a_body_that_ends_early_is_not_taken_for_a_whole_one() -> None:
    async with serving(echo) as site:
        told = await site.say(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
    assert told.startswith(b"HTTP/1.1 400")
    assert b"not as long as announced" in told


async def test_more_bytes_than_announced_are_another_request() -> None:
    async with serving(echo) as site:
        told = await site.say(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nabcdef\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 400" in told


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (HttpError(HTTPStatus.GONE, "gone é\r\nX: y"), 410),
        (Refused("restricted", "no"), 403),
        (Refused("auth-required", "who"), 401),
        (Unavailable("later"), 503),
        (RuntimeError("a bug"), 500),
    ],
)
async def test_errors_become_answers(error: Exception, status: int) -> None:
    async def fail(request: Request) -> Reply:
        raise error

    async with serving(fail) as site:
        told = await site.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = told.partition(b"\r\n\r\n")
    assert told.startswith(f"HTTP/1.1 {status}".encode())
    assert b"\nX: y" not in head
    assert b"a bug" not in body
    assert len(site.errors) == (status != 500)


async def test_a_body_that_nobody_wants_ends_the_connection() -> None:
    async def refusing(request: Request) -> Reply:
        return text(HTTPStatus.FORBIDDEN, "no")

    async with serving(refusing) as site:
        small = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        assert (await site.say(small * 2)).count(b"403") == 2
        large = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + b"a" * 300_000
        async with site.open() as (reader, writer):
            writer.write(large + small)
            assert (await until_the_end(reader)).count(b"403") == 1


async def test_a_stream_that_fails_is_cut_off() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise Unavailable("the disk is gone")

    async def handler(request: Request) -> Reply:
        return Reply(HTTPStatus.OK, (), broken())

    async with serving(handler) as site, site.open() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"half" in await reader.readuntil(b"half")
        assert not (await until_the_end(reader)).endswith(b"0\r\n\r\n")


async def test_a_client_that_does_not_read_is_let_go_and_costs_no_memory() -> None:
    sent = 0
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        try:
            while True:
                yield bytes(MIB)
                sent += 1
        finally:
            closed.set()

    async def handler(request: Request) -> Reply:
        return Reply(HTTPStatus.OK, (), endless())

    async with serving(handler, write_timeout_s=1) as site, site.open() as (_, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await closed.wait()
        assert sent < 32  # what both systems' buffers hold


async def test_a_client_that_says_nothing_is_let_go() -> None:
    async with serving(echo, handshake_timeout_s=1) as site, site.open() as (reader, writer):
        writer.write(b"GET / HT")
        assert await until_the_end(reader) == b""


async def test_where_there_is_no_place_the_reason_is_told() -> None:
    async with serving(echo, verdict=refuse("restricted", "all 2 connections are in use")) as site:
        told = await site.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 503")
    assert b"all 2 connections are in use" in told


async def test_a_port_that_is_taken_is_told() -> None:
    async with serving(echo) as site:
        host, _, port = site.server.address.rpartition(":")
        second = EdgeServer(
            echo, host=host, port=int(port), limits=LimitsSection, admit=lambda remote: ACCEPTED
        )
        with pytest.raises(Fatal, match="another program"):
            await second.start()


async def test_stopping_does_not_wait_for_clients() -> None:
    async with serving(echo) as site, site.open() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        assert site.server.connections == 1
        await site.server.stop()
        assert not site.server.connections


@pytest.mark.parametrize(
    "before",
    [b"GET / HTTP/1.1\r\nHost: x\r\nA: ", b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 200\r\n\r\n"],
    ids=["head", "body"],
)
async def test_a_byte_now_and_then_keeps_no_connection(before: bytes) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(before)
        for _ in range(200):
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.write(b"\r\nConnection: close\r\n\r\n")
        writer.write_eof()

    async with (
        serving(echo, handshake_timeout_s=1, write_timeout_s=1) as site,
        site.open() as (reader, writer),
    ):
        dripping = asyncio.ensure_future(drip(writer))
        assert await until_the_end(reader) == b""
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)


def test_bytes_earn_patience_with_a_body_and_never_more_than_it_began_with() -> None:
    patience = Patience(10.0, 1 / MIN_BODY_BPS)
    for _ in range(100):
        patience.took(9.0, 9 * MIN_BODY_BPS)
        assert patience.left == 10.0
    patience.took(9.0, 0)
    patience.took(0.0, 500)
    assert patience.left == 1.5
    head = Patience(10.0)
    head.took(11.0, 1_000_000)
    assert head.left == 0.0


async def test_one_address_has_so_many_connections_and_this_machine_any_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hello = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    async with serving(echo, max_connections_per_ip=1) as site, site.open() as (reader, writer):
        writer.write(hello)
        await reader.readuntil(b"\r\n\r\n")
        assert (await site.say(hello)).startswith(b"HTTP/1.1 200")
        monkeypatch.setattr("meshconsole.edge.server.network_of", lambda address: ("192.0.2.7", False))
        async with site.open() as (first, asking):
            asking.write(hello)
            await first.readuntil(b"\r\n\r\n")
            assert (await site.say(hello)).startswith(b"HTTP/1.1 429")
            assert [error.status for error in site.errors] == [429]
            asking.write_eof()
            await first.read()
        while site.server.connections > 1:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        assert (await site.say(hello)).startswith(b"HTTP/1.1 200")
