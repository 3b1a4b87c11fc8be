"""A note that is too long for one datagram, in parts, and put together again. Pure; `now` is in seconds.

Each part is named by the beginning of the whole's SHA-256, so that parts of different notes do not mix and
what is put together is what was taken apart. Who gathers says which parts are there; only the others are
repeated.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256

import msgspec

from meshconsole.mesh.datagrams.messages import MAX_PARTS, PART_BYTES, PART_NAME, FlashPart
from meshconsole.mesh.messages import encode

MAX_GATHERED = 16
"""Notes in parts at a time, 22 kB each at most."""
GATHER_S = 330.0
"""Somewhat longer than a note is repeated."""
REMEMBERED = 256

_part: msgspec.msgpack.Decoder[FlashPart] = msgspec.msgpack.Decoder(FlashPart)


def take_apart(payload: bytes) -> tuple[bytes, ...] | None:
    """None for what is too long for MAX_PARTS."""
    count = -(-len(payload) // PART_BYTES)
    if count > MAX_PARTS:
        return None
    name = name_of(payload)
    pieces = (payload[n * PART_BYTES : (n + 1) * PART_BYTES] for n in range(count))
    return tuple(encode(FlashPart(name, n, count, piece)) for n, piece in enumerate(pieces))


def name_in(part: bytes) -> bytes:
    """The name that a part of `take_apart` carries."""
    return _part.decode(part).name


def name_of(payload: bytes) -> bytes:
    return sha256(payload).digest()[:PART_NAME]


def in_turn(count: int, held: int, turn: int, most: int) -> list[int]:
    """Which parts to send now: of those that are not `held`, from number `turn` on and around; of all where
    all are held, as the receipt is missing."""
    lacked = [n for n in range(count) if not held >> n & 1] or list(range(count))
    start = next((i for i, n in enumerate(lacked) if n >= turn), 0)
    return (lacked[start:] + lacked[:start])[:most]


class _Gathered(msgspec.Struct):
    count: int
    since: float
    pieces: dict[int, bytes] = msgspec.field(default_factory=dict)


class Gathering(msgspec.Struct):
    """What this device has of others' notes."""

    _notes: OrderedDict[bytes, _Gathered] = msgspec.field(default_factory=OrderedDict)
    _done: OrderedDict[bytes, bytes] = msgspec.field(default_factory=OrderedDict)
    """Names of notes that were put together, and what the caller calls them."""

    def put(self, part: FlashPart, now: float) -> bytes | None:
        """The whole when this was the last part that was missing."""
        if part.name in self._done or part.number >= part.count:
            return None
        note = self._notes.get(part.name)
        if note is None or now - note.since > GATHER_S:
            note = self._notes[part.name] = _Gathered(part.count, now)
            if len(self._notes) > MAX_GATHERED:
                self._notes.popitem(last=False)
        if part.count != note.count:
            return None
        note.pieces[part.number] = part.data
        if len(note.pieces) < note.count:
            return None
        del self._notes[part.name]
        whole = b"".join(note.pieces[n] for n in range(note.count))
        # Whoever holds the team's key can say anything: then it is gathered anew.
        return whole if name_of(whole) == part.name else None

    def held(self, name: bytes) -> int:
        """Bit n is set where part n is here."""
        note = self._notes.get(name)
        return sum(1 << n for n in note.pieces) if note is not None else 0

    def forget(self, name: bytes) -> None:
        """What was put together was not taken: it is gathered anew when it comes again."""
        self._done.pop(name, None)

    def done(self, name: bytes, event_id: bytes) -> None:
        self._done[name] = event_id
        if len(self._done) > REMEMBERED:
            self._done.popitem(last=False)

    def known(self, name: bytes) -> bytes | None:
        """The event that this was put together to."""
        return self._done.get(name)
