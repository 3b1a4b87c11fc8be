"""The console for a browser: who is let in, and a whole console behind a WebSocket."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING

import aiohttp
import pytest

from meshconsole.cli.main import main
from meshconsole.console.web.gate import COOKIE, Gate
from meshconsole.console.web.server import MOST_CELLS, MOST_CONSOLES, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PROGRAM = (sys.executable, "-m", "tests.console.on_a_terminal", "busy", '{"in_browser": true}')
OBEYS = (sys.executable, "-c", "import sys; sys.stdin.buffer.read(1)")
"""Leaves as soon as it is told anything."""
HANGS = (
    sys.executable,
    "-c",
    "import os, sys, time; pid = str(os.getpid()).encode(); out = sys.stdout.buffer;"
    "out.write(b'__GANGLION__\\nD' + len(pid).to_bytes(4, 'big') + pid); out.flush(); time.sleep(600)",
)
"""Tells its number to the page, and nothing else ever."""
NONE = (sys.executable, "-c", "print('no console')")


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """Without cookies of its own, so that each request has just those that it names."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


async def entered(client: aiohttp.ClientSession, gate: Gate) -> dict[str, str]:
    """The headers of a page that was let in."""
    async with client.get(gate.address) as response:
        assert response.status == 200
        cookie = response.cookies[COOKIE]
    assert cookie["path"] == gate.path
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    host = gate.hosts[0]
    return {"Cookie": f"{COOKIE}={cookie.value}", "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}


def test_a_token_is_taken_once() -> None:
    gate = Gate(7480)
    other = Gate(7480)
    assert len({gate.token, other.token, gate.path, other.path}) == 4
    token = gate.token
    assert gate.exchange(other.token) == gate.exchange("") == gate.exchange("\udcff\x00é") == ""
    secret = gate.exchange(token)
    assert gate.exchange(token) == gate.exchange("") == ""
    assert gate.knows(secret)
    assert not gate.knows("")
    assert not gate.knows(token)
    assert not other.knows(secret)


@pytest.mark.parametrize(
    ("host", "fits"),
    [
        ("127.0.0.1:7480", True),
        ("LocalHost:7480", True),
        ("127.0.0.1", False),
        ("127.0.0.1:80", False),
        ("evil.example:7480", False),
        ("127.0.0.1:7480.evil.example", False),
        ("", False),
    ],
)
def test_only_its_own_address_is_answered(host: str, fits: bool) -> None:
    assert Gate(7480).host_fits(host) is fits


def test_pages_of_other_sites_ask_in_vain() -> None:
    gate, host = Gate(7480), "127.0.0.1:7480"
    for origin, site, fits in (
        ("", "", True),
        ("", "none", True),
        (f"http://{host}", "same-origin", True),
        ("", "cross-site", False),
        ("", "same-site", False),
        ("http://127.0.0.1:8000", "", False),
        ("null", "", False),
    ):
        assert gate.comes_from_here(host, origin, site) is fits, (origin, site)
    assert gate.may_open_socket(host, f"http://{host}")
    for origin in ("", "null", "http://127.0.0.1:8000", f"https://{host}", "http://localhost:7480"):
        assert not gate.may_open_socket(host, origin)


async def test_without_the_token_nothing_is_shown(client: aiohttp.ClientSession) -> None:
    async with opened(NONE, port=0) as gate:
        root = f"http://{gate.hosts[0]}"
        asked = [
            ("/", {}),
            ("/?token=wrong", {}),
            (gate.path, {}),
            (f"{gate.path}static/js/textual.js", {}),
            (f"{gate.path}ws", {"Origin": root}),
            ("/favicon.ico", {}),
            (gate.path, {"Cookie": f"{COOKIE}={gate.token}"}),
            (f"/?token={gate.token}", {"Host": "evil.example"}),
            (f"/?token={gate.token}", {"Origin": "http://evil.example"}),
            (f"/?token={gate.token}", {"Sec-Fetch-Site": "cross-site"}),
        ]
        for path, headers in asked:
            async with client.get(root + path, headers=headers) as response:
                assert response.status == 403, (path, headers)
                assert "Content-Security-Policy" in response.headers
                assert "Set-Cookie" not in response.headers
        headers = await entered(client, gate)
        async with client.get(root + gate.path, headers=headers) as response:
            page = await response.text()
            assert response.status == 200
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
            assert f"ws://{gate.hosts[0]}{gate.path}ws" in page
            assert "http://" not in page
        for path in ("page.css", "page.js", "static/js/textual.js", "static/css/xterm.css"):
            async with client.get(root + gate.path + path, headers=headers) as response:
                assert response.status == 200
        for path in ("static/", "static/../server.py", "static/%2e%2e/server.py", "server.py"):
            async with client.get(root + gate.path + path, headers=headers) as response:
                assert response.status in (403, 404), path
        for origin in ("http://evil.example", ""):
            async with client.get(f"{root}{gate.path}ws", headers={**headers, "Origin": origin}) as response:
                assert response.status == 403


async def test_a_console_that_does_not_come_up_closes_its_page(client: aiohttp.ClientSession) -> None:
    async with opened(NONE, port=0) as gate:
        headers = await entered(client, gate)
        async with client.ws_connect(f"ws://{gate.hosts[0]}{gate.path}ws", headers=headers) as socket:
            assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


NONSENSE = ("{}", "[]", "[3]", '["stdin", 3]', '["resize", {"width": "a"}]', "\x00", "[" * 5000)


async def test_a_page_that_talks_nonsense_is_closed(client: aiohttp.ClientSession) -> None:
    async with opened(OBEYS, port=0) as gate:
        headers = await entered(client, gate)
        for said in NONSENSE:
            async with client.ws_connect(f"ws://{gate.hosts[0]}{gate.path}ws", headers=headers) as socket:
                await socket.send_str(said)
                assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


async def test_only_so_many_at_once(client: aiohttp.ClientSession) -> None:
    async with opened(OBEYS, port=0) as gate:
        headers, address = await entered(client, gate), f"ws://{gate.hosts[0]}{gate.path}ws"
        sockets = [await client.ws_connect(address, headers=headers) for _ in range(MOST_CONSOLES)]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect(address, headers=headers)
        assert refused.value.status == 503
        for socket in sockets:
            await socket.close()


async def test_a_console_that_hangs_is_ended(
    client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshconsole.console.web.server.FAREWELL_S", 0.1)
    async with opened(HANGS, port=0) as gate:
        headers = await entered(client, gate)
        async with client.ws_connect(f"ws://{gate.hosts[0]}{gate.path}ws", headers=headers) as socket:
            pid = int((await socket.receive(30)).data)
            descriptor = os.pidfd_open(pid)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, ended.set)
        await asyncio.wait_for(ended.wait(), 30)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


async def test_a_whole_console(client: aiohttp.ClientSession) -> None:
    async with opened(PROGRAM, port=0) as gate:
        headers = await entered(client, gate)
        address = f"ws://{gate.hosts[0]}{gate.path}ws?width=90&height=30"
        async with client.ws_connect(address, headers=headers) as socket:
            seen = b""

            async def until(text: str) -> None:
                nonlocal seen
                while text.encode() not in seen:
                    message = await socket.receive(30)
                    assert message.type == aiohttp.WSMsgType.BINARY, message
                    seen += message.data

            await until("falcon-2")
            await socket.send_str(json.dumps(["resize", {"width": 10**9, "height": 40}]))
            await socket.send_str(json.dumps(["ping", 7]))
            assert MOST_CELLS < 10**9
            while (message := await socket.receive(30)).type != aiohttp.WSMsgType.TEXT:
                seen += message.data
            assert json.loads(message.data) == ["pong", 7]
            seen = b""
            await socket.send_str(json.dumps(["stdin", "?"]))
            await until("WHAT IT DOES")
            await socket.send_str(json.dumps(["stdin", "q"]))
            await socket.send_str(json.dumps(["stdin", "q"]))
            await until("Keep it running")
            await socket.send_str(json.dumps(["stdin", "k"]))
            while (message := await socket.receive(30)).type == aiohttp.WSMsgType.BINARY:
                pass
            assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


def test_without_the_extra_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "meshconsole.console.web.server", raising=False)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.setitem(sys.modules, "textual_serve", None)
    assert main(["web", "--home", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "pip install 'meshconsole[web]'" in said
    assert "make web" in said


def test_a_port_that_cannot_be_had_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["web", "--home", str(tmp_path), "--port", "99999"]) == 2
    assert main(["web", "--home", str(tmp_path), "--font-size", "0"]) == 2
    assert main(["web", "--home", str(tmp_path)]) == 69
    assert "There is no node" in capsys.readouterr().err
