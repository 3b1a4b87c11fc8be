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
_PING = b"\x89"
BUDGET_S = 20.0
"""A slow relay is not asked everything."""


class Asked(NamedTuple):
    seconds: float
    requests: int
    waits: list[float]
    """Seconds from each request to its EOSE."""
    events: int
    wrong: list[str]
    """Classes of the queries that were answered wrongly."""


def ask(url: str, queries: Sequence[Query], connections: int) -> Asked:
    """Each connection asks its share, the next request when the last was answered, until BUDGET_S is over."""
    with Crowd() as crowd:
        askers = [_Asker(Wire(url), queries[number::connections]) for number in range(connections)]
        crowd.add(askers)
        began = time.perf_counter()
        for asker in askers:
            asker.begin(began + BUDGET_S)
        crowd.drive(lambda: all(asker.done for asker in askers))
        seconds = time.perf_counter() - began
    # Answers are checked after the clock has stopped, because that costs more than receiving them.
    answered = [pair for asker in askers for pair in zip(asker.queries, asker.replies, strict=False)]
    wrong = [query.name for query, reply in answered if not is_right(query, reply)]
    waits = [waited for asker in askers for waited in asker.waits]
    events = sum(len(query.expected) for query, _ in answered)
    return Asked(seconds, len(answered), waits, events, wrong)


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
        self._until = 0.0
        self.done = False

    def begin(self, until: float) -> None:
        self._until = until
        self._ask()

    def hear(self, data: bytes, now: float) -> None:
        if _PING in data:
            data = self._without_pings(data)
        self._parts.append(data)
        self._tail = (self._tail + data)[-_TAIL:]
        if not self._tail.endswith(b"]") or not any(end in self._tail for end in _ENDS):
            return
        self.waits.append(now - self._asked_at)
        self.replies.append(b"".join(self._parts))
        self._parts, self._tail = [], b""
        if len(self.replies) == len(self.queries) or now > self._until:
            self.done = True
        else:
            self._ask()

    def _without_pings(self, data: bytes) -> bytes:
        """Pings come while a relay is slow. The byte also occurs in lengths, so frames decide."""
        start = 0
        reply = b"".join(self._parts) + data
        while start < len(reply) and reply[start] & 0x0F in (1, 9):
            size, body = reply[start + 1] & 0x7F if start + 1 < len(reply) else 0, start + 2
            if size > 125:
                width = 2 if size == 126 else 8
                size, body = int.from_bytes(reply[body : body + width], "big"), body + width
            if reply[start] == _PING[0] and body + size <= len(reply):
                self.wire.send(frame(reply[body : body + size], 10))
                reply = reply[:start] + reply[body + size :]
                continue
            start = body + size
        self._parts = []
        self._tail = b""
        return reply

    def _ask(self) -> None:
        self._asked_at = time.perf_counter()
        self.wire.send(self._requests[len(self.replies)])
