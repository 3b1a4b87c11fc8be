"""A guest without a browser: speaks to the page's WebSocket as it does, with a channel of aiortc."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from meshconsole.core.event import encode_event
from meshconsole.core.sections import RelaySection
from meshconsole.core.verdict import ACCEPTED, Verdict
from meshconsole.crypto.schnorr import public_key, sign_event
from meshconsole.mesh.guests.framing import Assembler, cut
from meshconsole.mesh.guests.guests import Guests
from meshconsole.mesh.links.webrtc import DataChannelOffer, DataChannelPipe
from meshconsole.relay.relay import Relay
from tests.mesh.link_pair import CountingMeter
from tests.relay.making import Clock, Members, secret
from tests.relay.memory import MemoryEventStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from meshconsole.core.event import Event
    from meshconsole.core.status import Severity
    from meshconsole.mesh.guests.book import Admitted

MAX_MESSAGE = 4 << 20


@dataclass
class TestHouse:
    """The node's place: writes down what it is told."""

    __test__ = False
    name: str = "alpha"
    verdict: Verdict = ACCEPTED
    saved: list[tuple[Admitted, ...]] = field(default_factory=list)
    acts: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    something: asyncio.Event = field(default_factory=asyncio.Event)

    def may_stay(self) -> Verdict:
        return self.verdict

    def may_come(self) -> Verdict:
        return self.verdict

    async def save(self, guests: tuple[Admitted, ...]) -> None:
        self.saved.append(guests)

    def record(self, act: str, **detail: str) -> None:
        self.acts.append(" ".join((act, detail.get("name", ""), detail.get("cause", ""))).strip())

    def notice(self, severity: Severity, text: str, remedy: str = "") -> None:
        self.told.append(f"{text} {remedy}".strip())

    def changed(self) -> None:
        self.something.set()


@dataclass
class Place:
    """A relay that is the team's alone, and its guests."""

    relay: Relay
    guests: Guests
    house: TestHouse
    clock: Clock

    async def until_gone(self) -> None:
        async with asyncio.timeout(10):
            while self.guests.connections:
                self.house.something.clear()
                await self.house.something.wait()


@asynccontextmanager
async def place(config: RelaySection | None = None) -> AsyncIterator[Place]:
    clock, house = Clock(), TestHouse()
    relay = Relay(
        MemoryEventStore(clock), access=Members(), emit=lambda _: None, config=config or RelaySection()
    )
    guests = Guests(relay, house, (), CountingMeter(), clock, time.monotonic)
    await relay.start()
    try:
        yield Place(relay, guests, house, clock)
    finally:
        await guests.stop()
        await relay.stop()


@dataclass
class Visitor:
    """`heard` are the relay's messages, in order."""

    name: str
    socket: ClientConnection
    url: str
    pipe: DataChannelPipe | None = None
    heard: list[list[Any]] = field(default_factory=list)

    @property
    def npub(self) -> str:
        return public_key(secret(self.name))

    # --- The page's WebSocket ----------------------------------------------------------------------

    async def listen(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            said: dict[str, Any] = json.loads(await self.socket.recv())
        return said

    async def say(self, **message: object) -> None:
        await self.socket.send(json.dumps(message))

    async def ask(self, token: str = "", **more: object) -> dict[str, Any]:
        """What the node says to the question."""
        hello = await self.listen()
        assert hello["type"] == "hello", hello
        login = self.login(hello["challenge"])
        await self.say(**{"type": "ask", "login": login, "token": token, "name": self.name, **more})
        return await self.listen()

    def login(self, challenge: str) -> object:
        tags = (("relay", self.url), ("challenge", challenge))
        return json.loads(encode_event(sign_event(secret(self.name), 22242, tags, "", 1)))

    async def connect(self) -> None:
        """After the welcome: the channel, and the login on it."""
        offer = await DataChannelOffer.make("node", loopback=True)
        await self.say(type="offer", sdp=offer.text)
        answer = await self.listen()
        assert answer["type"] == "answer", answer
        async with asyncio.timeout(10):
            self.pipe = await offer.connect(answer["sdp"])
        verb, challenge = await self.hear()
        assert verb == "AUTH"
        await self.send("AUTH", self.login(challenge))
        assert (await self.hear())[2] is True

    # --- The channel -------------------------------------------------------------------------------

    async def send(self, *message: object) -> None:
        await self.send_bytes(json.dumps(message, ensure_ascii=False).encode())

    async def send_bytes(self, message: bytes) -> None:
        assert self.pipe is not None
        for piece in cut(message):
            await self.pipe.send(piece)

    async def hear(self) -> list[Any]:
        """The next message. Raises PipeClosed."""
        assert self.pipe is not None
        pieces = Assembler(MAX_MESSAGE)
        async with asyncio.timeout(20):
            while True:
                message = pieces.take(await self.pipe.receive())
                if message is not None:
                    said: list[Any] = json.loads(message)
                    self.heard.append(said)
                    return said

    def note(self, text: str, *tags: tuple[str, ...], name: str = "") -> Event:
        room = (("h", "guests"), ("name", name or self.name))
        return sign_event(secret(self.name), 1, (*room, *tags), text, 1_800_000_000)

    async def publish(self, event: Event) -> list[Any]:
        await self.send("EVENT", json.loads(encode_event(event)))
        while (said := await self.hear())[0] != "OK":
            pass
        return said


@asynccontextmanager
async def visitor(link: str, name: str = "anna") -> AsyncIterator[Visitor]:
    """`link` is that of `Guests.open_link`."""
    host = link.partition("//")[2].partition("/")[0]
    origin = Origin(f"http://{host}")
    async with connect(f"ws://{host}/signals", origin=origin, compression=None, proxy=None) as socket:
        one = Visitor(name, socket, f"ws://{host}/")
        try:
            yield one
        finally:
            if one.pipe is not None:
                await one.pipe.close("The test is over.")


async def let_in(place: Place, one: Visitor, link: str) -> None:
    """From the first word to a channel that is logged in."""
    said = await one.ask(link.partition("#")[2])
    assert said["type"] == "wait", said
    await place.guests.admit(said["code"], "", None)
    assert (await one.listen())["type"] == "welcome"
    await one.connect()


async def opened(place: Place, name: str = "") -> str:
    url, _ = await place.guests.open_link(name, 8, 600, 0)
    return url
