"""What one client still has to be told: bounded, and coalesced to the rate it asked for. Pure.

A machine without a clock: things are put in at any pace, and `take(now, ...)` hands out at most one
batch per frame. When a client does not keep up, the oldest events go and are counted.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from meshconsole.control.messages import (
    BlobsPush,
    EventsPush,
    Notice,
    NoticesPush,
    Push,
    StatusPush,
    Subscribe,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from meshconsole.core.status import BlobView, EventView, NodeStatus

MAX_EVENTS = 500
MAX_BLOBS = 500
MAX_NOTICES = 50
MAX_EVENT_BYTES = 4 << 20
"""Of the events that wait, so that a push never outgrows a frame."""
STATUS_PERIOD_S = 5.0
"""How often an unasked status is looked at, for what merely drifts (memory, rates): each is a repaint. One
that says the same as the last is not sent. What people wait for (a link, a member, a setting) does not wait
for this."""
SIGN_OF_LIFE_S = 10.0
"""A status is sent this often even if nothing changed, so that a hung node can be told from a calm one."""


class Outbox(msgspec.Struct):
    wanted: Subscribe | None = None
    limit_fps: float | None = None
    """The most that the node has the strength for, where that is less than what is wanted."""
    _events: deque[EventView] = msgspec.field(default_factory=deque)
    _event_bytes: int = 0
    _dropped: int = 0
    _blobs: dict[str, BlobView] = msgspec.field(default_factory=dict)
    _notices: deque[Notice] = msgspec.field(default_factory=lambda: deque(maxlen=MAX_NOTICES))
    _status_changed: bool = True
    _last_frame: float = float("-inf")
    _last_look: float = float("-inf")
    _last_status_at: float = float("-inf")
    _last_status: NodeStatus | None = None

    def subscribe(self, wanted: Subscribe) -> None:
        self.wanted = wanted
        self._status_changed = True
        self._last_status = None

    def put_events(self, events: Iterable[EventView]) -> None:
        if self.wanted is None or not self.wanted.events:
            return
        for event in events:
            self._events.append(event)
            self._event_bytes += _bytes_of(event)
        while len(self._events) > MAX_EVENTS or self._event_bytes > MAX_EVENT_BYTES:
            self._event_bytes -= _bytes_of(self._events.popleft())
            self._dropped += 1

    def put_blobs(self, blobs: Iterable[BlobView]) -> None:
        if self.wanted is None or not self.wanted.blobs:
            return
        for blob in blobs:
            self._blobs.pop(blob.cid, None)
            self._blobs[blob.cid] = blob
        while len(self._blobs) > MAX_BLOBS:
            self._blobs.pop(next(iter(self._blobs)))

    def put_notice(self, notice: Notice) -> None:
        if self.wanted is not None:
            self._notices.append(notice)

    def status_changed(self) -> None:
        self._status_changed = True

    @property
    def pending(self) -> bool:
        """Something waits for the next frame."""
        return bool(self._events or self._blobs or self._notices or self._status_changed)

    def next_due(self) -> float | None:
        """When `take` should be called next; None while nothing is subscribed."""
        if self.wanted is None:
            return None
        frame = self._last_frame + 1 / min(self.wanted.fps, self.limit_fps or self.wanted.fps)
        if self.pending:
            return frame
        return max(frame, self._last_look + STATUS_PERIOD_S)

    def take(self, now: float, status: Callable[[], NodeStatus | None]) -> list[Push]:
        """The pushes that are due. `status` is asked only when a status may be sent."""
        due = self.next_due()
        if due is None or now < due:
            return []
        self._last_frame = now
        pushes: list[Push] = []
        if self._status_changed or now >= self._last_look + STATUS_PERIOD_S:
            self._status_changed = False
            self._last_look = now
            pushes += self._status(now, status())
        if self._events or self._dropped:
            pushes.append(EventsPush(tuple(self._events), self._dropped))
            self._events.clear()
            self._event_bytes = 0
            self._dropped = 0
        if self._blobs:
            pushes.append(BlobsPush(tuple(self._blobs.values())))
            self._blobs.clear()
        if self._notices:
            pushes.append(NoticesPush(tuple(self._notices)))
            self._notices.clear()
        return pushes

    def _status(self, now: float, status: NodeStatus | None) -> list[Push]:
        if status is None:
            return []
        timeless = msgspec.structs.replace(status, now=0.0)
        if timeless == self._last_status and now < self._last_status_at + SIGN_OF_LIFE_S:
            return []
        self._last_status, self._last_status_at = timeless, now
        return [StatusPush(status)]


def _bytes_of(event: EventView) -> int:
    """At most; UTF-8 takes up to four for a character."""
    return 600 + 4 * (len(event.text) + len(event.verdict))
