"""The door on real sockets: NIP-11, routes, admission, start and stop."""

from __future__ import annotations

import asyncio
import json
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import InvalidStatus

from meshconsole.core.errors import Fatal, Unavailable
from meshconsole.core.sections import RelaySection
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse
from meshconsole.relay.lists import Lists, block_ip
from meshconsole.relay.postdesk import Answer
from meshconsole.relay.server import RelayServer
from tests.relay.door import door, hear, http, say
from tests.relay.making import npub

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.asyncio.server import ServerConnection

    from meshconsole.relay.http_auth import HttpRequest


# --- HTTP ------------------------------------------------------------------------------------------


async def test_nip_11() -> None:
    async with door(name="pi four", npub=npub("alice")) as d:
        status, headers, body = await http(d.address, "GET / HTTP/1.1", "Accept: application/nostr+json")
        assert status == "HTTP/1.1 200 OK"
        assert headers["content-type"] == "application/nostr+json"
        assert headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-headers" in headers
        assert "access-control-allow-methods" in headers
        told = json.loads(body)
        assert (told["name"], told["pubkey"]) == ("pi four", npub("alice"))
        assert told["limitation"]["max_subscriptions"] == d.relay.config.max_subscriptions


async def test_nip_11_tells_limits_as_they_are_now() -> None:
    async with door() as d:
        d.relay.apply(RelaySection(max_limit=7))
        _, _, body = await http(d.address, "GET / HTTP/1.1", "Accept: application/nostr+json")
        assert json.loads(body)["limitation"]["max_limit"] == 7


async def test_a_head_is_answered_without_a_body() -> None:
    async with door() as d:
        accept = "Accept: application/nostr+json"
        _, _, document = await http(d.address, "GET / HTTP/1.1", accept)
        status, headers, body = await http(d.address, "HEAD / HTTP/1.1", accept)
        assert status == "HTTP/1.1 200 OK"
        assert int(headers["content-length"]) == len(document)
        assert body == b""


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_other_methods_are_none_of_the_relays(method: str) -> None:
    async with door() as d:
        status, _, _ = await http(d.address, f"{method} / HTTP/1.1", "Content-Length: 0")
        assert status == "HTTP/1.1 405 Method Not Allowed"


async def test_nip_11_tells_when_only_some_kinds_are_taken() -> None:
    async with door() as d:
        d.relay.house.lists = lambda: Lists(allowed_kinds=frozenset({1}))
        _, _, body = await http(d.address, "GET / HTTP/1.1", "Accept: application/nostr+json")
        assert json.loads(body)["limitation"]["restricted_writes"] is True


async def test_browsers_may_ask_first() -> None:
    async with door() as d:
        status, headers, _ = await http(d.address, "OPTIONS / HTTP/1.1", "Origin: https://client.example")
        assert status == "HTTP/1.1 204 No Content"
        assert headers["access-control-allow-origin"] == "*"


async def test_the_first_bytes_may_come_one_by_one() -> None:
    async with door() as d:
        for verb, expected in (("OPTIONS", b"204"), ("POST", b"411")):
            reader, writer = await asyncio.open_connection(*d.address.split(":"))
            for byte in f"{verb} / HTTP/1.1\r\nHost: x\r\n\r\n".encode():
                writer.write(bytes([byte]))
                await writer.drain()
            assert (await reader.readline()).split()[1] == expected
            writer.close()
        async with d.connect() as client:
            await say(client, "REQ", "s", {"kinds": []})
            assert (await hear(client))[0] == "EOSE"


POST = (
    "POST / HTTP/1.1",
    "Content-Type: application/nostr+json+rpc",
)


async def test_where_nothing_is_managed_a_post_is_told_so() -> None:
    async with door() as d:
        status, headers, body = await http(d.address, *POST, "Content-Length: 0")
        assert status == "HTTP/1.1 405 Method Not Allowed"
        assert headers["access-control-allow-origin"] == "*"
        assert "managed" in json.loads(body)["error"]


async def test_a_post_that_could_be_read_in_two_ways_is_refused() -> None:
    async with door(manage=never) as d:
        for lines, expected in (
            (["Content-Length: 1", "Content-Length: 2"], "400"),
            (["Transfer-Encoding: chunked"], "501"),
            (["Content-Length: 0", "Expect: 100-continue"], "417"),
            (["Content-Length: 99999999"], "413"),
            ([], "411"),
        ):
            status, _, body = await http(d.address, *POST, *lines)
            assert status.split()[1] == expected
            assert json.loads(body)["error"]


async def test_a_post_to_another_path_finds_nothing() -> None:
    async with door(manage=never) as d:
        for path in ("/mesh", "/elsewhere?x=y"):
            status, _, _ = await http(d.address, f"POST {path} HTTP/1.1", "Content-Length: 0")
            assert status.split()[1] == "404"


async def never(request: HttpRequest, is_own_url: Callable[[str], bool]) -> Answer:
    raise AssertionError(f"{request} was passed on")


async def test_posts_are_answered_and_the_connection_closed() -> None:
    async def manage(request: HttpRequest, is_own_url: Callable[[str], bool]) -> Answer:
        own = [is_own_url(f"ws://{request.headers['host']}/"), is_own_url("ws://elsewhere.example/")]
        return Answer(HTTPStatus.OK, json.dumps([request.target, request.body.decode(), own]).encode())

    async with door(manage=manage) as d:
        reader, writer = await asyncio.open_connection(*d.address.split(":"))
        head = "\r\n".join([*POST, f"Host: {d.address}", "Content-Length: 4", "", "bo"])
        writer.write(head.encode())
        await writer.drain()
        writer.write(b"dy")
        head_bytes, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        assert head_bytes.startswith(b"HTTP/1.1 200 OK\r\n")
        assert json.loads(body) == ["/", "body", [True, False]]


async def test_a_management_call_that_fails_is_answered_too(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(request: HttpRequest, is_own_url: Callable[[str], bool]) -> Answer:
        raise Unavailable("The database is busy.") if request.target == "/?busy" else ValueError

    async with door(manage=fails) as d:
        busy, _, body = await http(d.address, "POST /?busy HTTP/1.1", "Content-Length: 0")
        assert busy.split()[1] == "503"
        assert json.loads(body)["error"] == "The database is busy."
        broken, _, _ = await http(d.address, *POST, "Content-Length: 0")
        assert broken.split()[1] == "500"
    assert "management call failed" in caplog.text


async def test_a_stop_finishes_the_call_that_was_begun() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: HttpRequest, is_own_url: Callable[[str], bool]) -> Answer:
        begun.set()
        await go_on.wait()
        return Answer(HTTPStatus.OK, b"{}")

    async with door(manage=slow) as d:
        asked = asyncio.create_task(http(d.address, *POST, "Content-Length: 0"))
        await begun.wait()
        stopping = asyncio.create_task(d.server.stop())
        await asyncio.sleep(0)
        assert not stopping.done()
        go_on.set()
        await stopping
        assert (await asked)[0] == "HTTP/1.1 200 OK"


async def test_who_is_blocked_is_let_go_at_once() -> None:
    async with door() as d, d.connect() as client:
        await say(client, "REQ", "s", {"kinds": []})
        assert (await hear(client))[0] == "EOSE"
        d.server.recheck()
        await say(client, "REQ", "s", {"kinds": []})
        assert (await hear(client))[0] == "EOSE", "nobody is blocked yet"
        blocked = block_ip(Lists(), "127.0.0.1")
        d.relay.house.lists = lambda: blocked
        d.server.recheck()
        await client.wait_closed()
        assert client.close_code == 1008


async def test_a_browser_is_told_what_this_is() -> None:
    async with door() as d:
        status, _, body = await http(d.address, "GET / HTTP/1.1", "Accept: text/html")
        assert status.startswith("HTTP/1.1 426")
        assert b"Nostr" in body


# --- routes, admission, start and stop -------------------------------------------------------------


async def test_routes_get_the_raw_connection() -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with door(routes={"/mesh": echo}) as d, d.connect("/mesh?x=1") as client:
        await client.send(b"\x00\xff")
        assert await client.recv() == b"\x00\xff"
        assert d.relay.status().clients == 0
        assert d.server.connections == 1


async def test_admission_is_asked_with_kind_and_address() -> None:
    asked = []

    def admit(kind: str, remote: str) -> Verdict:
        asked.append((kind, remote))
        return refuse("restricted", "no more connections") if kind == "client" else ACCEPTED

    async def hold(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with door(routes={"/mesh": hold}, admit=admit) as d:
        async with d.connect("/mesh"):
            pass
        with pytest.raises(InvalidStatus) as refused:
            await d.connect("/")
        assert refused.value.response.status_code == 503
        assert refused.value.response.body == b"no more connections\n"
        status, _, _ = await http(d.address, "GET / HTTP/1.1", "Accept: application/nostr+json")
        assert "200" in status
    assert asked == [("mesh", "127.0.0.1"), ("client", "127.0.0.1")]


async def test_a_taken_port_is_said_in_words() -> None:
    async with door() as d:
        port = int(d.address.split(":")[1])
        other = RelayServer(d.relay, host="127.0.0.1", port=port)
        with pytest.raises(Fatal, match="another program") as fatal:
            await other.start()
        assert "node.listen" in fatal.value.hint
        await other.stop()


async def test_an_address_that_is_not_ours_is_said_in_words() -> None:
    async with door() as d:
        with pytest.raises(Fatal, match=r"Cannot listen on 192\.0\.2\.1:1"):
            await RelayServer(d.relay, host="192.0.2.1", port=1).start()


async def test_ipv6_addresses_are_bracketed() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    async with door() as d:
        server = RelayServer(d.relay, host="::1", port=0)
        try:
            await server.start()
        except Fatal:
            pytest.skip("this machine has no IPv6 loopback")
        assert server.addresses[0].startswith("[::1]:")
        await server.stop()


async def test_stopping_says_goodbye_to_clients() -> None:
    async with door() as d:
        client = await d.connect()
        await say(client, "REQ", "s", {})
        await hear(client)
        await d.server.stop()
        await client.wait_closed()
        assert client.close_code == 1001
        assert d.relay.status().clients == 0


@pytest.mark.parametrize("path", ["/relay", "/any/path?x", "//", "/mesh/"])
async def test_nip01_there_is_one_endpoint(path: str) -> None:
    async def nobody(connection: ServerConnection) -> None:
        raise AssertionError("never reached")

    async with door(routes={"/mesh": nobody}) as d:
        with pytest.raises(InvalidStatus) as refused:
            await d.connect(path)
        assert refused.value.response.status_code == 404
        status, headers, _ = await http(d.address, f"GET {path} HTTP/1.1", "Accept: application/nostr+json")
        assert "404" in status
        assert headers["access-control-allow-origin"] == "*"


async def test_a_url_that_the_owner_names_may_have_a_path() -> None:
    config = RelaySection(rate_limits=False, urls=("wss://hub.example/team",))
    async with door(config=config) as d, d.connect("/team?x") as client:
        await say(client, "REQ", "s", {})
        assert (await hear(client))[0] == "EOSE"
