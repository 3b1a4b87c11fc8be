"""Both clients against a node, no node, and things that are not one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from meshconsole.control.blocking import call, no_node, stream
from meshconsole.control.client import ControlClient
from meshconsole.control.files import GetBlob
from meshconsole.control.frames import pack
from meshconsole.control.messages import (
    PROTOCOL,
    Bye,
    EventsPush,
    GetStatus,
    Progress,
    Push,
    StatusPush,
    Subscribe,
    Welcome,
)
from meshconsole.control.notes import SendNote
from meshconsole.core.errors import Fatal, LocalError, MeshconsoleError, Unavailable
from tests.control.handler import Handler, an_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from meshconsole.control.server import ControlServer


def answering(path: Path, *answers: bytes) -> threading.Thread:
    """A server that says fixed bytes to its first client, then hangs up."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        with listener, listener.accept()[0] as connection, contextlib.suppress(OSError):
            connection.recv(1 << 16)
            for answer in answers:
                connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1 << 16)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


WELCOME = pack(Welcome(PROTOCOL, "0.1.0", 1))

NOT_A_NODE: list[tuple[bytes, type[MeshconsoleError], str]] = [
    (b"", Unavailable, "went away"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", Fatal, "does not understand"),
    (pack(Bye("This node belongs to another user.")), Fatal, "another user"),
    (pack(Welcome(9, "9.9", 1)), Fatal, "control protocol 9"),
    (pack(EventsPush((), 0)), Fatal, "not a meshconsole node"),
]


@pytest.mark.parametrize(("answer", "error", "words"), NOT_A_NODE)
def test_what_is_not_our_node_is_named(
    tmp_path: Path, answer: bytes, error: type[MeshconsoleError], words: str
) -> None:
    thread = answering(tmp_path / "s", answer)
    with pytest.raises(error, match=words):
        call(tmp_path / "s", GetStatus())
    thread.join()


@pytest.mark.parametrize(("answer", "error", "words"), NOT_A_NODE)
async def test_what_is_not_our_node_is_named_to_the_console(
    tmp_path: Path, answer: bytes, error: type[MeshconsoleError], words: str
) -> None:
    thread = answering(tmp_path / "s", answer)
    with pytest.raises(error, match=words):
        await ControlClient(tmp_path / "s").connect()
    await asyncio.to_thread(thread.join)


async def test_no_node_and_a_dead_nodes_socket_read_the_same(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "stale"))
    for name in ("absent", "stale", "no-home/control.sock"):
        with pytest.raises(Unavailable, match="No node runs in this home"):
            call(tmp_path / name, GetStatus())
        with pytest.raises(Unavailable, match="No node runs in this home"):
            await ControlClient(tmp_path / name).connect()


def test_a_socket_of_another_user_is_named() -> None:
    assert "another user" in str(no_node(PermissionError(13, "Permission denied")))
    assert "Too many open files" in str(no_node(OSError(24, "Too many open files")))


async def test_the_blocking_call_reports_progress(server: ControlServer) -> None:
    steps: list[Progress] = []
    reply = await asyncio.to_thread(call, server.path, GetBlob("c", "/tmp/x"), progress=steps.append)
    assert reply.accepted
    assert [step.have for step in steps] == [1, 2]


async def test_a_silent_node_is_given_up(server: ControlServer, handler: Handler) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        await asyncio.to_thread(call, server.path, SendNote("wait"), timeout_s=0.01)
    await handler.cancelled.wait()


async def test_the_stream_ends_with_the_nodes_last_words(server: ControlServer) -> None:
    first = asyncio.Event()
    loop = asyncio.get_running_loop()
    seen: list[object] = []

    def follow() -> None:
        for push in stream(server.path, Subscribe(fps=10)):
            seen.append(type(push))
            loop.call_soon_threadsafe(first.set)

    following = asyncio.ensure_future(asyncio.to_thread(follow))
    await first.wait()
    await server.stop("Going down.")
    with pytest.raises(Unavailable, match="Going down"):
        await following
    assert seen[0] is StatusPush


async def test_a_call_before_connecting_is_our_bug(tmp_path: Path) -> None:
    with pytest.raises(LocalError):
        await ControlClient(tmp_path / "s").call(GetStatus())


async def test_garbage_after_the_welcome_loses_the_node_with_a_reason(tmp_path: Path) -> None:
    thread = answering(tmp_path / "s", WELCOME, b"\x00\x00\x00\x01\xc1")
    client = ControlClient(tmp_path / "s")
    await client.connect()
    with pytest.raises(Fatal, match="does not understand"):
        await anext(client.pushes())
    await client.close()
    await asyncio.to_thread(thread.join)


async def test_pushes_nobody_takes_are_bounded_and_their_events_counted(tmp_path: Path) -> None:
    frames = b"".join(pack(EventsPush((an_event(seq),), 0)) for seq in range(100))
    thread = answering(tmp_path / "s", WELCOME, frames)
    client = ControlClient(tmp_path / "s")
    await client.connect()
    with contextlib.suppress(Unavailable):
        await client.call(SendNote("hang up"))
    pushes = [push async for push in _until_lost(client)]
    assert all(isinstance(push, EventsPush) for push in pushes)
    assert len(pushes) == 64
    first = pushes[0]
    assert isinstance(first, EventsPush)
    assert first.dropped == 36
    assert first.events[0].seq == 36
    await client.close()
    await asyncio.to_thread(thread.join)


async def _until_lost(client: ControlClient) -> AsyncIterator[Push]:
    with contextlib.suppress(Unavailable):
        async for push in client.pushes():
            yield push
