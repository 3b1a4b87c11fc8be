"""Links between two nodes: how fast they are made, how much they carry, and bare parts beside them.

The two ends of a WebSocket link are two processes on this machine. The two ends of a data channel share one,
ours and bare aiortc alike, so that the ratio is one of the same load.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from contextlib import asynccontextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import ServerConnection, serve

from bench.figures import Figure, percentiles, ratio
from meshconsole.crypto.identity import Identity
from meshconsole.crypto.providers import default_provider
from meshconsole.crypto.suites import MC1
from meshconsole.crypto.tls import LinkCredentials, TlsSession
from meshconsole.mesh.links.frames import PIPE_MESSAGE, Channel, Frame, Precedence
from meshconsole.mesh.links.link import Link
from meshconsole.mesh.links.websocket import accepted, dial
from meshconsole.mesh.messages import PROTOCOL_VERSION, Hello, Live, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from meshconsole.mesh.links.pipe import Pipe
    from meshconsole.mesh.links.webrtc import DataChannelPipe

EVENT_BYTES = 400
EVENTS = 60_000
CHANNEL_EVENTS = 20_000
BULK_FRAME = 1024 * 1024
BULK_BYTES = 256 * 1024 * 1024
CHANNEL_BULK_BYTES = 16 * 1024 * 1024
CONNECTIONS = 20
CHANNELS = 5
ROUNDS = 3
"""Ours and bare aiortc in turn, since both feel what else the machine does."""


class NoLimit:
    async def wait_out(self, _count: int, /) -> None:
        return

    async def wait_in(self, _count: int, /) -> None:
        return


def measure() -> list[Figure]:
    return [*_websocket(), *asyncio.run(_channels())]


# --- WebSocket links, over two processes -----------------------------------------------------------


def _websocket() -> list[Figure]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    other = context.Process(target=_other_end, args=(theirs,), daemon=True)
    other.start()
    try:
        return asyncio.run(_websocket_figures(ours.recv()))
    finally:
        other.terminate()
        other.join()


def _other_end(pipe: Any) -> None:  # noqa: ANN401 - multiprocessing does not name its connections' type
    asyncio.run(_serve(pipe))


async def _serve(pipe: Any) -> None:  # noqa: ANN401 - as above
    """At "/raw" it counts the pipe's bytes, elsewhere the link's frames; it answers with the counts."""
    credentials = make_credentials()

    async def handle(connection: ServerConnection) -> None:
        end = accepted(connection)
        if connection.request is not None and connection.request.path == "/join":
            await _count_bytes(end)
        else:
            link = await open_link(end, credentials, dialled=False)
            await link.run(_counter(link))

    options = {"compression": None, "max_size": 2 * PIPE_MESSAGE, "ping_interval": None}
    async with serve(handle, "127.0.0.1", 0, **options) as server:  # type: ignore[arg-type]
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()


async def _count_bytes(end: Pipe) -> None:
    got = 0
    while got < BULK_BYTES:
        got += len(await end.receive())
    await end.send(b"done")


def _counter(link: Link) -> Callable[[Frame], Awaitable[None]]:
    """Says when so many bytes have come as the first frame has announced."""
    wanted = got = 0

    async def handle(frame: Frame) -> None:
        nonlocal wanted, got
        if frame.channel == Channel.SIGNALS:
            wanted, got = int.from_bytes(frame.payload, "big"), 0
            return
        got += len(frame.payload)
        if got >= wanted:
            await link.send(Channel.SIGNALS, Precedence.FLASH, b"done")

    return handle


async def _websocket_figures(port: int) -> list[Figure]:
    address, credentials = f"127.0.0.1:{port}", make_credentials()
    took = []
    for _ in range(CONNECTIONS):
        began = time.perf_counter()
        link = await open_link(await dial(address), credentials, dialled=True)
        took.append(time.perf_counter() - began)
        link.close("That was all.")
        await link.run(_ignore)
    raw = await dial(address, "/join")
    chunk = os.urandom(PIPE_MESSAGE)
    began = time.perf_counter()
    for _ in range(BULK_BYTES // PIPE_MESSAGE):
        await raw.send(chunk)
    await raw.receive()
    pipe_rate = BULK_BYTES / (time.perf_counter() - began)
    await raw.close("")
    async with _running(await open_link(await dial(address), credentials, dialled=True)) as (link, done):
        events = await _events_per_s(link, done, EVENTS)
        bulk = await _bulk_per_s(link, done, BULK_BYTES)
    return [
        *percentiles("connect and shake hands, WebSocket", took),
        Figure("WebSocket link, events of 400 B", events, "events/s", "promised 20,000"),
        Figure("WebSocket pipe, bulk before sealing", pipe_rate / 1e6, "MB/s", "promised 200"),
        Figure("WebSocket link, bulk sealed", bulk / 1e6, "MB/s"),
        ratio("sealing, of the pipe's bulk rate", bulk, pipe_rate, "link to pipe"),
    ]


# --- Data channels ---------------------------------------------------------------------------------


async def _channels() -> list[Figure]:
    bare, ours = [], []
    for _ in range(ROUNDS):
        bare.append(await asyncio.to_thread(_in_own_process, "bare"))
        ours.append(await asyncio.to_thread(_in_own_process, "ours"))
    took = []
    for _ in range(CHANNELS):
        began = time.perf_counter()
        ends = await _pair()
        took.append(time.perf_counter() - began)
        for end in ends:
            await end.close("That was all.")
    a, b = await _pair()
    one, other = make_credentials(), make_credentials()
    near, far = await asyncio.gather(open_link(a, one, dialled=True), open_link(b, other, dialled=False))
    async with _running(far, _counter(far)), _running(near) as (link, done):
        events = await _events_per_s(link, done, CHANNEL_EVENTS)
        bulk = await _bulk_per_s(link, done, CHANNEL_BULK_BYTES)
    return [
        *percentiles("connect, data channel", took),
        Figure("data channel link, events of 400 B", events, "events/s", "promised 10,000"),
        Figure("data channel link, bulk sealed", bulk / 1e6, "MB/s"),
        Figure("data channel pipe, bulk", median(ours) / 1e6, "MB/s"),
        Figure("bare aiortc, bulk", median(bare) / 1e6, "MB/s"),
        ratio("data channel pipe, of bare aiortc", median(ours), median(bare), "promised 1.0"),
    ]


async def _pair() -> tuple[DataChannelPipe, DataChannelPipe]:
    from meshconsole.mesh.links.webrtc import DataChannelAnswer, DataChannelOffer

    offer = await DataChannelOffer.make("b", loopback=True)
    answer = await DataChannelAnswer.make(offer.text, "a", loopback=True)
    return await asyncio.gather(offer.connect(answer.text), answer.connect())


def _in_own_process(name: str) -> float:
    """The adapter changes aiortc for the whole process: what is bare needs one of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_run, (name,))


def _run(name: str) -> float:
    return asyncio.run(_our_channel() if name == "ours" else _bare_channel())


async def _our_channel() -> float:
    """Bytes a second through the adapter's pipe."""
    a, b = await _pair()
    chunk = os.urandom(PIPE_MESSAGE)

    async def send() -> None:
        for _ in range(CHANNEL_BULK_BYTES // PIPE_MESSAGE):
            await a.send(chunk)

    began = time.perf_counter()
    sending = asyncio.create_task(send())
    got = 0
    while got < CHANNEL_BULK_BYTES:
        got += len(await b.receive())
    taken = time.perf_counter() - began
    await sending
    await a.close("")
    await b.close("")
    return CHANNEL_BULK_BYTES / taken


async def _bare_channel() -> float:
    """Bytes a second through aiortc as it comes, sent as its documentation says: by the buffered amount."""
    from meshconsole.mesh.links.aiortc_made_fit import stub_av

    stub_av()
    import aioice.ice
    from aiortc import RTCConfiguration, RTCPeerConnection

    original = aioice.ice.get_host_addresses
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: original(use_ipv4, use_ipv6) or ["127.0.0.1"]
    a, b = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    channel = a.createDataChannel("bulk")
    opened, room, done = asyncio.Event(), asyncio.Event(), asyncio.Event()
    got = 0

    def received(message: bytes) -> None:
        nonlocal got
        got += len(message)
        if got >= CHANNEL_BULK_BYTES:
            done.set()

    b.on("datachannel", lambda theirs: theirs.on("message", received))
    channel.on("open", opened.set)
    channel.on("bufferedamountlow", room.set)
    channel.bufferedAmountLowThreshold = 64 * 1024
    await a.setLocalDescription(await a.createOffer())
    await b.setRemoteDescription(a.localDescription)
    await b.setLocalDescription(await b.createAnswer())
    await a.setRemoteDescription(b.localDescription)
    await opened.wait()
    chunk = os.urandom(PIPE_MESSAGE)
    began = time.perf_counter()
    for _ in range(CHANNEL_BULK_BYTES // PIPE_MESSAGE):
        channel.send(chunk)
        if channel.bufferedAmount > 256 * 1024:
            room.clear()
            await room.wait()
    await done.wait()
    taken = time.perf_counter() - began
    await a.close()
    await b.close()
    return CHANNEL_BULK_BYTES / taken


# --- Both ------------------------------------------------------------------------------------------


def make_credentials() -> LinkCredentials:
    return LinkCredentials.make(Identity.generate(MC1, default_provider()))


async def open_link(pipe: Pipe, credentials: LinkCredentials, *, dialled: bool) -> Link:
    session = TlsSession(credentials, server=not dialled, accept=lambda _key: True)
    link = Link(pipe, session, dialled=dialled, meter=NoLimit(), now=time.monotonic, wall=time.time)
    await link.open(lambda _key: Hello(PROTOCOL_VERSION, b"bench---", "bench", 0))
    return link


@asynccontextmanager
async def _running(
    link: Link, handle: Callable[[Frame], Awaitable[None]] | None = None
) -> AsyncIterator[tuple[Link, asyncio.Event]]:
    done = asyncio.Event()

    async def told(_frame: Frame) -> None:
        done.set()

    running = asyncio.create_task(link.run(handle or told))
    try:
        yield link, done
    finally:
        link.close("That was all.")
        await running


async def _events_per_s(link: Link, done: asyncio.Event, count: int) -> float:
    frame = encode(Live((os.urandom(EVENT_BYTES),)))
    return await _frames_per_s(link, done, frame, count, Channel.EVENTS, Precedence.PRIORITY)


async def _bulk_per_s(link: Link, done: asyncio.Event, size: int) -> float:
    frame, count = os.urandom(BULK_FRAME), size // BULK_FRAME
    rate = await _frames_per_s(link, done, frame, count, Channel.BLOCKS, Precedence.BULK)
    return rate * BULK_FRAME


async def _frames_per_s(
    link: Link, done: asyncio.Event, frame: bytes, count: int, channel: Channel, precedence: Precedence
) -> float:
    done.clear()
    await link.send(Channel.SIGNALS, Precedence.FLASH, (count * len(frame)).to_bytes(8, "big"))
    began = time.perf_counter()
    for _ in range(count):
        await link.send(channel, precedence, frame)
    await done.wait()
    return count / (time.perf_counter() - began)


async def _ignore(_frame: Frame) -> None:
    return
