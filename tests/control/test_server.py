"""The served socket: who may come, what happens to those who misbehave, and to the others meanwhile."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from meshconsole.control import server as server_module
from meshconsole.control.audit import AuditTail
from meshconsole.control.client import ControlClient
from meshconsole.control.files import GetBlob
from meshconsole.control.frames import HEADER, pack, pack_command, read_server_frame
from meshconsole.control.messages import (
    PROTOCOL,
    Answer,
    Bye,
    EventsPush,
    GetStatus,
    Hello,
    LinesData,
    Notice,
    NoticesPush,
    Progress,
    Request,
    ServerFrame,
    StatusData,
    StatusPush,
    Subscribe,
    Welcome,
)
from meshconsole.control.notes import SendNote
from meshconsole.control.rights import Peer
from meshconsole.control.server import MAX_CLIENTS, MAX_RUNNING, ControlServer
from meshconsole.core.errors import Fatal, Refused, Unavailable
from tests.control.handler import Handler, an_event

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("error")


class RawClient:
    """Speaks the bytes itself, so that it can misspeak."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, path: Path) -> RawClient:
        return cls(*await asyncio.open_unix_connection(str(path)))

    async def hello(self) -> ServerFrame:
        return await self.say(pack(Hello(PROTOCOL, "0.1.0")))

    async def say(self, data: bytes) -> ServerFrame:
        self.writer.write(data)
        return await self.frame()

    async def frame(self) -> ServerFrame:
        length = int.from_bytes(await self.reader.readexactly(HEADER), "big")
        return read_server_frame(await self.reader.readexactly(length))

    async def ended(self) -> bool:
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True
        finally:
            self.writer.close()


def request(number: int, text: str) -> bytes:
    return pack(Request(number, pack_command(SendNote(text))))


async def test_the_socket_is_the_owners_alone(server: ControlServer) -> None:
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600


async def test_commands_are_answered(server: ControlServer, handler: Handler) -> None:
    client = ControlClient(server.path)
    assert (await client.connect()).pid == os.getpid()
    reply = await client.call(GetStatus())
    assert isinstance(reply.data, StatusData)
    assert reply.data.status.name == "falcon-3"
    assert (await client.call(SendNote("hello"))).verdict.sentence == "Done."
    assert handler.commands == [SendNote("hello")]
    await client.close()


async def test_progress_comes_before_the_answer(server: ControlServer) -> None:
    client = ControlClient(server.path)
    await client.connect()
    steps: list[Progress] = []
    reply = await client.call(GetBlob("cid", "/tmp/x"), progress=steps.append)
    assert reply.accepted
    assert [(step.have, step.total, step.words) for step in steps] == [(1, 4, ""), (2, None, "from hawk")]
    await client.close()


async def test_refusals_and_faults_are_replies(
    server: ControlServer, handler: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    client = ControlClient(server.path)
    await client.connect()
    refused = await client.call(SendNote("refuse"))
    assert (refused.verdict.code, refused.verdict.sentence) == ("restricted", "The quota is full.")
    assert refused.hint == "Delete something."
    broken = await client.call(SendNote("break"))
    assert not broken.accepted
    assert "secret words" not in broken.verdict.sentence
    assert "secret words" in caplog.text
    handler.locked = True
    locked = await client.call(GetStatus())
    assert locked.verdict.code == "auth-required"
    with pytest.raises(Refused, match="locked"):
        locked.or_raise()
    await client.close()


async def test_a_command_that_does_not_fit_costs_an_answer_not_the_link(server: ControlServer) -> None:
    client = await RawClient.connect(server.path)
    assert isinstance(await client.hello(), Welcome)
    bad = await client.say(pack(Request(5, pack_command(Subscribe(fps=99)))))
    assert isinstance(bad, Answer)
    assert (bad.id, bad.reply.verdict.code) == (5, "invalid")
    good = await client.say(request(6, "hi"))
    assert isinstance(good, Answer)
    assert good.reply.accepted
    client.writer.close()


@pytest.mark.parametrize(
    "bytes_",
    [
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x03\xc1\xc1\xc1",
        b"\x00\x00\x00\x00",
        pack(Hello(PROTOCOL, "0.1.0")),
        request(1, "wait") + request(1, "wait"),
    ],
    ids=["too long", "no msgpack", "empty", "hello twice", "same id twice"],
)
async def test_who_breaks_the_protocol_is_told_and_closed(
    server: ControlServer, handler: Handler, bytes_: bytes
) -> None:
    client = await RawClient.connect(server.path)
    await client.hello()
    assert isinstance(await client.say(bytes_), Bye)
    assert await client.ended()


async def test_who_does_not_say_hello_is_told_and_closed(server: ControlServer) -> None:
    client = await RawClient.connect(server.path)
    assert isinstance(await client.say(request(1, "hi")), Bye)
    assert await client.ended()


async def test_another_version_is_named(server: ControlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = await RawClient.connect(server.path)
    assert isinstance(await raw.say(pack(Hello(PROTOCOL + 1, "9.9"))), Welcome)
    assert await raw.ended()
    monkeypatch.setattr(server_module, "PROTOCOL", PROTOCOL + 1)
    monkeypatch.setattr(server_module, "__version__", "9.9")
    with pytest.raises(Fatal, match=rf"meshconsole 9\.9 \(control protocol {PROTOCOL + 1}\)"):
        await ControlClient(server.path).connect()


async def test_another_user_is_refused(server: ControlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "peer_of", lambda _: Peer(4242, frozenset()))
    with pytest.raises((Fatal, Unavailable), match=r"another user|went away"):
        await ControlClient(server.path).connect()
    assert server.clients == 0


async def test_pushes_follow_a_subscription(server: ControlServer) -> None:
    client = ControlClient(server.path)
    await client.connect()
    await client.call(Subscribe(fps=10))
    pushes = client.pushes()
    assert isinstance(await anext(pushes), StatusPush)
    server.events_happened([an_event(1), an_event(2)])
    assert await anext(pushes) == EventsPush((an_event(1), an_event(2)), 0)
    server.notice(Notice(1.0, "warning", "The disk is nearly full."))
    assert isinstance(await anext(pushes), NoticesPush)
    await client.close()


async def test_a_change_of_status_reaches_everybody(server: ControlServer, handler: Handler) -> None:
    clients = [ControlClient(server.path) for _ in range(8)]
    for client in clients:
        await client.connect()
        await client.call(Subscribe(fps=10))
    streams = [client.pushes() for client in clients]
    for stream in streams:
        await anext(stream)
    handler.name = "kestrel"
    server.status_changed()
    for stream in streams:
        push = await anext(stream)
        assert isinstance(push, StatusPush)
        assert push.status.name == "kestrel"
    for client in clients:
        await client.close()


async def test_a_client_that_stops_reading_disturbs_nobody(server: ControlServer) -> None:
    lazy = await RawClient.connect(server.path)
    await lazy.hello()
    reading = lazy.writer.transport
    assert isinstance(reading, asyncio.Transport)
    reading.pause_reading()
    lazy.writer.write(pack(Request(0, pack_command(Subscribe(fps=10)))))
    for number in range(1, 11):
        lazy.writer.write(pack(Request(number, pack_command(AuditTail(limit=1000)))))
    busy = ControlClient(server.path)
    await busy.connect()
    await busy.call(Subscribe(fps=10))
    seen = 0
    pushes = busy.pushes()
    for seq in range(5):
        server.events_happened([an_event(seq, "x" * 60_000)] * 100)
        while seen < (seq + 1) * 100:
            push = await anext(pushes)
            if isinstance(push, EventsPush):
                seen += len(push.events) + push.dropped
    assert (await busy.call(SendNote("still here"))).accepted
    await busy.close()
    lazy.writer.transport.abort()


async def test_too_many_requests_at_once_are_refused(server: ControlServer, handler: Handler) -> None:
    client = await RawClient.connect(server.path)
    await client.hello()
    for number in range(MAX_RUNNING):
        client.writer.write(request(number, "wait"))
    answer = await client.say(request(99, "one more"))
    assert isinstance(answer, Answer)
    assert (answer.id, answer.reply.verdict.code) == (99, "rate-limited")
    client.writer.close()
    await handler.cancelled.wait()


async def test_too_many_clients_are_refused(server: ControlServer) -> None:
    clients = [ControlClient(server.path) for _ in range(MAX_CLIENTS)]
    for client in clients:
        await client.connect()
    with pytest.raises((Fatal, Unavailable)):
        await ControlClient(server.path).connect()
    for client in clients:
        assert (await client.call(SendNote("hi"))).accepted
        await client.close()


async def test_a_cancelled_call_cancels_the_command(server: ControlServer, handler: Handler) -> None:
    client = ControlClient(server.path)
    await client.connect()
    waiting = asyncio.ensure_future(client.call(SendNote("wait")))
    await handler.waiting.wait()
    waiting.cancel()
    await handler.cancelled.wait()
    assert (await client.call(SendNote("hi"))).accepted
    await client.close()


async def test_commands_of_a_client_that_left_are_cancelled(server: ControlServer, handler: Handler) -> None:
    client = await RawClient.connect(server.path)
    await client.hello()
    client.writer.write(request(1, "wait"))
    await handler.waiting.wait()
    client.writer.transport.abort()
    await handler.cancelled.wait()


async def test_stopping_says_goodbye_and_takes_the_socket_away(
    server: ControlServer, handler: Handler
) -> None:
    client = ControlClient(server.path)
    await client.connect()
    waiting = asyncio.ensure_future(client.call(SendNote("wait")))
    await handler.waiting.wait()
    await server.stop("The node restarts.")
    with pytest.raises(Unavailable, match="restarts"):
        await waiting
    with pytest.raises(Unavailable, match="restarts"):
        await anext(client.pushes())
    with pytest.raises(Unavailable, match="restarts"):
        await client.call(GetStatus())
    await client.close()
    assert not server.path.exists()


@pytest.mark.parametrize("turns", range(6))
async def test_who_comes_while_the_node_stops_is_told_or_reset(server: ControlServer, turns: int) -> None:
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(server.path))
        for _ in range(turns):  # the connection is somewhere between the backlog and its handler
            await asyncio.sleep(0)
        await server.stop("The node restarts.")
        try:
            said = client.recv(200)
        except ConnectionResetError:
            said = b"restarts"
    assert b"restarts" in said
    assert faults == []


async def test_stop_does_not_take_away_the_socket_of_a_successor(server: ControlServer) -> None:
    server.path.unlink()
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(str(server.path))
        await server.stop()
        assert server.path.exists()


async def test_a_second_node_is_refused_and_a_dead_ones_socket_replaced(
    server: ControlServer, handler: Handler, tmp_path: Path
) -> None:
    clock = asyncio.get_running_loop().time
    with pytest.raises(Fatal, match="already runs"):
        await ControlServer(server.path, handler, clock).start()
    stale = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(stale))
    second = ControlServer(stale, handler, clock)
    await second.start()
    await second.stop()


async def test_what_is_no_socket_stays(handler: Handler, tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("precious")
    with pytest.raises(Fatal, match="not a socket"):
        await ControlServer(path, handler, asyncio.get_running_loop().time).start()
    assert path.read_text() == "precious"
    with pytest.raises(Fatal, match="cannot be opened"):
        await ControlServer(tmp_path / "no" / "c.sock", handler, asyncio.get_running_loop().time).start()


async def test_a_deep_home_is_served(handler: Handler, tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    server = ControlServer(folder / "control.sock", handler, asyncio.get_running_loop().time)
    await server.start()
    client = ControlClient(server.path)
    await client.connect()
    payload = (await client.call(AuditTail(limit=2000))).data
    assert isinstance(payload, LinesData)
    assert len(payload.lines) == 2000
    await client.close()
    await server.stop()
    assert not server.path.exists()
