"""Each limit of the owner is pushed past from outside, by clients of a whole node, and holds.

They are set while the node runs. Bandwidth is what arrives at the clients in ten seconds, storage what
the home takes on the disk, memory what the kernel says of the process.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from meshconsole.core.event import encode_event
from meshconsole.crypto.schnorr import sign_event
from tests.e2e.test_plain_clients import listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from scripts.machine import Machine
    from tests.homes import Homes

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

OPEN = ("privacy.share_with_team_only=off", "privacy.require_authentication=off", "relay.rate_limits=off")
OLD_S = 60
LARGE = 60_000
"""Bytes of an event."""
SETTLED = 1_500_000
WINDOW_S = 10.0
MEGABIT = 1_000_000 / 8
CLIENT = sha256(b"client").digest()


def large_events(count: int, size: int = LARGE) -> list[bytes]:
    now = int(time.time())
    return [
        b'["EVENT",%b]' % encode_event(sign_event(CLIENT, 1, (), f"{number} ".ljust(size, "x"), now - number))
        for number in range(count)
    ]


def set_limits(machine: Machine, *limits: str) -> None:
    machine.command("config", "set", *(f"limits.{limit}" for limit in limits))


@pytest.fixture
def open_node(machine: Callable[[str], Machine], init: Homes) -> Callable[..., Machine]:
    """A node that serves everybody, made by name."""

    def make(name: str, *settings: str) -> Machine:
        node = machine(name)
        init(node, "--team", "Falcon")
        node.start(*OPEN, *settings)
        return node

    return make


class Traffic:
    """Clients of one node, and the payload that each has got through in one direction."""

    def __init__(self, address: str, stack: AsyncExitStack, group: asyncio.TaskGroup) -> None:
        self._address = address
        self._stack = stack
        self._group = group
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self.passed: dict[str, int] = {}
        self.since = int(time.time()) - OLD_S

    async def connect(self) -> ClientConnection:
        return await self._stack.enter_async_context(to(self._address))

    def end(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def publish(self, name: str, events: list[bytes]) -> None:
        """Offers them as fast as they are taken; what has its OK has come in."""
        client = await self.connect()
        self.passed[name] = 0
        self._tasks += (self._group.create_task(self._offer(client, events)),)
        self._tasks += (self._group.create_task(self._acknowledged(client, name)),)

    async def read(self, name: str) -> None:
        """Asks over and over for what was stored before; what comes in now is not in the answers."""
        client = await self.connect()
        self.passed[name] = 0
        self._tasks += (self._group.create_task(self._ask(client, name)),)

    async def _offer(self, client: ClientConnection, events: list[bytes]) -> None:
        for event in events:
            await client.send(event.decode())

    async def _acknowledged(self, client: ClientConnection, name: str) -> None:
        while True:
            message = json.loads(await client.recv())
            if message[0] == "OK":
                assert message[2], message
                self.passed[name] += LARGE

    async def _ask(self, client: ClientConnection, name: str) -> None:
        while True:
            await client.send(json.dumps(["REQ", "old", {"since": self.since, "limit": 40}]))
            while not (message := await client.recv(decode=False)).startswith(b'["EOSE"'):
                self.passed[name] += len(message)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - what arrives is counted by others
            await asyncio.sleep(0.05)


async def measured(*several: Traffic) -> list[dict[str, float]]:
    """Bytes a second of each within the window, which begins when what may pass at once has passed."""
    await until(lambda: min(passed for traffic in several for passed in traffic.passed.values()) > SETTLED)
    before = [dict(traffic.passed) for traffic in several]
    start = time.monotonic()
    await asyncio.sleep(WINDOW_S)
    took = time.monotonic() - start
    return [
        {name: (passed - past[name]) / took for name, passed in traffic.passed.items()}
        for traffic, past in zip(several, before, strict=True)
    ]


def test_bandwidth_in_and_out_together_and_of_each(open_node: Callable[..., Machine]) -> None:
    """One node is read by many and written to by one, the other the other way round, in the same seconds."""
    a, b = open_node("a"), open_node("b")
    events = large_events(700)

    async def scene() -> tuple[dict[str, float], dict[str, float]]:
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            read, written = (Traffic(listening(node), stack, group) for node in (a, b))
            for traffic in (read, written):
                await traffic.publish("first", events[:40])
            await until(lambda: all(traffic.passed["first"] == 40 * LARGE for traffic in (read, written)))
            for node, traffic in ((a, read), (b, written)):
                traffic.passed.clear()
                await asyncio.to_thread(set_limits, node, "max_bandwidth_mbps=16", "max_link_mbps=8")
            for number in range(3):
                await read.read(f"reader {number}")
                await written.publish(f"writer {number}", events[100 + 200 * number : 300 + 200 * number])
            await read.publish("writer", events[100:300])
            await written.read("reader")
            out, into = await measured(read, written)
            for traffic in (read, written):
                traffic.end()
        return out, into

    out, into = asyncio.run(scene())
    together, one = 16 * MEGABIT, 8 * MEGABIT
    assert sum(rate for name, rate in out.items() if "reader" in name) == pytest.approx(together, rel=0.05)
    assert sum(rate for name, rate in into.items() if "writer" in name) == pytest.approx(together, rel=0.05)
    assert out["writer"] == pytest.approx(one, rel=0.05)
    assert into["reader"] == pytest.approx(one, rel=0.05)


def disk_bytes(home: Path) -> int:
    """What the limit speaks of: events, blocks and audit log."""
    kept = [*home.glob("node.db*"), *home.glob("audit*"), *(home / "blobs").rglob("*")]
    return sum(path.stat().st_size for path in kept if path.is_file())


def test_storage_is_never_above_its_limit(open_node: Callable[..., Machine], tmp_path: Path) -> None:
    node = open_node("a")
    limit = 24
    set_limits(node, f"max_storage_mb={limit}")
    file = tmp_path / "file.bin"
    file.write_bytes(sha256(b"file").digest() * 150_000)
    node.command("blobs", "add", str(file))
    most = 0

    async def flood() -> str:
        nonlocal most
        async with to(listening(node)) as client:
            for event in large_events(600):
                await client.send(event.decode())
                _, _, accepted, sentence = json.loads(await client.recv())
                most = max(most, disk_bytes(node.home))
                if not accepted:
                    return str(sentence)
        return "the quota never refused"

    assert asyncio.run(flood()).startswith("restricted: storage quota of 24 MB is full")
    assert most <= limit * 1_000_000
    assert most >= 0.75 * limit * 1_000_000, "what is refused too early is a limit of its own"


def resident_bytes(machine: Machine) -> int:
    assert machine.process is not None
    with open(f"/proc/{machine.process.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


def test_memory_is_given_back_and_clients_are_refused_before_the_limit_is_passed(
    open_node: Callable[..., Machine],
) -> None:
    """Every cache is filled in the mode that has the largest, then come ever more clients who do not read."""
    node = open_node("a", "limits.performance_mode=full", "limits.max_bandwidth_mbps=0")
    limit = resident_bytes(node) + 32_000_000
    set_limits(node, f"max_memory_mb={limit // 1_000_000}", "max_connections=400", "max_connections_per_ip=0")
    seen: list[int] = []

    async def push() -> None:
        address = listening(node)
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(to(address))
            for event in large_events(400, 40_000):
                await first.send(event.decode())
                await first.recv()
                seen.append(resident_bytes(node))
            for number in range(150):
                client = await enter(stack, address)
                if isinstance(client, str):
                    assert "short of memory" in client
                    break
                until = int(time.time()) - 2 * number
                await client.send(json.dumps(["REQ", "all", {"limit": 50, "until": until}]))
                await client.recv()  # and no more: what it does not take waits in the node
                seen.append(resident_bytes(node))

    asyncio.run(push())
    assert max(seen) <= limit
    assert max(seen) > 0.85 * limit, "it was not pushed"
    assert any("memory" in step for step in node.json("status")["limits"]["degraded"])


def test_connections_are_counted_and_those_beyond_are_told(open_node: Callable[..., Machine]) -> None:
    """Of twelve places three are kept for the team's links."""
    node = open_node("a")
    set_limits(node, "max_connections=12", "max_connections_per_ip=0", "new_connections_per_minute=0")

    async def scene() -> None:
        address = listening(node)
        async with AsyncExitStack() as stack:
            clients = [await enter(stack, address) for _ in range(20)]
            refused = [client for client in clients if isinstance(client, str)]
            assert len(clients) - len(refused) == 9
            assert all("connections are in use" in sentence for sentence in refused)
            await asyncio.to_thread(set_limits, node, "max_connections=40")
            more = [await enter(stack, address) for _ in range(10)]
            assert not any(isinstance(client, str) for client in more)
            await asyncio.to_thread(set_limits, node, "max_connections=12")
            assert isinstance(await enter(stack, address), str)
            last = more[-1]
            assert not isinstance(last, str)
            await last.send('["REQ","s",{"limit":1}]')
            assert "EOSE" in str(await last.recv()), "who is in stays"

    asyncio.run(scene())


@asynccontextmanager
async def to(address: str) -> AsyncIterator[ClientConnection]:
    """A client that leaves without a goodbye, which would wait behind all that is on its way."""
    client = await connect(
        f"ws://{address}/", proxy=None, compression=None, max_size=None, ping_interval=None, close_timeout=1
    )
    try:
        yield client
    finally:
        client.transport.abort()
        await client.wait_closed()


async def enter(stack: AsyncExitStack, address: str) -> ClientConnection | str:
    """A client, or the sentence that it was refused with."""
    try:
        return await stack.enter_async_context(to(address))
    except InvalidStatus as error:
        return (error.response.body or b"").decode()
