"""How much slower each class of request becomes when a store grows, side by side in the same minutes."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from copy import copy
from typing import TYPE_CHECKING

from bench.relay import corpus, reading, writing
from bench.relay.phases import CLASS_REQUESTS, MIX_CONNECTIONS, MIX_REQUESTS, classes, reference_of
from bench.relay.queries import MIX, queries
from bench.relay.summary import Metrics, median, percentile
from bench.relay.wire import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.relay.servers import Server

ROUNDS = 3
_STEP = 50_000


def grow(servers: Sequence[Server], few: int, many: int) -> dict[str, Metrics]:
    """By relay: the mix at `many` stored events, and each class's p50 there, and to that at `few`."""
    with ExitStack() as stack:
        pairs = []
        for each in servers:
            if not each.restartable:
                raise BenchError("only relays that the bench starts can be asked with two stores")
            small, large = copy(each), copy(each)
            for one, count in ((small, few), (large, many)):
                stack.callback(one.stop)
                one.start()
                _fill(one, corpus.corpus(count))
            pairs.append((small, large))
        # All have the same number of rounds, in turn, so that the machine's moods weigh on all alike.
        found = [
            [_asked(small, large, few, many, number) for small, large in pairs] for number in range(ROUNDS)
        ]
    return {
        each.name: {name: median([of_round[place][name] for of_round in found]) for name in found[0][place]}
        for place, each in enumerate(servers)
    }


def _asked(small: Server, large: Server, few: int, many: int, number: int) -> Metrics:
    at_few, at_many = reference_of(few, (0,)), reference_of(many, (0,))
    mix = reading.ask(large.url, queries(at_many, MIX, MIX_REQUESTS, number), MIX_CONNECTIONS)
    metrics: Metrics = {f"REQ mix at {many:,}": mix.requests / mix.seconds}
    wrong = list(mix.wrong)
    slower: Metrics = {}
    for name in classes(large):
        before = reading.ask(small.url, queries(at_few, (name,), CLASS_REQUESTS, number), 1)
        after = reading.ask(large.url, queries(at_many, (name,), CLASS_REQUESTS, number), 1)
        metrics[f"{name}, p50 at {many:,}"] = percentile(after.waits, 0.5) * 1000
        metrics[f"{name}, p99 at {many:,}"] = percentile(after.waits, 0.99) * 1000
        slower[f"{name}, grown"] = percentile(after.waits, 0.5) / percentile(before.waits, 0.5)
        wrong += before.wrong + after.wrong
    if wrong:
        told = ", ".join(f"{name} {count}" for name, count in Counter(wrong).items())
        print(f"    {large.name}: wrong answers: {told}", flush=True)
    return {
        **metrics,
        **slower,
        "slowest class, grown": max(slower.values()),
        f"wrong answers at {many:,}": len(wrong),
    }


def _fill(server: Server, events: list[bytes]) -> None:
    for start in range(0, len(events), _STEP):
        writing.ingest(server.url, corpus.frames(events[start : start + _STEP]))
