"""The event store on PostgreSQL beside the embedded one: ingest, requests, and events between processes.

Both stores get the same events in the same batches, in turn, on this machine; PostgreSQL is one of our own
as `initdb` sets it up, with everything durable, over a Unix socket. What is measured is the store: no
signatures, no WebSockets. Processor time counts this process and all of the server's: it says what the work
costs, where the clock also says how busy the machine is.
"""

from __future__ import annotations

import contextlib
import random
import statistics
import tempfile
import threading
import time
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from bench.figures import Figure, percentiles, ratio
from meshconsole.core.event import Event, encode_event, event_id
from meshconsole.relay.filter import Filter
from meshconsole.relay.sqlite import SqliteEventStore
from meshconsole.relay.store import Entry
from scripts.postgres import MISSING, Cluster, programs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshconsole.relay.postgres.store import PostgresEventStore
    from meshconsole.relay.store import EventStore, FeedRow

EVENTS = 50_000
BATCHES = {1000: 40_000, 100: 8_000, 10: 1_600, 1: 400}
"""Batch size -> events written in batches of that size."""

AUTHORS = 500
REPEAT = 100
NOW = 1_800_000_000


def measure() -> list[Figure]:
    binaries = programs()
    if binaries is None:
        return [Figure("PostgreSQL", 0, "", MISSING)]
    from meshconsole.relay.postgres.store import PostgresEventStore

    entries = _entries()
    with ExitStack() as stack:
        cluster = Cluster(binaries)
        stack.callback(cluster.remove)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="meshconsole-bench-"))
        embedded = SqliteEventStore(Path(folder) / "node.db", bytes(32), bytes(32))
        stack.callback(embedded.close)
        postgres, other = PostgresEventStore(cluster.url()), PostgresEventStore(cluster.url())
        stack.callback(postgres.close)
        stack.callback(other.close)
        figures = [Figure("server", 0, "", postgres.description.partition(" at ")[0])]
        cpu = _Cpu(cluster.pid)
        figures += _ingest(embedded, postgres, entries, cpu)
        cluster.execute("vacuum analyze")  # what PostgreSQL does by itself, a little later
        figures += _requests(embedded, postgres, cpu)
        figures += _between(postgres, other)
    return figures


class _Cpu:
    """Seconds of processor time that this process and the server have used."""

    def __init__(self, pid: int) -> None:
        self._server = psutil.Process(pid)

    def used(self) -> float:
        gone = self._server.cpu_times()
        total = time.process_time() + gone.children_user + gone.children_system
        for process in (self._server, *self._server.children()):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total


def _ingest(embedded: EventStore, postgres: EventStore, entries: Sequence[Entry], cpu: _Cpu) -> list[Figure]:
    figures: list[Figure] = []
    start = 0
    for size, count in BATCHES.items():
        rates: dict[str, list[float]] = {"embedded": [], "PostgreSQL": []}
        costs = dict.fromkeys(rates, 0.0)
        for at in range(start, start + count, count // 4):
            piece = entries[at : at + count // 4]
            for name, store in (("embedded", embedded), ("PostgreSQL", postgres)):
                began, used = time.perf_counter(), cpu.used()
                for first in range(0, len(piece), size):
                    written = store.write(piece[first : first + size])
                    assert all(each.seq for each in written)
                rates[name].append(len(piece) / (time.perf_counter() - began))
                costs[name] += cpu.used() - used
        start += count
        label = f"ingest, batches of {size}"
        for name, several in rates.items():
            note = f"{costs[name] / count * 1e6:.0f} us of processor time each"
            figures.append(Figure(f"{label}, {name}", statistics.median(several), "events/s", note))
        figures.append(ratio(f"{label}, cost", costs["PostgreSQL"], costs["embedded"], "embedded is 1"))
    return figures


def _requests(embedded: EventStore, postgres: EventStore, cpu: _Cpu) -> list[Figure]:
    figures: list[Figure] = []
    for name, filters in _asked().items():
        costs: dict[str, float] = {}
        answers: dict[str, list[list[bytes]]] = {}
        for which, store in (("embedded", embedded), ("PostgreSQL", postgres)):
            took: list[float] = []
            answers[which] = []
            used = cpu.used()
            for wanted in filters:
                began = time.perf_counter()
                answers[which].append(store.query([wanted], 500))
                took.append(time.perf_counter() - began)
            costs[which] = cpu.used() - used
            note = f"{costs[which] / len(filters) * 1e6:.0f} us of processor time each"
            figures.append(Figure(f"{name}, {which}, median", statistics.median(took) * 1000, "ms", note))
        # Which events fit a search best is each store's own matter.
        assert filters[0].search or answers["embedded"] == answers["PostgreSQL"], name
        figures.append(ratio(f"{name}, cost", costs["PostgreSQL"], costs["embedded"], "embedded is 1"))
    return figures


def _between(writer: PostgresEventStore, reader: PostgresEventStore) -> list[Figure]:
    """From before the write in one process's store until another one's has heard of it."""
    heard = threading.Event()

    def hear(rows: Sequence[FeedRow]) -> None:
        heard.set()

    reader.follow(hear)
    delays: list[float] = []
    for entry in _entries(salt="between", count=200):
        heard.clear()
        began = time.perf_counter()
        writer.write([entry])
        assert heard.wait(10)
        delays.append(time.perf_counter() - began)
    reader.unfollow()
    return percentiles("stored by one process, heard by another", delays[20:])


def _asked() -> dict[str, list[Filter]]:
    chance = random.Random(1)

    def author() -> str:
        return _npub(chance.randrange(AUTHORS))

    return {
        "notes of an author": [
            Filter(authors=frozenset({author()}), kinds=frozenset({1}), limit=20) for _ in range(REPEAT)
        ],
        "notes of 20 authors": [
            Filter(authors=frozenset(author() for _ in range(20)), kinds=frozenset({1}), limit=50)
            for _ in range(REPEAT)
        ],
        "mentions of a key": [Filter(tags=(("p", frozenset({author()})),), limit=50) for _ in range(REPEAT)],
        "newest 500": [Filter(limit=500)] * REPEAT,
        "a kind, newest 100": [Filter(kinds=frozenset({7}), limit=100)] * REPEAT,
        "a search": [Filter(search=f"word{chance.randrange(2000)}", limit=20) for _ in range(REPEAT)],
    }


def _entries(salt: str = "", count: int = EVENTS) -> list[Entry]:
    chance = random.Random(salt)
    entries = []
    for number in range(count):
        pubkey = _npub(int(chance.paretovariate(0.7)) % AUTHORS)
        tags = (("p", _npub(chance.randrange(AUTHORS))), ("t", chance.choice("abcdefgh")))
        words = " ".join(f"word{chance.randrange(2000)}" for _ in range(15))
        kind, created_at = chance.choice((1, 1, 1, 7, 6)), NOW + number // 5
        content = f"{salt} {number} {words}"
        name = event_id(pubkey, created_at, kind, tags, content).hex()
        event = Event(name, pubkey, created_at, kind, tags, content, "00" * 64)
        entries.append(Entry(event, encode_event(event)))
    return entries


def _npub(number: int) -> str:
    return sha256(str(number).encode()).hexdigest()
