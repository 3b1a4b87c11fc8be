"""The event store alone: what an event costs to take in, and what a query costs as the store grows tenfold.

Processor time, not time on the clock: what else the machine does weighs less on it. MESHCONSOLE_BENCH_EVENTS
is the larger size.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from bench.figures import Figure
from meshconsole.core.event import Event, encode_event, event_id
from meshconsole.relay.filter import Filter
from meshconsole.relay.sqlite import SqliteEventStore
from meshconsole.relay.store import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVENTS = int(os.environ.get("MESHCONSOLE_BENCH_EVENTS", "200000"))
BATCH = 512
ASKED = 200
END = 1_790_000_000
SPACING_S = 8
AUTHORS = [sha256(b"%d" % number).hexdigest() for number in range(500)]
WORDS = [sha256(b"word %d" % number).hexdigest()[: 3 + number % 8] for number in range(3000)]


def measure() -> list[Figure]:
    figures: list[Figure] = []
    costs: dict[int, dict[str, float]] = {}
    for count in (EVENTS // 10, EVENTS):
        with tempfile.TemporaryDirectory() as folder:
            store = SqliteEventStore(Path(folder) / "node.db", os.urandom(32), os.urandom(32))
            try:
                figures += _fill(store, count)
                costs[count] = _ask(store, count)
                figures += _copy(store, Path(folder) / "copy.db")
            finally:
                store.close()
    small, large = costs.values()
    for name, cost in large.items():
        note = f"{cost / small[name]:.2f} x of what it costs with {EVENTS // 10:,} events"
        figures.append(Figure(f"query: {name}", cost, "us CPU", note))
    return figures


def _fill(store: SqliteEventStore, count: int) -> list[Figure]:
    entries: list[Entry] = []
    spent: list[float] = []
    for entry in _events(count):
        entries.append(entry)
        if len(entries) == BATCH:
            began = time.thread_time()
            store.write(entries)
            spent.append(time.thread_time() - began)
            entries = []
    store.write(entries)
    began = time.process_time()
    store.query([Filter(search="nothing")], 1)
    while store._words.indexed < store.head_seq:
        store._index_step(True)
    indexing = time.process_time() - began
    last = spent[-max(1, len(spent) // 10) :]
    note = f"{count:,} events, the last tenth; batches of {BATCH}"
    return [
        Figure("taking in an event", 1e6 * statistics.mean(last) / BATCH, "us CPU", note),
        Figure(
            "indexing its words afterwards, at most", 1e6 * indexing / count, "us CPU", f"{count:,} events"
        ),
        Figure("an event on the disk", store.usage().bytes / count, "bytes", f"{count:,} events"),
    ]


def _ask(store: SqliteEventStore, count: int) -> dict[str, float]:
    chance = random.Random(1)
    events = [entry.event for number, entry in enumerate(_events(count)) if number % (count // 2000) == 0]
    tagged = [event.tags for event in events if event.kind != 30023 and event.tags]

    def author() -> str:
        return chance.choice(AUTHORS)

    def window() -> Filter:
        until = chance.choice(events).created_at
        return Filter(since=until - 500 * SPACING_S, until=until, limit=500)

    def tag(place: int, limit: int, kinds: frozenset[int] | None = None) -> Filter:
        letter, value = chance.choice(tagged)[place]
        return Filter(tags=((letter, frozenset({value})),), kinds=kinds, limit=limit)

    classes: dict[str, Callable[[], Filter]] = {
        "10 ids": lambda: Filter(ids=frozenset(event.id for event in chance.sample(events, 10))),
        "author and kind, 20": lambda: Filter(authors=frozenset({author()}), kinds=frozenset({1}), limit=20),
        "10 authors, 100": lambda: Filter(authors=frozenset(author() for _ in range(10)), limit=100),
        "200 authors, 2 kinds, 100": lambda: Filter(
            authors=frozenset(chance.sample(AUTHORS, 200)), kinds=frozenset({1, 6}), limit=100
        ),
        "#e, 100": lambda: tag(0, 100),
        "#p, 50": lambda: tag(1, 50),
        "#p of a rare kind, 50": lambda: tag(1, 50, frozenset({6})),
        "window, 500": window,
        "kind, 500": lambda: Filter(kinds=frozenset({6}), limit=500),
        "search, 2 words": lambda: Filter(search=" ".join(chance.sample(WORDS[300:], 2)), limit=100),
        "count of an author": lambda: Filter(authors=frozenset({author()}), kinds=frozenset({6})),
    }
    return {name: _cost(store, name, make) for name, make in classes.items()}


def _cost(store: SqliteEventStore, name: str, make: Callable[[], Filter]) -> float:
    spent = []
    for _ in range(ASKED):
        wanted = make()
        began = time.thread_time()
        if name.startswith("count"):
            store.tally([wanted], 100_000)
        else:
            store.query([wanted], 500)
        spent.append(time.thread_time() - began)
    return 1e6 * statistics.median(spent)


def _copy(store: SqliteEventStore, destination: Path) -> list[Figure]:
    began = time.process_time()
    store.backup(destination)
    seconds = time.process_time() - began
    return [
        Figure(
            "a backup", destination.stat().st_size / 1e6 / seconds, "MB/s CPU", f"{store.count():,} events"
        )
    ]


def _events(count: int) -> Iterator[Entry]:
    """Like what a relay holds, in order of time; signatures are not looked at here."""
    chance = random.Random(count)
    targets: list[tuple[str, str]] = []
    weights = [1 / (rank + 3) for rank in range(len(WORDS))]
    texts = chance.choices(WORDS, weights, k=200_000)
    for number in range(count):
        pubkey = chance.choice(AUTHORS)
        kind = chance.choices((1, 7, 6, 30023), (66, 27, 4, 3))[0]
        start = chance.randrange(len(texts) - 40)
        content = "+" if kind == 7 else " ".join(texts[start : start + chance.randint(8, 40)])
        tags: tuple[tuple[str, ...], ...] = ()
        if kind == 30023:
            tags = (("d", f"article-{number}"),)
        elif targets and (kind != 1 or chance.random() < 0.4):
            identifier, author = chance.choice(targets)
            tags = (("e", identifier), ("p", author))
        created_at = END - (count - number) * SPACING_S
        name = event_id(pubkey, created_at, kind, tags, content).hex()
        event = Event(name, pubkey, created_at, kind, tags, content, "5a" * 64)
        yield Entry(event, encode_event(event))
        if kind == 1 and chance.random() < 0.1:
            targets = [*targets[-300:], (name, pubkey)]
