"""A file from one content store to another, over a link of each kind; and what a bare data channel carries.

Each end is a process of its own, ours and bare alike. What is counted runs from the first question to the
moment when every block is checked, written and synced at the other end.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import ServerConnection, serve

from bench.content import KEY, Unlimited
from bench.figures import Figure, ratio
from bench.mesh import make_credentials, open_link
from meshconsole.content.service import Content
from meshconsole.mesh.links.frames import PIPE_MESSAGE, Channel, Frame, Precedence
from meshconsole.mesh.links.websocket import accepted, dial

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from meshconsole.mesh.links.pipe import Pipe

    End = Callable[[Any], Awaitable[float]]

MIB = 1 << 20
SOCKET_BYTES = 100 * MIB
CHANNEL_BYTES = 32 * MIB
ROUNDS = 3
SETTLED_S = 60.0
MESSAGES_AHEAD = 4
"""Read from the link while one is being worked on, as a node does."""


def measure() -> list[Figure]:
    socket, bare, ours = [], [], []
    for _ in range(ROUNDS):
        socket.append(SOCKET_BYTES / _between(give_over_socket, take_over_socket))
        bare.append(CHANNEL_BYTES / _between(give_bare, take_bare))
        ours.append(CHANNEL_BYTES / _between(give_over_channel, take_over_channel))
    return [
        Figure("fetch of 100 MiB, WebSocket link", max(socket) / 1e6, "MB/s", "at least 60"),
        Figure("bare data channel (aiortc)", median(bare) / 1e6, "MB/s", "32 MiB"),
        Figure("fetch of 32 MiB, data channel link", median(ours) / 1e6, "MB/s"),
        ratio("fetch, to the bare data channel", median(ours), median(bare), "at least 0.9"),
    ]


def _between(give: End, take: End) -> float:
    """Seconds that it took."""
    context = multiprocessing.get_context("spawn")
    near, far = context.Pipe()
    giver = context.Process(target=_run, args=(give, far), daemon=True)
    giver.start()
    try:
        with context.Pool(1) as pool:
            done = pool.apply_async(_taken, (take, near))
            return done.get(timeout=600)
    finally:
        giver.terminate()
        giver.join()


def _run(end: End, pipe: Any) -> None:  # noqa: ANN401 - multiprocessing does not name its connections' type
    asyncio.run(_call(end, pipe))


def _taken(end: End, pipe: Any) -> float:  # noqa: ANN401 - as above
    return asyncio.run(_call(end, pipe))


async def _call(end: End, pipe: Any) -> float:  # noqa: ANN401 - as above
    return await end(pipe)


async def _hear(pipe: Any) -> Any:  # noqa: ANN401 - as above
    return await asyncio.to_thread(pipe.recv)


# --- Content ---------------------------------------------------------------------------------------


@asynccontextmanager
async def _content() -> AsyncIterator[Content]:
    with tempfile.TemporaryDirectory(prefix="meshconsole-bench-") as folder:
        content = Content(Path(folder, "blobs"), KEY, quota=Unlimited(), emit=lambda _: None, clock=time.time)
        await content.start()
        try:
            yield content
        finally:
            await content.stop()


@asynccontextmanager
async def _linked(content: Content, end: Pipe, *, dialled: bool) -> AsyncIterator[None]:
    link = await open_link(end, make_credentials(), dialled=dialled)
    came: asyncio.Queue[bytes] = asyncio.Queue(MESSAGES_AHEAD)

    async def handle(frame: Frame) -> None:
        await came.put(frame.payload)

    async def receive() -> None:
        while True:
            await content.receive("other", await came.get())

    async def send(message: bytes) -> None:
        await link.send(Channel.BLOCKS, Precedence.BULK, message)

    running, receiving = asyncio.create_task(link.run(handle)), asyncio.create_task(receive())
    content.attach("other", send, lambda _: True)
    try:
        yield
    finally:
        receiving.cancel()
        content.detach("other")
        link.close("That was all.")
        await running


async def _give(pipe: Any, end: Pipe, size: int, *, dialled: bool) -> float:  # noqa: ANN401 - as above
    async with _content() as content:
        added = await content.add((os.urandom(MIB) for _ in range(size // MIB)), "file")
        pipe.send(added.cid)
        async with _linked(content, end, dialled=dialled):
            await _hear(pipe)
    return 0.0


async def _take(pipe: Any, end: Pipe, *, dialled: bool) -> float:  # noqa: ANN401 - as above
    async with _content() as content:
        cid = await _hear(pipe)
        async with _linked(content, end, dialled=dialled):
            began = time.perf_counter()
            async for _ in content.fetch(cid, deadline_s=SETTLED_S):
                pass
            took = time.perf_counter() - began
        pipe.send("done")
    return took


async def give_over_socket(pipe: Any) -> float:  # noqa: ANN401 - as above
    over = asyncio.Event()

    async def handle(connection: ServerConnection) -> None:
        await _give(pipe, accepted(connection), SOCKET_BYTES, dialled=False)
        over.set()

    options = {"compression": None, "max_size": 2 * PIPE_MESSAGE, "ping_interval": None}
    async with serve(handle, "127.0.0.1", 0, **options) as server:  # type: ignore[arg-type]
        pipe.send(server.sockets[0].getsockname()[1])
        await over.wait()
    return 0.0


async def take_over_socket(pipe: Any) -> float:  # noqa: ANN401 - as above
    return await _take(pipe, await dial(f"127.0.0.1:{await _hear(pipe)}"), dialled=True)


async def give_over_channel(pipe: Any) -> float:  # noqa: ANN401 - as above
    from meshconsole.mesh.links.webrtc import DataChannelOffer

    offer = await DataChannelOffer.make("b", loopback=True)
    pipe.send(offer.text)
    return await _give(pipe, await offer.connect(await _hear(pipe)), CHANNEL_BYTES, dialled=True)


async def take_over_channel(pipe: Any) -> float:  # noqa: ANN401 - as above
    from meshconsole.mesh.links.webrtc import DataChannelAnswer

    answer = await DataChannelAnswer.make(await _hear(pipe), "a", loopback=True)
    pipe.send(answer.text)
    return await _take(pipe, await answer.connect(), dialled=False)


# --- A bare data channel ---------------------------------------------------------------------------


async def give_bare(pipe: Any) -> float:  # noqa: ANN401 - as above
    """Sent as aiortc's documentation says: by the buffered amount."""
    connection = _bare_connection()
    channel = connection.createDataChannel("bulk")
    opened, room = asyncio.Event(), asyncio.Event()
    channel.on("open", opened.set)
    channel.on("bufferedamountlow", room.set)
    channel.bufferedAmountLowThreshold = 64 * 1024
    await connection.setLocalDescription(await connection.createOffer())
    pipe.send((connection.localDescription.sdp, connection.localDescription.type))
    await connection.setRemoteDescription(_description(*await _hear(pipe)))
    await opened.wait()
    await _hear(pipe)
    chunk = os.urandom(PIPE_MESSAGE)
    for _ in range(CHANNEL_BYTES // PIPE_MESSAGE):
        channel.send(chunk)
        if channel.bufferedAmount > 256 * 1024:
            room.clear()
            await room.wait()
    await _hear(pipe)
    await connection.close()
    return 0.0


async def take_bare(pipe: Any) -> float:  # noqa: ANN401 - as above
    connection = _bare_connection()
    began = time.perf_counter()
    done = asyncio.Event()
    got = 0

    def received(message: bytes) -> None:
        nonlocal got
        got += len(message)
        if got >= CHANNEL_BYTES:
            done.set()

    def opened(channel: Any) -> None:  # noqa: ANN401 - aiortc has no types
        nonlocal began
        channel.on("message", received)
        began = time.perf_counter()
        pipe.send("go")

    connection.on("datachannel", opened)
    await connection.setRemoteDescription(_description(*await _hear(pipe)))
    await connection.setLocalDescription(await connection.createAnswer())
    pipe.send((connection.localDescription.sdp, connection.localDescription.type))
    await done.wait()
    took = time.perf_counter() - began
    pipe.send("done")
    await connection.close()
    return took


def _bare_connection() -> Any:  # noqa: ANN401 - aiortc has no types
    from meshconsole.mesh.links.aiortc_made_fit import stub_av

    stub_av()
    import aioice.ice
    from aiortc import RTCConfiguration, RTCPeerConnection

    original = aioice.ice.get_host_addresses
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: original(use_ipv4, use_ipv6) or ["127.0.0.1"]
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


def _description(sdp: str, kind: str) -> Any:  # noqa: ANN401 - aiortc has no types
    from aiortc import RTCSessionDescription

    return RTCSessionDescription(sdp, kind)
