"""What it takes to deliver live to many subscribers: at full speed, one by one, at a steady pace."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, TypeVar

from bench.relay.wire import BenchError, Counter, Crowd, Frames, Wire, frame

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOW = 64
BUDGET_S = 8.0
"""A slow relay is not asked for all deliveries."""
_ID = re.compile(rb'"id": ?"([0-9a-f]{64})"')


def rate(url: str, frames: Sequence[bytes], author: str, subscribers: int) -> tuple[float, int]:
    """Seconds and deliveries, from the first event sent to the last copy received."""
    with Crowd() as crowd:
        counting = _subscribe(crowd, url, author, subscribers, _Counting)
        publisher = _Publisher(Wire(url), frames, WINDOW)
        crowd.add([publisher])
        began = time.perf_counter()
        publisher.begin(began + BUDGET_S)
        crowd.kick(publisher)
        crowd.drive(lambda: publisher.done and all(each.count >= publisher.sent for each in counting))
        seconds = time.perf_counter() - began
        return seconds, sum(each.count for each in counting)


def one_in_flight(url: str, frames: Sequence[bytes], author: str, subscribers: int) -> tuple[float, int]:
    """Seconds and deliveries, when the next event is sent after every subscriber has the last."""
    with Crowd() as crowd:
        counting = _subscribe(crowd, url, author, subscribers, _Counting)
        publisher = _Publisher(Wire(url), (), 1)
        crowd.add([publisher])
        began, number = time.perf_counter(), 0
        for number, each in enumerate(frames, 1):
            publisher.wire.send(each)
            due = number
            crowd.drive(lambda due=due: all(one.count >= due for one in counting))  # type: ignore[misc]
            if time.perf_counter() > began + BUDGET_S:
                break
        return time.perf_counter() - began, number * subscribers


def latencies(
    url: str, frames: Sequence[bytes], ids: Sequence[str], author: str, subscribers: int, per_second: float
) -> list[float]:
    """Seconds from sending an event to each subscriber's having it, at a steady pace."""
    with Crowd() as crowd:
        timing = _subscribe(crowd, url, author, subscribers, _Timing)
        publisher = _Publisher(Wire(url), (), 1)
        crowd.add([publisher])
        sent_at: dict[str, float] = {}
        began = time.perf_counter()

        def due(now: float) -> float | None:
            if len(sent_at) == len(frames):
                return None
            at = began + len(sent_at) / per_second
            if now >= at:
                number = len(sent_at)
                sent_at[ids[number]] = time.perf_counter()
                publisher.wire.send(frames[number])
                return 1 / per_second
            return at - now

        crowd.drive(lambda: all(len(one.seen) >= len(frames) for one in timing), due)
        return [now - sent_at[identifier] for one in timing for identifier, now in one.seen.items()]


class _Subscriber:
    """One connection with one subscription to ten authors, of whom one writes."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.ready = False
        self._frames = Frames()

    def hear(self, data: bytes, now: float) -> None:
        if self.ready:
            self.live(data, now)
            return
        texts, pings = self._frames.feed(data)
        for ping in pings:
            self.wire.send(frame(ping, 10))
        for text in texts:
            if text.startswith((b'["CLOSED"', b'["EVENT"')):
                raise BenchError(f"the relay did not begin an empty subscription: {text[:300]!r}")
            self.ready = self.ready or text.startswith(b'["EOSE"')

    def live(self, data: bytes, now: float) -> None:
        raise NotImplementedError


S = TypeVar("S", bound=_Subscriber)


class _Counting(_Subscriber):
    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.count = 0
        self._events = Counter(b'["EVENT",')

    def live(self, data: bytes, now: float) -> None:
        self.count += self._events.feed(data)


class _Timing(_Subscriber):
    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.seen: dict[str, float] = {}

    def live(self, data: bytes, now: float) -> None:
        texts, pings = self._frames.feed(data)
        for ping in pings:
            self.wire.send(frame(ping, 10))
        for text in texts:
            found = _ID.search(text)
            if found:
                self.seen[found[1].decode()] = now


class _Publisher:
    def __init__(self, wire: Wire, frames: Sequence[bytes], window: int) -> None:
        self.wire = wire
        self.sent = 0
        self._frames = frames
        self._window = window
        self._until = 0.0
        self._answered = 0
        self._oks = Counter(b'["OK",')
        self._refusals = Counter(b"false,")

    @property
    def done(self) -> bool:
        return self._answered >= self.sent

    def begin(self, until: float) -> None:
        self._until = until
        self._send(self._window)

    def hear(self, data: bytes, now: float) -> None:
        if self._refusals.feed(data):
            raise BenchError(f"the relay refused an event: {data[:300]!r}")
        answered = self._oks.feed(data)
        self._answered += answered
        if answered and now < self._until:
            self._send(answered)

    def _send(self, count: int) -> None:
        upcoming = self._frames[self.sent : self.sent + count]
        self.sent += len(upcoming)
        if upcoming:
            self.wire.send(b"".join(upcoming))


def _subscribe(crowd: Crowd, url: str, author: str, count: int, kind: type[S]) -> list[S]:
    authors = ",".join(f'"{each}"' for each in (author, *(f"{number:064x}" for number in range(1, 10))))
    request = frame(f'["REQ","live",{{"kinds":[1],"authors":[{authors}]}}]'.encode())
    subscribers = [kind(Wire(url)) for _ in range(count)]
    crowd.add(subscribers)
    for each in subscribers:
        each.wire.send(request)
    crowd.drive(lambda: all(each.ready for each in subscribers))
    return subscribers
