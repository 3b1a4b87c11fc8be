"""How stores stay in sync: comparing large ones, passing on over hops, and the first event after a start.

The nodes of the first two are in one process, with real stores, servers and links on loopback: their loop is
shared, so that latencies are rather too long than too short. The last one starts two nodes as a user does.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import tempfile
import threading
import time
from contextlib import AsyncExitStack
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from bench.figures import Figure, ratio
from bench.nodes import a_pair
from meshconsole.control.blocking import call
from meshconsole.control.messages import EventsData, ListEvents
from meshconsole.control.notes import SendNote
from meshconsole.core.event import Event, encode_event
from meshconsole.core.kinds import TEAM_NOTE
from meshconsole.relay.store import Entry
from tests.mesh.devices import identity
from tests.mesh.nodes import SmallRoster, TestNode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.machine import Machine

SHARED = 100_000
MISSING = 100
BATCH = 2000
LATE_NOTES = 300
HOPS = (1, 3)


def measure() -> list[Figure]:
    return [*asyncio.run(_comparing()), *asyncio.run(_hops()), *_first_event()]


# --- Comparing -------------------------------------------------------------------------------------


def _unsigned(number: int) -> Entry:
    """As large as a short note. Both stores hold it, so that nobody looks at its signature."""
    identifier = sha256(str(number).encode()).hexdigest()
    tags = (("h", "0" * 16), ("k", "0" * 16))
    event = Event(identifier, "ab" * 32, 1_700_000_000 + number, TEAM_NOTE, tags, "c" * 400, "0" * 128)
    return Entry(event, encode_event(event))


async def _comparing() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="meshconsole-bench-") as folder:
        roster = SmallRoster.of("alpha", "bravo")
        async with AsyncExitStack() as stack:
            alpha, bravo = [
                await stack.enter_async_context(TestNode(name, roster, Path(folder)))
                for name in ("alpha", "bravo")
            ]
            whole = 0
            for start in range(0, SHARED, BATCH):
                batch = [_unsigned(number) for number in range(start, start + BATCH)]
                whole += sum(len(entry.raw) for entry in batch)
                for node in (alpha, bravo):
                    await asyncio.to_thread(node.store.write, batch)
            missing = [alpha.event(f"missing {number}", TEAM_NOTE) for number in range(MISSING)]
            at = random.Random(1)
            missing = [_dated(alpha, event, at.randrange(SHARED)) for event in missing]
            await alpha.relay.publish_many(missing)
            carried = alpha.meter.sent + bravo.meter.sent
            began = time.perf_counter()
            alpha.dial(bravo)
            await bravo.until_has(*missing)
            took = time.perf_counter() - began
            for node in (alpha, bravo):
                await node.until(lambda node=node: node.mesh.status()[0].lag_events == 0)  # type: ignore[misc]
            carried = alpha.meter.sent + bravo.meter.sent - carried
    return [
        Figure(f"{SHARED:,} events, {MISSING} missing: until they are here", took, "s", "promised 2"),
        Figure("bytes of that, handshake included", carried / 1e3, "kB"),
        ratio("of the full transfer", carried, whole, "promised 0.02"),
    ]


def _dated(node: TestNode, event: Event, offset: int) -> Event:
    """Missing ones lie anywhere among the others."""
    return identity(node.name).sign(event.kind, event.tags, event.content, 1_700_000_000 + offset)


# --- Hops ------------------------------------------------------------------------------------------


async def _hops() -> list[Figure]:
    figures: list[Figure] = []
    for hops in HOPS:
        with tempfile.TemporaryDirectory(prefix="meshconsole-bench-") as folder:
            figures += _latencies(f"{hops} hop{'s' * (hops > 1)}", await _pass_on(Path(folder), hops))
    return figures


async def _pass_on(folder: Path, hops: int) -> list[float]:
    names = [f"node{number}" for number in range(hops + 1)]
    async with AsyncExitStack() as stack:
        nodes = []
        for number, name in enumerate(names):
            known = SmallRoster.of(*names[max(0, number - 1) : number + 2])
            nodes.append(await stack.enter_async_context(TestNode(name, known, folder)))
        for near, far in itertools.pairwise(nodes):
            near.dial(far)
            await near.until_linked(far)
        took = []
        for number in range(LATE_NOTES):
            came = asyncio.Event()
            nodes[-1].on_stored = lambda _stored, came=came: came.set()  # type: ignore[misc]
            began = time.perf_counter()
            await nodes[0].publish(f"note {number}", TEAM_NOTE)
            await came.wait()
            took.append(time.perf_counter() - began)
        return took


def _latencies(name: str, seconds: Sequence[float]) -> list[Figure]:
    ordered = sorted(seconds)
    return [
        Figure(f"stored at the other end of {name}, p50", ordered[len(ordered) // 2] * 1e3, "ms"),
        Figure(f"stored at the other end of {name}, p99", ordered[int(len(ordered) * 0.99)] * 1e3, "ms"),
    ]


# --- The first event -------------------------------------------------------------------------------


def _first_event() -> list[Figure]:
    """Alpha has a note that bravo lacks; both start at once."""
    with a_pair() as (alpha, bravo):
        bravo.kill(15)
        call(alpha.home / "control.sock", SendNote("waiting for bravo")).or_raise()
        alpha.kill(15)
        began = time.perf_counter()
        starting = threading.Thread(target=alpha.start)
        starting.start()
        bravo.start()
        _until_shown(bravo, "waiting for bravo")
        took = time.perf_counter() - began
        starting.join()
    return [Figure("two nodes, from start to first event exchanged", took, "s", "promised 1.5")]


def _until_shown(node: Machine, text: str) -> None:
    while True:
        data = call(node.home / "control.sock", ListEvents(20)).or_raise().data
        if isinstance(data, EventsData) and any(event.text == text for event in data.events):
            return
        time.sleep(0.01)
