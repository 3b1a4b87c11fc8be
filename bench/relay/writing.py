"""What it takes to publish: at full speed, beside idle subscriptions, again, and one by one."""

from __future__ import annotations

import os
import time
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from bench.relay.wire import BenchError, Counter, Crowd, Idle, Wire

if TYPE_CHECKING:
    from collections.abc import Sequence

CONNECTIONS = 8
WINDOW = 256
"""Events that each connection has under way."""
IDLE_CONNECTIONS = 50
IDLE_SUBSCRIPTIONS = 10


def ingest(url: str, frames: Sequence[bytes], *, again: bool = False) -> float:
    """Seconds until every event was answered. `again`: they are held already, which some call refused."""
    with Crowd() as crowd:
        return _publish(crowd, url, frames, again=again)


def ingest_beside_idle(url: str, frames: Sequence[bytes]) -> float:
    """As `ingest`, while 500 subscriptions wait for authors who write nothing."""
    with Crowd() as crowd:
        idle = [Idle(url, _requests()) for _ in range(IDLE_CONNECTIONS)]
        crowd.add(idle)
        crowd.drive(lambda: all(each.ready >= each.expected for each in idle))
        return _publish(crowd, url, frames)


def acknowledgements(url: str, frames: Sequence[bytes], connections: int) -> list[float]:
    """Seconds from an event to its OK, with one under way per connection."""
    with Crowd() as crowd:
        senders = [_Sender(Wire(url), frames[number::connections], 1) for number in range(connections)]
        crowd.add(senders)
        for sender in senders:
            sender.begin()
        crowd.drive(lambda: all(sender.done for sender in senders))
        return [waited for sender in senders for waited in sender.waits]


def _publish(crowd: Crowd, url: str, frames: Sequence[bytes], *, again: bool = False) -> float:
    senders = [
        _Sender(Wire(url), frames[number::CONNECTIONS], WINDOW, again=again) for number in range(CONNECTIONS)
    ]
    crowd.add(senders)
    began = time.perf_counter()
    for sender in senders:
        sender.begin()
        crowd.kick(sender)
    crowd.drive(lambda: all(sender.done for sender in senders))
    return time.perf_counter() - began


def _requests() -> list[bytes]:
    wanted = {"kinds": [1], "authors": [os.urandom(32).hex() for _ in range(5)]}
    return [msgspec.json.encode(("REQ", f"idle{number}", wanted)) for number in range(IDLE_SUBSCRIPTIONS)]


class _Sender:
    """Publishes its share, so many at a time."""

    def __init__(self, wire: Wire, frames: Sequence[bytes], window: int, *, again: bool = False) -> None:
        self.wire = wire
        self.waits: list[float] = []
        self._frames = frames
        self._window = window
        self._again = again
        self._sent = 0
        self._answered = 0
        self._oks = Counter(b'["OK",')
        self._refusals = Counter(b"false,")
        self._sent_at: deque[float] = deque()

    @property
    def done(self) -> bool:
        return self._answered >= len(self._frames)

    def begin(self) -> None:
        self._send(self._window)

    def hear(self, data: bytes, now: float) -> None:
        if self._refusals.feed(data) and not (self._again and b"duplicate" in data):
            raise BenchError(f"the relay refused an event: {data[:300]!r}")
        answered = self._oks.feed(data)
        self._answered += answered
        if self._window == 1 and answered:
            self.waits.append(now - self._sent_at.popleft())
        if answered:
            self._send(answered)

    def _send(self, count: int) -> None:
        upcoming = self._frames[self._sent : self._sent + count]
        self._sent += len(upcoming)
        if upcoming:
            if self._window == 1:
                self._sent_at.append(time.perf_counter())
            self.wire.send(b"".join(upcoming))
