"""STUN and TURN servers: who answers is used, who does not is left out, rubbish is no answer."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.mesh import ice
from meshconsole.mesh.ice import IceServers
from meshconsole.mesh.links.description import IceServer
from meshconsole.mesh.links.stun import binding_request, read_binding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TRANSACTION = b"transaction!"


def answer(transaction: bytes, host: bytes = bytes([192, 0, 2, 7]), port: int = 5000) -> bytes:
    mask = struct.pack("!I", 0x2112A442) + transaction
    body = struct.pack("!BBH", 0, 1 if len(host) == 4 else 2, port ^ 0x2112)
    body += bytes(a ^ b for a, b in zip(host, mask, strict=False))
    software = struct.pack("!HH", 0x8022, 3) + b"abc\0"
    mapped = struct.pack("!HH", 0x0020, len(body)) + body
    return struct.pack("!HHI12s", 0x0101, len(software + mapped), 0x2112A442, transaction) + software + mapped


def test_what_the_server_sees_is_read() -> None:
    assert read_binding(answer(TRANSACTION), TRANSACTION) == "192.0.2.7:5000"
    six = bytes.fromhex("20010db8000000000000000000000007")
    assert read_binding(answer(TRANSACTION, six), TRANSACTION) == "[2001:db8::7]:5000"


def test_a_server_that_only_says_it_lives() -> None:
    error = struct.pack("!HHI12s", 0x0111, 0, 0x2112A442, TRANSACTION)
    assert read_binding(error, TRANSACTION) == ""


def test_the_answer_to_another_question_is_none() -> None:
    assert read_binding(answer(b"another one!"), TRANSACTION) is None
    assert read_binding(binding_request(TRANSACTION), TRANSACTION) is None


@given(st.binary(max_size=200))
def test_rubbish_is_no_answer(rubbish: bytes) -> None:
    assert read_binding(rubbish, TRANSACTION) is None


@given(st.data())
def test_a_changed_answer_breaks_nothing(data: st.DataObject) -> None:
    changed = bytearray(answer(TRANSACTION))
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    read_binding(bytes(changed[: data.draw(st.integers(0, len(changed)))]), TRANSACTION)


class Udp(asyncio.DatagramProtocol):
    """A STUN server; one that is rude answers rubbish first."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(b"rubbish", addr)
        self.transport.sendto(answer(data[8:20]), addr)


@pytest.fixture
async def udp_server() -> AsyncIterator[int]:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Udp, local_addr=("127.0.0.1", 0))
    yield transport.get_extra_info("sockname")[1]
    transport.close()


async def ask(servers: IceServers) -> None:
    async with asyncio.timeout(10):
        async with asyncio.TaskGroup() as group:
            for server in servers.servers:
                group.create_task(servers._ask(server))


def make(*urls: str) -> IceServers:
    return IceServers([IceServer(url, "u", "p") for url in urls], may_ask=lambda: True, now=lambda: 0.0)


async def test_only_servers_that_answer_are_used(udp_server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice, "ANSWER_S", 0.05)
    silent, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
    )
    dead = silent.get_extra_info("sockname")[1]
    servers = make(f"stun:127.0.0.1:{dead}", f"stun:localhost:{udp_server}", "turn:127.0.0.1:1?transport=tcp")
    assert servers.live() == ()
    await ask(servers)
    assert servers.live() == (IceServer(f"stun:127.0.0.1:{udp_server}", "u", "p"),)
    assert servers.lines() == (
        f"stun 127.0.0.1:{dead}: does not answer",
        f"stun localhost:{udp_server}: answers in 0 ms, sees this node as 192.0.2.7:5000",
        "turn 127.0.0.1:1/tcp: cannot be reached: connection refused",
    )
    silent.close()


async def test_a_turn_server_over_tcp_is_asked_over_tcp() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readexactly(20)
        writer.write(answer(request[8:20]))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        servers = make(f"turn:127.0.0.1:{port}?transport=tcp")
        await ask(servers)
        assert servers.live() == (IceServer(f"turn:127.0.0.1:{port}?transport=tcp", "u", "p"),)


async def test_what_is_no_tcp_server_of_that_kind_is_left_out() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\nwhatever that is")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        servers = make(f"turn:127.0.0.1:{port}?transport=tcp")
        await ask(servers)
        assert servers.live() == ()


async def test_who_needs_them_right_after_the_start_waits_for_their_first_answer(
    udp_server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = make(f"stun:127.0.0.1:{udp_server}")
    needed = asyncio.create_task(servers.soon_live())
    await asyncio.sleep(0)
    await servers.ask()
    assert len(await needed) == 1
    dead = make("stun:127.0.0.1:1")
    monkeypatch.setattr(ice, "ANSWER_S", 0)
    assert await dead.soon_live() == (), "but not long"


async def test_nobody_is_asked_in_silence(udp_server: int) -> None:
    servers = IceServers([IceServer(f"stun:127.0.0.1:{udp_server}")], may_ask=lambda: False, now=lambda: 0.0)
    running = asyncio.create_task(servers.run())
    for _ in range(10):
        await asyncio.sleep(0)
    assert servers.servers[0].trouble == "not asked yet"
    running.cancel()
    await asyncio.wait([running])


@pytest.mark.parametrize("url", ["", "http://x", "stun:", "stun:host:port", "turn", ":1"])
def test_what_is_no_server_is_left_out(url: str) -> None:
    assert make(url).servers == ()
