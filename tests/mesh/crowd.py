"""A hub as it is shipped, and many real peers of it in a few processes.

Each peer is a mesh with a store, a relay and keys of its own, so handshakes, TLS sessions, membership,
dialling, catching up and storing are those of a node; it comes from a host of its own (127.1.0.0/16), and
nobody but the hub can reach it, as behind a NAT. The hub has a real roster: its founder is one of the peers
and lives in the process that asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import multiprocessing
import os
import resource
import time
from collections import Counter, defaultdict
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import psutil
import websockets.asyncio.client as websockets_client

from meshconsole.core.event import Event, canonical, encode_event
from meshconsole.core.kinds import TEXT_NOTE
from meshconsole.core.precedence import Precedence
from meshconsole.crypto.providers import default_provider
from meshconsole.crypto.tls import TlsSession
from meshconsole.mesh.links.frames import Channel
from meshconsole.mesh.links.link import Link
from meshconsole.mesh.links.pipe import PipeClosed
from meshconsole.mesh.links.websocket import dial
from meshconsole.mesh.messages import PROTOCOL_VERSION, Hello, Live, encode
from meshconsole.team.state import Team
from scripts.machine import Failure, Machine
from tests.mesh.devices import credentials, identity
from tests.mesh.link_pair import CountingMeter
from tests.mesh.nodes import Device, SmallRoster, TestNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from meshconsole.mesh.links.frames import Frame
    from meshconsole.relay.relay import Stored

FOUNDER = "p000"
LOOK_S = 0.1
FILES = 8192
_host: contextvars.ContextVar[str] = contextvars.ContextVar("host", default="")
"""Where a peer's connections come from."""


@dataclass(frozen=True)
class Told:
    """What each process is told of the team: the hub, everybody's names, and those that live there."""

    hub: Device
    address: str
    names: tuple[str, ...]
    mine: tuple[str, ...]


class Peer(TestNode):
    """A mesh that dials the hub; what it says of its own address leads nowhere."""

    def __init__(self, name: str, roster: SmallRoster, folder: Path, hub: Device) -> None:
        super().__init__(name, roster, folder)
        self.hub = hub
        self.held: Counter[str] = Counter()
        """Notes by their first word."""
        self.took: defaultdict[str, list[float]] = defaultdict(list)
        """By that word: the seconds that each of others' was under way until it was stored here."""
        self.on_stored = self._note

    async def start(self) -> Peer:
        _host.set(self.host)
        await super().start()
        # The hosts that the peers come from are on no interface, and would be taken for gone.
        self.mesh._links.network_changed = lambda own: None  # type: ignore[method-assign]
        return self

    @property
    def host(self) -> str:
        number = int(self.name[1:])
        return f"127.1.{number // 250}.{number % 250 + 1}"

    @property
    def has_hub(self) -> bool:
        session = self.mesh._links.sessions.get(self.hub.npub)
        return session is not None and session.best is not None

    @property
    def is_even(self) -> bool:
        """Whether it has all that the hub has told of."""
        session = self.mesh._links.sessions.get(self.hub.npub)
        return session is not None and session.lag == (0, 0)

    def _note(self, stored: Stored) -> None:
        word, _, rest = stored.event.content.partition(" ")
        self.held[word] += 1
        if stored.event.pubkey != self.npub and rest:
            self.took[word].append(time.monotonic() - float(rest.partition(" ")[0]))


@dataclass
class _Room:
    """What a process does when it is asked; the methods are the questions."""

    folder: Path
    team: Told
    peers: list[Peer] = field(default_factory=list)

    async def start(self) -> None:
        roster = SmallRoster()
        roster.devices[self.team.hub.npub] = self.team.hub
        for name in self.team.names:
            roster.put(name)
        self.peers = [Peer(name, roster, self.folder, self.team.hub) for name in self.team.mine]
        for peer in self.peers:
            # Each in a context of its own, for its host.
            await asyncio.create_task(peer.start(), context=contextvars.copy_context())

    async def dial(self) -> None:
        for peer in self.peers:
            peer.mesh.offer_addresses([self.team.address])

    async def linked(self) -> int:
        return sum(peer.has_hub for peer in self.peers)

    async def even(self) -> int:
        return sum(peer.is_even for peer in self.peers)

    async def publish(self, authors: int, word: str, count: int) -> None:
        """The first of the peers write that many notes each, all at once."""

        async def write(peer: Peer) -> None:
            for number in range(count):
                await peer.publish(f"{word} {time.monotonic()} {number} {'x' * 200}")

        await asyncio.gather(*map(write, self.peers[:authors]))

    async def held(self, word: str) -> list[int]:
        return [peer.held[word] for peer in self.peers]

    async def took(self, word: str) -> list[float]:
        return [seconds for peer in self.peers for seconds in peer.took[word]]

    async def downs(self) -> Counter[str]:
        """Why links have ended since this was asked last."""
        reasons = Counter(down.reason for peer in self.peers for down in peer.downs())
        for peer in self.peers:
            peer.happenings.clear()
        return reasons

    async def misbehave(self, number: int, events: int) -> str:
        """One of the peers sends events that nobody has signed, as fast as it can, until the hub has had
        enough. How its link ended."""
        peer = self.peers[number]
        await peer.mesh.stop()
        peer.happenings.clear()
        _host.set(peer.host)
        session = TlsSession(credentials(peer.name), server=False, accept=lambda _key: True)
        link = Link(
            await dial(self.team.address),
            session,
            dialled=True,
            meter=CountingMeter(),
            now=time.monotonic,
            wall=time.time,
        )
        await link.open(lambda _key: Hello(PROTOCOL_VERSION, os.urandom(8), "flood", 0))

        async def ignore(_frame: Frame) -> None:
            return None

        running = asyncio.create_task(link.run(ignore))
        with contextlib.suppress(PipeClosed):
            for number in range(events):
                frame = encode(Live((_forged(peer.npub, number),)))
                await link.send(Channel.EVENTS, Precedence.PRIORITY, frame)
        link.close("That was all.")
        return str(await running)

    async def stop(self) -> None:
        await asyncio.gather(*(peer.stop() for peer in self.peers))


def _forged(npub: str, number: int) -> bytes:
    content, now = f"forged {number} {'x' * 400}", int(time.time())
    event_id = sha256(canonical(npub, now, TEXT_NOTE, (), content)).hexdigest()
    return encode_event(Event(event_id, npub, now, TEXT_NOTE, (), content, "0" * 128))


def _work(pipe: Connection, folder: Path, team: Told) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    connect = websockets_client.connect

    def from_own_host(uri: str, **options: Any) -> Any:  # noqa: ANN401 - websockets' own
        return connect(uri, local_addr=(_host.get(), 0), **options)

    websockets_client.connect = from_own_host  # type: ignore[assignment, misc]
    asyncio.run(_answer(pipe, _Room(folder, team)))


async def _answer(pipe: Connection, room: _Room) -> None:
    asked = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), asked.set)
    while True:
        asked.clear()
        while not pipe.poll():
            await asked.wait()
            asked.clear()
        question, *details = pipe.recv()
        pipe.send(await getattr(room, question)(*details))
        if question == "stop":
            return


@dataclass
class Crowd:
    """The hub and the rooms with its peers. All but the founder answer what is asked."""

    hub: Machine
    settings: tuple[str, ...]
    rooms: list[Connection]
    count: int
    """Of peers that answer."""

    async def ask(self, question: str, *details: Any) -> list[Any]:  # noqa: ANN401 - whatever is answered
        """What each room says to a question."""
        return await asyncio.gather(
            *(self.ask_one(room, question, *details) for room in range(len(self.rooms)))
        )

    async def ask_one(self, room: int, question: str, *details: Any) -> Any:  # noqa: ANN401 - as above
        pipe = self.rooms[room]
        pipe.send((question, *details))
        return await asyncio.to_thread(pipe.recv)

    async def until(self, question: str, wanted: int, within_s: float) -> float:
        """Seconds until what the rooms answer adds up to what is wanted. Raises Failure."""
        began, found = time.monotonic(), -1
        while time.monotonic() - began < within_s:
            found = sum(await self.ask(question))
            if found == wanted:
                return time.monotonic() - began
            await asyncio.sleep(LOOK_S)
        raise Failure(f"{question}: {found} instead of {wanted} after {within_s:.0f} s")

    async def until_held(self, word: str, each: int, within_s: float) -> float:
        """Seconds until each peer has exactly so many notes of that word. Raises Failure."""
        began, counts = time.monotonic(), Counter[int]()
        while time.monotonic() - began < within_s:
            counts = Counter(count for room in await self.ask("held", word) for count in room)
            if set(counts) == {each}:
                return time.monotonic() - began
            await asyncio.sleep(LOOK_S)
        raise Failure(f"not all have {each} of {word!r} after {within_s:.0f} s: {sorted(counts.items())}")

    async def restart_hub(self) -> None:
        """Killed, not asked."""
        self.hub.kill()
        await asyncio.to_thread(self.hub.start, *self.settings)

    @property
    def process(self) -> psutil.Process:
        assert self.hub.process is not None
        return psutil.Process(self.hub.process.pid)

    def resident_mb(self) -> float:
        return float(self.process.memory_info().rss) / 1e6

    def hub_cpu_s(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)


@asynccontextmanager
async def crowd(folder: Path, count: int, *, rooms: int = 2) -> AsyncIterator[Crowd]:
    """A hub with a team of `count` other devices, which have not dialled it yet; the founder has."""
    hub = Machine(folder, "hub", passphrase=None)
    settings = (
        f"limits.max_connections={2 * count}",
        "capabilities.webrtc_hub=false",
        "discovery.mdns=false",
        "discovery.beacons=false",
    )
    now = int(time.time())
    team, founding = Team.found(identity(FOUNDER), "Rescue", FOUNDER, now, default_provider())
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(hub.command, "init", "--yes", "--name", "hub")
        stack.callback(hub.kill)
        await asyncio.to_thread(hub.start, *settings)
        founder = await stack.enter_async_context(TestNode(FOUNDER, team, folder))
        await founder.relay.publish_many(founding)
        invite, text = team.make_invite([founder.address], now, 600)
        founder.membership.book.offer(invite, "member")
        await asyncio.to_thread(hub.command, "team", "join", text)
        names = tuple(f"p{number:03}" for number in range(1, count))
        for name in names:
            bundle = identity(name).bundle_event(now)
            await founder.relay.publish_many(team.admit(bundle, name, "member", now))
        founder.mesh.recheck()
        everybody = count + 1
        await asyncio.to_thread(
            hub.wait, "the whole team", lambda status: len(status["team"]["members"]) == everybody, 300
        )
        member = next(member for member in team.members() if member.name == "hub")
        device = Device(member.npub, "hub", member.role, member.mldsa_public)
        context, pipes = multiprocessing.get_context("spawn"), list[Connection]()
        for number in range(rooms):
            ours, theirs = context.Pipe()
            place = folder / f"room{number}"
            place.mkdir()
            told = Told(device, hub.address, (FOUNDER, *names), names[number::rooms])
            process = context.Process(target=_work, args=(theirs, place, told), daemon=True)
            process.start()
            stack.callback(process.join)
            stack.callback(process.kill)
            pipes.append(ours)
        crowd = Crowd(hub, settings, pipes, count - 1)
        await crowd.ask("start")
        yield crowd
        await crowd.ask("stop")
