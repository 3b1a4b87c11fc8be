"""Whole nodes as far as the mesh needs them, in one process: real relay, real server, real keys."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshconsole.core.config import Config, build_config
from meshconsole.core.verdict import ACCEPTED, Verdict
from meshconsole.crypto.bundle import open_bundle
from meshconsole.crypto.providers import default_provider
from meshconsole.mesh.happenings import LinkDown, LinkUp
from meshconsole.mesh.service import Mesh
from meshconsole.relay.relay import Relay, Stored
from meshconsole.relay.server import RelayServer
from meshconsole.relay.sqlite import SqliteEventStore
from meshconsole.team.invites import InviteBook
from meshconsole.team.state import Team
from tests.mesh.devices import credentials, identity, key_of
from tests.mesh.link_pair import CountingMeter
from tests.mesh.memory_pipe import memory_pipes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection
    from pathlib import Path

    from meshconsole.core.errors import RemoteError
    from meshconsole.core.event import Event
    from meshconsole.mesh.happenings import MeshHappening
    from meshconsole.team.invites import AdmittedRole


BEACON_PORT = 17_446
"""Not the one of real nodes on this machine."""


@dataclass(frozen=True)
class Device:
    npub: str
    name: str
    role: str
    mldsa_public: bytes
    removed: bool = False


@dataclass
class SmallRoster:
    """A roster that the test writes itself; shared by the nodes of a test."""

    devices: dict[str, Device] = field(default_factory=dict)
    admitted: list[Event] = field(default_factory=list)
    notes: Team | None = None
    """Whose key it has for notes."""

    @classmethod
    def of(cls, *names: str) -> SmallRoster:
        roster = cls()
        for name in names:
            roster.put(name)
        return roster

    def put(self, name: str, role: str = "member", *, removed: bool = False) -> None:
        npub = identity(name).npub
        self.devices[npub] = Device(npub, name, role, key_of(name), removed)

    def members(self) -> tuple[Device, ...]:
        return tuple(self.devices.values())

    def member(self, npub: str, /) -> Device | None:
        return self.devices.get(npub)

    def device_for_key(self, mldsa_public: bytes, /) -> Device | None:
        live = (d for d in self.devices.values() if d.mldsa_public == mldsa_public and not d.removed)
        return next(live, None)

    def admit(
        self,
        bundle_event: Event,
        name: str,
        role: AdmittedRole,
        now: int,
        replaces: str | None = None,
        person: str | None = None,
        /,
    ) -> list[Event]:
        del person
        if replaces is not None:
            del self.devices[replaces]
        bundle = open_bundle(bundle_event, default_provider())
        self.devices[bundle.npub] = Device(bundle.npub, name, role, bundle.mldsa_public)
        self.admitted.append(bundle_event)
        return [bundle_event]

    def control_events(self) -> list[Event]:
        return list(self.admitted)

    def datagram_keys(self) -> tuple[bytes, ...]:
        return (b"d" * 32,)

    def shorten_note(self, event: Event, /) -> bytes | None:
        return self.notes.shorten_note(event) if self.notes is not None else None

    def lengthen_note(self, data: bytes, /) -> Event | None:
        return self.notes.lengthen_note(data) if self.notes is not None else None

    def rendezvous_tag(self, ephemeral_id: bytes, /) -> str:
        return ephemeral_id.hex()[:16][::-1]


class MemoryCursors:
    def __init__(self) -> None:
        self.values: dict[tuple[str, str], int] = {}

    def get(self, peer: str, log_id: str, /) -> int:
        return self.values.get((peer, log_id), 0)

    def put(self, peer: str, log_id: str, seq: int, /) -> None:
        self.values[peer, log_id] = seq


class MemoryAddresses:
    def __init__(self) -> None:
        self.known: dict[str, list[str]] = {}

    def load(self) -> dict[str, list[str]]:
        return self.known

    def save(self, addresses: dict[str, list[str]], /) -> None:
        self.known = addresses


class SmallMembership:
    """A place in the test's roster; `saves` counts how often the book was saved."""

    def __init__(self, team: SmallRoster | Team | None) -> None:
        self.team = team
        self.book = InviteBook()
        self.saves = 0

    def save_book(self) -> None:
        self.saves += 1


class RecordingBlocks:
    """The content room's place: writes down what the mesh tells it, and refuses what it is told to."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.messages: list[bytes] = []
        self.senders: dict[str, Callable[[bytes], Awaitable[None]]] = {}
        self.refusal: RemoteError | None = None
        self.ids: list[bytes] | None = []
        self.stocks: dict[str, frozenset[bytes]] = {}
        self.has_stock = asyncio.Event()

    def attach(
        self, peer: str, send: Callable[[bytes], Awaitable[None]], may_read: Callable[[str], bool], /
    ) -> None:
        assert may_read("any")
        self.told.append("attach")
        self.senders[peer] = send

    def detach(self, peer: str, /) -> None:
        self.told.append("detach")
        del self.senders[peer]

    async def receive(self, peer: str, message: bytes, /) -> None:
        assert peer in self.senders
        if self.refusal is not None:
            raise self.refusal
        self.messages.append(message)

    async def stock(self, peer: str, /) -> Collection[bytes] | None:
        return self.ids

    def stocked(self, peer: str, ids: frozenset[bytes], /) -> None:
        self.stocks[peer] = ids
        self.has_stock.set()


class OpenAccess:
    def public(self) -> bool:
        return True

    def may_write(self, npubs: Collection[str]) -> Verdict:
        return ACCEPTED

    def may_read(self, npubs: Collection[str]) -> Verdict:
        return ACCEPTED


class TestNode:
    """`folder` and `cursors` survive a restart; everything else is made by `start`."""

    __test__ = False

    def __init__(
        self,
        name: str,
        roster: SmallRoster | Team | None,
        folder: Path,
        *,
        webrtc: bool = False,
        mdns: bool = False,
        beacons: bool = False,
        admit: Callable[[str, str], Verdict] = lambda _kind, _remote: ACCEPTED,
        content: RecordingBlocks | None = None,
    ) -> None:
        self.name = name
        self.npub = identity(name).npub
        self.membership = SmallMembership(roster)
        self.folder = folder
        self.admit = admit
        self.content = content
        self.cursors = MemoryCursors()
        self.addresses = MemoryAddresses()
        self.meter = CountingMeter()
        self.config: Config = build_config(
            [
                (
                    "test",
                    {
                        "node": {"name": name, "listen": "127.0.0.1:0"},
                        "capabilities": {"webrtc_hub": webrtc},
                        "discovery": {"mdns": mdns, "beacons": beacons, "beacon_port": BEACON_PORT},
                    },
                )
            ]
        )
        self.happenings: list[MeshHappening] = []
        self.stored: list[Stored] = []
        self.on_stored: Callable[[Stored], None] = lambda _stored: None

    async def start(self) -> TestNode:
        path = self.folder / f"{self.name}.db"
        self.store = SqliteEventStore(path, b"k" * 32, b"t" * 32)
        self.relay = Relay(self.store, access=OpenAccess(), emit=self._emit_relay)
        await self.relay.start()
        self.mesh = Mesh(
            identity(self.name),
            credentials(self.name),
            self.membership,
            self.relay,
            self.content,
            self.config,
            cursors=self.cursors,
            emit=self._emit,
            meter=self.meter,
            admit=self.admit,
            addresses=self.addresses,
            random=random.Random(self.name),
        )
        routes = {"/mesh": self.mesh.accept_mesh, "/join": self.mesh.accept_join}
        self.server = RelayServer(self.relay, host="127.0.0.1", port=0, routes=routes)
        await self.server.start()
        self.address = self.server.addresses[0]
        await self.mesh.start(int(self.address.rpartition(":")[2]))
        return self

    async def stop(self) -> None:
        await self.mesh.stop()
        await self.server.stop()
        await self.relay.stop()
        await asyncio.to_thread(self.store.close)

    async def __aenter__(self) -> TestNode:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def dial(self, *others: TestNode) -> None:
        self.mesh.offer_addresses([other.address for other in others])

    def event(self, content: str, kind: int = 1) -> Event:
        return identity(self.name).sign(kind, (), content, int(time.time()))

    async def publish(self, content: str, kind: int = 1) -> Event:
        event = self.event(content, kind)
        assert (await self.relay.publish(event)).accepted
        return event

    async def until(self, condition: Callable[[], bool], within_s: float = 20.0) -> None:
        """Looks again and again until something is true; nothing depends on how long that takes."""
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - not all conditions have an event
                await asyncio.sleep(0.01)

    def is_linked(self, other: TestNode, path: str = "websocket") -> bool:
        status = next((s for s in self.mesh.status() if s.npub == other.npub), None)
        return status is not None and any(link.path == path for link in status.links)

    async def until_linked(self, other: TestNode, path: str = "websocket") -> None:
        await self.until(lambda: self.is_linked(other, path))

    async def until_has(self, *events: Event) -> None:
        ids = [event.id for event in events]
        await self.until(lambda: len(self.store.known(ids)) == len(ids))

    def ups(self, path: str = "websocket") -> list[LinkUp]:
        return [h for h in self.happenings if isinstance(h, LinkUp) and h.path == path]

    def downs(self) -> list[LinkDown]:
        return [h for h in self.happenings if isinstance(h, LinkDown)]

    def _emit(self, happening: MeshHappening) -> None:
        self.happenings.append(happening)

    def _emit_relay(self, happening: object) -> None:
        if isinstance(happening, Stored):
            self.stored.append(happening)
            if isinstance(self.membership.team, Team):
                self.membership.team.accept(happening.event)
            self.mesh.on_stored(happening)
            self.on_stored(happening)


@asynccontextmanager
async def two_linked(folder: Path) -> AsyncIterator[tuple[TestNode, TestNode]]:
    """alice and bob, after alice has dialled."""
    roster = SmallRoster.of("alice", "bob")
    async with TestNode("alice", roster, folder) as alice, TestNode("bob", roster, folder) as bob:
        alice.dial(bob)
        await alice.until_linked(bob)
        await bob.until_linked(alice)
        yield alice, bob


@asynccontextmanager
async def data_channel(one: TestNode, other: TestNode) -> AsyncIterator[None]:
    """A link of this kind between two nodes, through memory."""
    pipes = memory_pipes()
    carried = []
    for (node, peer), pipe in zip(((one, other), (other, one)), pipes, strict=True):
        pipe.path = "webrtc"
        carrying = node.mesh._carry_channel(peer.npub, pipe, node is one)
        carried.append(asyncio.create_task(carrying))
    try:
        await one.until_linked(other, "webrtc")
        await other.until_linked(one, "webrtc")
        yield
    finally:
        for task in carried:
            task.cancel()
        await asyncio.gather(*carried, return_exceptions=True)
