"""What it takes to ask: a mix of requests, then each class of request by itself. Every answer is checked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from bench.relay.queries import is_right
from bench.relay.wire import Crowd, Wire, frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.relay.queries import Query

_ENDS = (b'["EOSE"', b'["CLOSED"')
"""A refused request is an answer too, and a wrong one."""
_TAIL = 300


class Asked(NamedTuple):
    seconds: float
    waits: list[float]
    """Seconds from each request to its EOSE."""
    events: int
    wrong: list[str]
    """Classes of the queries that were answered wrongly."""


def ask(url: str, queries: Sequence[Query], connections: int) -> Asked:
    """Each connection asks its share, the next request when the last was answered."""
    with Crowd() as crowd:
        askers = [_Asker(Wire(url), queries[number::connections]) for number in range(connections)]
        crowd.add(askers)
        began = time.perf_counter()
        for asker in askers:
            asker.begin()
        crowd.drive(lambda: all(asker.done for asker in askers))
        seconds = time.perf_counter() - began
    # Answers are checked after the clock has stopped, because that costs more than receiving them.
    wrong = [
        query.name
        for asker in askers
        for query, reply in zip(asker.queries, asker.replies, strict=True)
        if not is_right(query, reply)
    ]
    waits = [waited for asker in askers for waited in asker.waits]
    return Asked(seconds, waits, sum(len(query.expected) for query in queries), wrong)


class _Asker:
    def __init__(self, wire: Wire, queries: Sequence[Query]) -> None:
        self.wire = wire
        self.queries = queries
        self.replies: list[bytes] = []
        self.waits: list[float] = []
        self._requests = [
            (frame(b'["CLOSE","q%d"]' % (number - 1)) if number else b"")
            + frame(b'["REQ","q%d",%b]' % (number, query.request))
            for number, query in enumerate(queries)
        ]
        self._parts: list[bytes] = []
        self._tail = b""
        self._asked_at = 0.0

    @property
    def done(self) -> bool:
        return len(self.replies) == len(self.queries)

    def begin(self) -> None:
        self._ask()

    def hear(self, data: bytes, now: float) -> None:
        self._parts.append(data)
        self._tail = (self._tail + data)[-_TAIL:]
        if not self._tail.endswith(b"]") or not any(end in self._tail for end in _ENDS):
            return
        self.waits.append(now - self._asked_at)
        self.replies.append(b"".join(self._parts))
        self._parts, self._tail = [], b""
        if not self.done:
            self._ask()

    def _ask(self) -> None:
        self._asked_at = time.perf_counter()
        self.wire.send(self._requests[len(self.replies)])
