"""What plain clients still get from a node while one of its data channels is as busy as can be.

A guest, in a process of its own, asks a real node for 400 kB of notes over and over; aiortc's SCTP is Python,
and shares the node's interpreter with the relay. Rounds with and without it take turns, since both feel what
else the machine does.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import time
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.figures import Figure, ratio
from bench.nodes import OPEN, one_node
from bench.relay import corpus
from bench.relay.writing import ingest
from meshconsole.core.event import encode_event
from meshconsole.crypto.schnorr import sign_event
from meshconsole.mesh.guests.framing import Assembler, cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.asyncio.client import ClientConnection

    from meshconsole.mesh.links.webrtc import DataChannelPipe
    from scripts.machine import Machine

EVENTS = 6000
"""Of each round."""
ROUNDS = 3
NOTES = 100
NOTE_BYTES = 4000
LONGEST = 1 << 20
READY, STOP = "ready", "stop"


def measure() -> list[Figure]:
    alone, beside, carried = [], [], []
    with one_node(*OPEN, "limits.max_connections=256", "limits.new_connections_per_minute=0") as node:
        url = f"ws://{node.address}"
        with _guest(node) as guest:
            for number in range(ROUNDS):
                alone.append(EVENTS / ingest(url, _frames(2 * number)))
                guest.send(READY)
                guest.recv()
                beside.append(EVENTS / ingest(url, _frames(2 * number + 1)))
                guest.send(STOP)
                carried.append(guest.recv())
    return [
        Figure("ingest by plain clients", median(alone), "events/s"),
        Figure("the same while a data channel is busy", median(beside), "events/s"),
        Figure("what the data channel carries meanwhile", median(carried) / 1e6, "MB/s"),
        ratio("ingest beside a busy data channel", median(beside), median(alone), "promised 0.5"),
    ]


def _frames(number: int) -> list[bytes]:
    return corpus.frames(corpus.notes(f"busy-{number}", EVENTS))


# --- The guest ---------------------------------------------------------------------------------------


@contextmanager
def _guest(node: Machine) -> Iterator[Any]:
    """A pipe to a guest that was let in: READY makes it ask without end, STOP is answered with bytes/s."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    link = node.json("guest", "open", "--name", "busy")["url"]
    process = context.Process(target=_visit, args=(link, theirs), daemon=True)
    process.start()
    try:
        node.command("guest", "admit", ours.recv())
        ours.recv()
        yield ours
    finally:
        process.terminate()
        process.join()


def _visit(link: str, owner: Any) -> None:  # noqa: ANN401 - multiprocessing does not name its connections' type
    asyncio.run(_stay(link, owner))


async def _stay(link: str, owner: Any) -> None:  # noqa: ANN401 - as above
    from websockets.asyncio.client import connect
    from websockets.typing import Origin

    host, _, token = link.partition("//")[2].partition("/#")
    origin = Origin(f"http://{host}")
    async with connect(f"ws://{host}/signals", origin=origin, compression=None, proxy=None) as page:
        guest = _Guest(os.urandom(32), f"ws://{host}/")
        await guest.come_in(page, token, owner)
        for number in range(NOTES):
            tags = (("h", "guests"), ("name", "busy"))
            note = sign_event(guest.secret, 1, tags, f"{number} ".ljust(NOTE_BYTES, "x"), int(time.time()))
            await guest.say("EVENT", json.loads(encode_event(note)))
            await guest.hear()
        owner.send(READY)
        while True:
            await asyncio.to_thread(owner.recv)
            await guest.ask_until_stopped(owner)


class _Guest:
    def __init__(self, secret: bytes, url: str) -> None:
        self.secret = secret
        self._url = url
        self._pipe: DataChannelPipe
        self._bytes = 0

    async def come_in(self, page: ClientConnection, token: str, owner: Any) -> None:  # noqa: ANN401 - as above
        from meshconsole.mesh.links.webrtc import DataChannelOffer

        hello = json.loads(await page.recv())
        ask = {"type": "ask", "login": self._login(hello["challenge"]), "token": token}
        await page.send(json.dumps(ask))
        owner.send(json.loads(await page.recv())["code"])
        assert json.loads(await page.recv())["type"] == "welcome"
        offer = await DataChannelOffer.make("node", loopback=True)
        await page.send(json.dumps({"type": "offer", "sdp": offer.text}))
        self._pipe = await offer.connect(json.loads(await page.recv())["sdp"])
        await self.say("AUTH", self._login((await self.hear())[1]))
        await self.hear()

    async def ask_until_stopped(self, owner: Any) -> None:  # noqa: ANN401 - as above
        began, before = time.perf_counter(), self._bytes
        owner.send(READY)
        while not owner.poll():
            await self.say("REQ", "all", {"limit": NOTES})
            while (await self.hear())[0] != "EOSE":
                pass
        owner.recv()
        owner.send((self._bytes - before) / (time.perf_counter() - began))

    async def say(self, *message: object) -> None:
        for piece in cut(json.dumps(message).encode()):
            await self._pipe.send(piece)

    async def hear(self) -> list[Any]:
        pieces = Assembler(LONGEST)
        while True:
            piece = await self._pipe.receive()
            self._bytes += len(piece)
            if (message := pieces.take(piece)) is not None:
                said: list[Any] = json.loads(message)
                return said

    def _login(self, challenge: str) -> object:
        tags = (("relay", self._url), ("challenge", challenge))
        return json.loads(encode_event(sign_event(self.secret, 22242, tags, "", int(time.time()))))
