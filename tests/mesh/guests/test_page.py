"""The guests' page: to whom it is given, what it may do, and what its WebSocket puts up with."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from meshconsole.mesh.guests import page as pages
from tests.mesh.guests.visitor import opened, place, visitor


async def get(link: str, path: str, host: str = "") -> tuple[int, dict[str, str], bytes]:
    address = link.partition("//")[2].partition("/")[0]
    reader, writer = await asyncio.open_connection(*address.split(":"))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host or address}\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status.split()[1]), headers, body


async def test_the_page_comes_with_all_that_it_needs_and_may_load_nothing_else() -> None:
    async with place() as here:
        link = await opened(here)
        status, headers, body = await get(link, "/")
        policy = headers["content-security-policy"]
        assert status == 200
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        named = re.findall(rb'(?:src|href)="([^"]*)"', body)
        named += re.findall(rb'from "\.([^"]*)"', (await get(link, "/guest.js"))[2])
        assert {name.decode() for name in named} == set(pages.FILES) - {"/"}
        for path, (_, media_type) in pages.FILES.items():
            status, headers, body = await get(link, path)
            assert (status, headers["content-type"]) == (200, media_type)
            assert b"://" not in body.replace(b"ws://${location.host}/", b""), "nothing from elsewhere"


async def test_it_is_given_to_whoever_names_loopback_only() -> None:
    async with place() as here:
        link = await opened(here)
        for host in (
            "evil.example",
            "127.0.0.1.evil.example:80",
            "127.0.0.1:80;x",
            "192.0.2.7",
            "LOCALHOST.x",
        ):
            assert (await get(link, "/", host))[0] == 403, host
        for host in ("127.0.0.1", "localhost:9000", "[::1]:7"):
            assert (await get(link, "/", host))[0] == 200, host
        assert (await get(link, "/../port.py"))[0] == 404
        assert (await get(link, "/page/index.html"))[0] == 404


async def test_another_page_s_script_is_not_heard() -> None:
    async with place() as here:
        host = (await opened(here)).partition("//")[2].partition("/")[0]
        for origin in (Origin("http://evil.example"), Origin("null"), None):
            with pytest.raises(InvalidStatus, match="403"):
                await connect(f"ws://{host}/signals", origin=origin, compression=None, proxy=None)


@pytest.mark.parametrize(
    "message",
    ["", "[]", "{}", '{"type":"offer","sdp":"v=0"}', '{"type":"ask","login":{}}', "[" * 9000, "\x00"],
)
async def test_what_is_no_question_is_answered_and_ends_it(message: str) -> None:
    async with place() as here, visitor(await opened(here)) as anna:
        await anna.listen()
        await anna.socket.send(message)
        assert (await anna.listen())["type"] == "over"
        assert not here.guests.status()


async def test_a_login_for_another_challenge_or_another_relay_is_none() -> None:
    async with place() as here:
        link = await opened(here)
        token = link.partition("#")[2]
        for url, challenge in (("", "0" * 32), ("ws://evil.example/", "")):
            async with visitor(link) as anna:
                hello = await anna.listen()
                anna.url = url or anna.url
                login = anna.login(challenge or hello["challenge"])
                await anna.say(type="ask", login=login, token=token, name="anna")
                assert (await anna.listen())["type"] == "over"
        async with visitor(link) as anna:
            assert (await anna.ask(token))["type"] == "wait"


async def test_a_page_that_goes_while_it_waits_leaves_its_link_behind() -> None:
    async with place() as here:
        link = await opened(here)
        for _ in range(3):
            async with visitor(link) as anna:
                assert (await anna.ask(link.partition("#")[2]))["type"] == "wait"
            async with asyncio.timeout(10):
                while here.guests.status():
                    here.house.something.clear()
                    await here.house.something.wait()


async def test_a_page_that_speaks_while_it_waits_is_sent_away() -> None:
    async with place() as here:
        link = await opened(here)
        async with visitor(link) as anna:
            await anna.ask(link.partition("#")[2])
            await anna.say(type="offer", sdp="v=0")
            assert "before" in (await anna.listen())["reason"]


async def test_pages_are_bounded() -> None:
    async with place() as here:
        link = await opened(here)
        host = link.partition("//")[2].partition("/")[0]
        origin = Origin(f"http://{host}")
        held = [
            await connect(f"ws://{host}/signals", origin=origin, compression=None, proxy=None)
            for _ in range(pages.MAX_PAGES)
        ]
        for one in held:
            assert json.loads(await one.recv())["type"] == "hello"
        with pytest.raises(InvalidStatus, match="503"):
            await connect(f"ws://{host}/signals", origin=origin, compression=None, proxy=None)
        for one in held:
            await one.close()


async def test_a_flood_of_connections_takes_a_bounded_number_of_places() -> None:
    async with place() as here:
        link = await opened(here)
        host, port = link.partition("//")[2].partition("/")[0].split(":")
        held = [await asyncio.open_connection(host, int(port)) for _ in range(pages.MAX_SOCKETS)]
        assert here.guests._page is not None
        while len(here.guests._page._sockets) < pages.MAX_SOCKETS:  # noqa: ASYNC110 - nothing else happens
            await asyncio.sleep(0)
        for _ in range(100):
            reader, writer = await asyncio.open_connection(host, int(port))
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
        assert len(here.guests._page._sockets) == pages.MAX_SOCKETS
        for _, writer in held:
            writer.close()
        while here.guests._page._sockets:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        assert (await get(link, "/"))[0] == 200


async def test_the_page_is_served_while_somebody_may_need_it() -> None:
    async with place() as here:
        link = await opened(here)
        assert (await get(link, "/"))[0] == 200
        here.clock.now += 601
        await here.guests.tend()
        assert here.guests._is_over
        await opened(here)
        assert not here.guests._is_over
