"""Ephemeral events between relay processes: events as the payloads of NOTIFY. Pure.

They are stored nowhere. A payload has at most 7999 bytes, so that a larger event takes several; those
of one event come one after the other, because they are sent in one transaction. Each is

    id of the event (64) | number of this part (4 hex digits) | parts in all (4) | text

and thereby unlike every other: equal payloads of one transaction would be delivered once. Canonical
events are UTF-8 without NUL (JSON escapes it), which is what PostgreSQL takes for text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from meshconsole.relay.event import MAX_EVENT_BYTES

PART_BYTES = 7900
HEAD = 64 + 4 + 4


def payloads(event_id: str, raw: bytes) -> list[str]:
    parts: list[bytes] = []
    start = 0
    while start < len(raw):
        end = min(start + PART_BYTES - HEAD, len(raw))
        while end < len(raw) and raw[end] & 0xC0 == 0x80:  # within a character
            end -= 1
        parts.append(raw[start:end])
        start = end
    count = len(parts)
    return [f"{event_id}{n:04x}{count:04x}{part.decode()}" for n, part in enumerate(parts)]


@dataclass(slots=True)
class Listener:
    """Puts the parts together again. What does not fit together is forgotten."""

    _id: str = ""
    _count: int = 0
    _parts: list[str] = field(default_factory=list)
    _size: int = 0

    def hear(self, payload: str) -> bytes | None:
        """The event, when this was its last part."""
        try:
            number, count = int(payload[64:68], 16), int(payload[68:72], 16)
        except ValueError:
            return None
        if number == 0:
            self._id, self._count, self._parts, self._size = payload[:64], count, [], 0
        if (payload[:64], count, number) != (self._id, self._count, len(self._parts)):
            self._parts = []
            return None
        self._parts.append(payload[HEAD:])
        self._size += len(payload)
        if self._size > 2 * MAX_EVENT_BYTES:
            self._parts = []
            return None
        if number + 1 < count:
            return None
        raw, self._parts, self._id = "".join(self._parts).encode(), [], ""
        return raw
