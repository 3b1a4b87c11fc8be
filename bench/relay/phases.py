"""The phases of a round. Each is one thing that is asked of one relay, and gives metrics by name.

Phases run in the order of PHASES, because later ones need what earlier ones stored.
"""

from __future__ import annotations

import time
import urllib.request
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from bench.relay import corpus, delivery, reading, writing
from bench.relay.queries import CLASSES, MIX, PLAIN, Reference, queries
from bench.relay.summary import Metrics, percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.relay.servers import Server

FIRST_REQUESTS = 1500
"""After taking in, with whatever is in caches then."""

MIX_REQUESTS = 6000
MIX_CONNECTIONS = 4
CLASS_REQUESTS = 120
FEW = 20_000
"""Events of the shorter phases."""
LATENCIES = 300
LIVE_PER_SECOND = 20
LIVE_EVENTS = 100
SETTLE_S = 5.0
REST_S = 9.0
"""After the load: by then what only that needed is given back, and a process for signatures has ended."""
UNITS = {
    "start to first EOSE": "ms",
    **{
        f"{size} {moment}{whose}": "MB"
        for moment in ("idle", "loaded", "rested")
        for size in ("RSS", "USS")
        for whose in ("", ", first process", ", those below it")
    },
    "ingest": "events/s",
    "CPU per event": "us",
    "ingest beside 500 idle": "events/s",
    "ingest, without them": "events/s",
    "duplicates": "events/s",
    "durable OK, p50": "ms",
    "durable OK, p99": "ms",
    "durable OK, 8 connections, p50": "ms",
    "durable OK, 8 connections, p99": "ms",
    "REQ mix": "requests/s",
    "REQ mix, the first": "requests/s",
    "REQ mix, events": "events/s",
    "CPU per request": "us",
    "fan-out to 100": "copies/s",
    "fan-out to 500": "copies/s",
    "fan-out to 100, one in flight": "copies/s",
    "live to 100, p50": "ms",
    "live to 100, p99": "ms",
    **{f"{name}, {share}": "ms" for name in CLASSES for share in ("p50", "p99")},
}


class Plan:
    """What a run is about: how many events, and what each relay holds so far."""

    def __init__(self, events: int) -> None:
        self.events = events
        self.few = min(FEW, events)
        self.held: dict[str, list[int]] = {}
        """By relay: the seeds of the corpora in its store."""

    def seed(self, server: Server, number: int) -> int:
        """A relay that runs on holds the last round's events, so that each round brings others."""
        return 0 if server.restartable else number

    def fresh(self, server: Server) -> None:
        if server.restartable:
            self.held[server.name] = []


def ingest(plan: Plan, server: Server, number: int) -> Metrics:
    time.sleep(SETTLE_S)
    idle = server.memory()
    seed = plan.seed(server, number)
    frames = corpus.frames(corpus.corpus(plan.events, seed))
    metrics, seconds = _timed(server, lambda: writing.ingest(server.url, frames), len(frames))
    plan.held.setdefault(server.name, []).append(seed)
    time.sleep(1)
    loaded = server.memory()
    time.sleep(REST_S)
    return {
        **idle.metrics("idle"),
        "ingest": len(frames) / seconds,
        **metrics,
        **loaded.metrics("loaded"),
        **server.memory().metrics("rested"),
    }


def requests(plan: Plan, server: Server, number: int) -> Metrics:
    reference = reference_of(plan.events, tuple(plan.held.get(server.name, ())))
    asked = queries(reference, MIX, FIRST_REQUESTS + MIX_REQUESTS, number)
    first = reading.ask(server.url, asked[:FIRST_REQUESTS], MIX_CONNECTIONS)
    before = server.cpu_s()
    mix = reading.ask(server.url, asked[FIRST_REQUESTS:], MIX_CONNECTIONS)
    mix.wrong.extend(first.wrong)
    metrics: Metrics = {
        "REQ mix, the first": first.requests / first.seconds,
        "REQ mix": mix.requests / mix.seconds,
        "REQ mix, events": mix.events / mix.seconds,
        "CPU per request": (server.cpu_s() - before) / mix.requests * 1e6,
    }
    wrong = len(mix.wrong)
    for name in classes(server):
        alone = reading.ask(server.url, queries(reference, (name,), CLASS_REQUESTS, number + 100), 1)
        metrics[f"{name}, p50"] = percentile(alone.waits, 0.5) * 1000
        metrics[f"{name}, p99"] = percentile(alone.waits, 0.99) * 1000
        wrong += len(alone.wrong)
        mix.wrong.extend(alone.wrong)
    metrics["wrong answers"] = wrong
    if wrong:
        print(f"    {server.name}: {wrong} wrong answers: {', '.join(sorted(set(mix.wrong)))}", flush=True)
    return metrics


def duplicates(plan: Plan, server: Server, number: int) -> Metrics:
    frames = corpus.frames(corpus.corpus(plan.events, plan.seed(server, number))[: plan.few])
    return {"duplicates": len(frames) / writing.ingest(server.url, frames, again=True)}


def idle(plan: Plan, server: Server, number: int) -> Metrics:
    seed = plan.seed(server, number)
    first, beside, last = (
        corpus.frames(corpus.notes(purpose, plan.few, seed)) for purpose in ("before", "beside", "after")
    )
    alone = writing.ingest(server.url, first)
    watched = writing.ingest_beside_idle(server.url, beside)
    alone_again = writing.ingest(server.url, last)
    without = 2 * plan.few / (alone + alone_again)
    return {
        "ingest beside 500 idle": plan.few / watched,
        "ingest, without them": without,
        "ingest beside 500 idle, to without": plan.few / watched / without,
    }


def latency(plan: Plan, server: Server, number: int) -> Metrics:
    frames = corpus.frames(corpus.notes("latency", LATENCIES * 5, plan.seed(server, number)))
    alone = writing.acknowledgements(server.url, frames[:LATENCIES], 1)
    together = writing.acknowledgements(server.url, frames[LATENCIES:], 8)
    return {
        "durable OK, p50": percentile(alone, 0.5) * 1000,
        "durable OK, p99": percentile(alone, 0.99) * 1000,
        "durable OK, 8 connections, p50": percentile(together, 0.5) * 1000,
        "durable OK, 8 connections, p99": percentile(together, 0.99) * 1000,
    }


def fanout(plan: Plan, server: Server, number: int) -> Metrics:
    seed = plan.seed(server, number)
    metrics: Metrics = {}
    for subscribers, count in ((100, 3000), (500, 1200)):
        purpose = f"fan{subscribers}"
        frames = corpus.frames(corpus.notes(purpose, count, seed))
        own = time.process_time()
        seconds, copies = delivery.rate(server.url, frames, corpus.author_of(purpose, seed), subscribers)
        metrics[f"fan-out to {subscribers}"] = copies / seconds
        metrics[f"client's share, fan-out to {subscribers}"] = (time.process_time() - own) / seconds
    frames = corpus.frames(corpus.notes("single", 100, seed))
    seconds, copies = delivery.one_in_flight(server.url, frames, corpus.author_of("single", seed), 100)
    metrics["fan-out to 100, one in flight"] = copies / seconds
    events = corpus.notes("live", LIVE_EVENTS, seed)
    waits = delivery.latencies(
        server.url,
        corpus.frames(events),
        [event[7:71].decode() for event in events],
        corpus.author_of("live", seed),
        100,
        LIVE_PER_SECOND,
    )
    metrics["live to 100, p50"] = percentile(waits, 0.5) * 1000
    metrics["live to 100, p99"] = percentile(waits, 0.99) * 1000
    return metrics


PHASES: dict[str, Callable[[Plan, Server, int], Metrics]] = {
    "ingest": ingest,
    "req": requests,
    "duplicates": duplicates,
    "idle": idle,
    "latency": latency,
    "fanout": fanout,
}
"""Each needs `ingest`, which is therefore never left out."""


def prepare(plan: Plan, seeds: Sequence[int]) -> None:
    """Signs what is not signed yet, before any clock runs."""
    for seed in seeds:
        corpus.corpus(plan.events, seed)
        for purpose in ("before", "beside", "after"):
            corpus.notes(purpose, plan.few, seed)
        corpus.notes("latency", LATENCIES * 5, seed)
        for purpose, count in (("fan100", 3000), ("fan500", 1200), ("single", 100), ("live", LIVE_EVENTS)):
            corpus.notes(purpose, count, seed)


def _timed(server: Server, work: Callable[[], float], count: int) -> tuple[Metrics, float]:
    before, own = server.cpu_s(), time.process_time()
    seconds = work()
    return {
        "CPU per event": (server.cpu_s() - before) / count * 1e6,
        "client's share, ingest": (time.process_time() - own) / seconds,
    }, seconds


@lru_cache(maxsize=2)
def reference_of(events: int, seeds: tuple[int, ...]) -> Reference:
    return Reference(line for seed in seeds for line in corpus.corpus(events, seed))


def classes(server: Server) -> tuple[str, ...]:
    """Of requests that the relay can answer: searches only where its NIP-11 document offers them."""
    wanted = {"Accept": "application/nostr+json"}
    asked = urllib.request.Request(server.url.replace("ws://", "http://"), headers=wanted)
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            searches = 50 in msgspec.json.decode(answer.read()).get("supported_nips", ())
    except (OSError, msgspec.DecodeError):
        searches = False
    return (*PLAIN, "search") if searches else PLAIN
