"""Negentropy protocol v1 (NIP-77, appendix): two sets of (time, id) find their differences. Pure.

Ranges of the time line are compared by fingerprint; where two fingerprints differ the range is split,
and where few ids are left they are listed. The **initiator** learns what it has and lacks; the
**responder** keeps nothing between messages but its items. Laws:

- What is read is checked before it is used: a length before anything of that length is made, the order
  of bounds, the shortest spelling of numbers, nothing behind the last range. Else RemoteError.
- No message is longer than the frame limit. What does not fit is said as one fingerprint over the rest
  of the time line; the smallest limit leaves room for one whole split, so each round gets further.
- One message costs at most its own length in ranges, whatever it says: nothing is computed for ranges
  that the answer has no room for.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from meshconsole.core.errors import LocalError, RemoteError
from meshconsole.relay.items import ID_BYTES, MAX_TIME, Bound, ItemVector

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = 0x61
VERSIONS = range(0x60, 0x70)
"""Bytes that a version may be. Anything else is not this protocol."""

SKIP, FINGERPRINT, ID_LIST = 0, 1, 2
FINGERPRINT_BYTES = 16

BUCKETS = 16
"""How many parts a range is split into."""

MIN_FRAME_BYTES = 4096
DEFAULT_FRAME_BYTES = 60_000

_INFINITY = Bound(MAX_TIME, b"")
_MAX_BOUND_BYTES = 10 + 1 + ID_BYTES
_MAX_SPLIT_BYTES = (
    BUCKETS * max(2 * ID_BYTES, _MAX_BOUND_BYTES + 1 + FINGERPRINT_BYTES) + _MAX_BOUND_BYTES + 2
)
_TRAILER_BYTES = _MAX_BOUND_BYTES + 1 + 2 + 1 + FINGERPRINT_BYTES
"""A skip to where the answer breaks off, and a fingerprint over all the rest."""


class Range(NamedTuple):
    """`payload` is a fingerprint or ids one after the other; empty for SKIP."""

    upper: Bound
    mode: int
    payload: bytes


class Step(NamedTuple):
    """`reply` is None when nothing is left to be asked. `have`: ids only this side has; `need`: ids
    only the other side has."""

    reply: bytes | None
    have: list[bytes]
    need: list[bytes]


class Responder:
    """The side that is asked (the relay in NIP-77)."""

    def __init__(self, items: ItemVector, frame_bytes: int = DEFAULT_FRAME_BYTES) -> None:
        self._items = items
        self._frame_bytes = checked_frame(frame_bytes)

    @property
    def count(self) -> int:
        """How many items it holds."""
        return len(self._items)

    def receive(self, message: bytes) -> bytes:
        """The answer. Raises RemoteError for a message that is not negentropy."""
        if _version(message) != VERSION:
            return bytes((VERSION,))  # the highest that is spoken here; the other side may downgrade
        answer = _Answer(self._items, self._frame_bytes)
        for upper, mode, payload in read_ranges(message):
            end = answer.end_of(upper)
            if mode == SKIP:
                answer.skip(upper, end)
            elif mode == FINGERPRINT:
                answer.compare(upper, end, payload)
            else:
                answer.list_ids(upper, end)
            if answer.full:
                break
        return answer.finish()


class Initiator:
    """The side that asks, and learns the differences (the client in NIP-77).

    `max_need` bounds what a hostile responder can make this side remember.
    """

    def __init__(
        self, items: ItemVector, frame_bytes: int = DEFAULT_FRAME_BYTES, *, max_need: int = 1_000_000
    ) -> None:
        self._items = items
        self._frame_bytes = checked_frame(frame_bytes)
        self._left = max_need

    def begin(self) -> bytes:
        """The first message."""
        answer = _Answer(self._items, self._frame_bytes)
        answer.split(_INFINITY, len(self._items))
        return answer.finish()

    def receive(self, message: bytes) -> Step:
        """Raises RemoteError for a message that is not negentropy v1."""
        version = _version(message)
        if version != VERSION:
            spoken = version - VERSIONS.start
            raise RemoteError("unsupported", f"the other side speaks version {spoken} of negentropy, not 1")
        answer = _Answer(self._items, self._frame_bytes)
        have: list[bytes] = []
        need: list[bytes] = []
        for upper, mode, payload in read_ranges(message):
            end = answer.end_of(upper)
            if mode == FINGERPRINT:
                answer.compare(upper, end, payload)
            else:
                if mode == ID_LIST:
                    self._tell_apart(self._items.ids(answer.begin, end), payload, have, need)
                answer.skip(upper, end)
            if answer.full:
                break
        reply = answer.finish()
        return Step(reply if len(reply) > 1 else None, have, need)

    def _tell_apart(self, ours: bytes, theirs: bytes, have: list[bytes], need: list[bytes]) -> None:
        mine, others = set(_ids(ours)), set(_ids(theirs))
        have += sorted(mine - others)
        lacking = sorted(others - mine)
        self._left -= len(lacking)
        if self._left < 0:
            raise RemoteError("too-many", "the other side names more ids than it was said to have")
        need += lacking


class _Answer:
    """A message being written. `begin` is the index of our first item behind what was dealt with."""

    def __init__(self, items: ItemVector, frame_bytes: int) -> None:
        self._items = items
        self._room = frame_bytes - _TRAILER_BYTES
        self._out = bytearray((VERSION,))
        self._time = 0
        self._bound = Bound(0, b"")
        self._skipping = False
        self.begin = 0
        self.full = False
        """No more ranges can be dealt with: what is left goes into one fingerprint."""

    def end_of(self, upper: Bound) -> int:
        """Index of our first item at or behind `upper`."""
        return self._items.lower_bound(upper, self.begin)

    def skip(self, upper: Bound, end: int) -> None:
        self._skipping = True
        self._move_to(upper, end)

    def compare(self, upper: Bound, end: int, theirs: bytes) -> None:
        if fingerprint(self._items, self.begin, end) == theirs:
            self.skip(upper, end)
        elif len(self._out) + _MAX_SPLIT_BYTES > self._room:
            self.full = True
        else:
            self.split(upper, end)

    def split(self, upper: Bound, end: int) -> None:
        """The range from `begin` in parts, or its ids where they are few. There must be room."""
        self._end_skip()
        start, count = self.begin, end - self.begin
        if count < 2 * BUCKETS:
            self._write(upper, ID_LIST, encode_varint(count) + self._items.ids(start, end))
        else:
            for part in range(1, BUCKETS + 1):
                stop = self.begin + count * part // BUCKETS
                bound = upper if stop == end else self._items.bound_before(stop)
                self._write(bound, FINGERPRINT, fingerprint(self._items, start, stop))
                start = stop
        self._move_to(upper, end)

    def list_ids(self, upper: Bound, end: int) -> None:
        """Our ids of the range, as many as there is room for."""
        room = self._room - len(self._out) - 2 * (_MAX_BOUND_BYTES + 1) - 10
        fitting = max(0, room) // ID_BYTES
        stop = end if end - self.begin <= fitting else self.begin + fitting
        if stop < end and not fitting:
            self.full = True
            return
        if stop < end:
            self.full, upper = True, self._items.bound_before(stop)
        self._end_skip()
        self._write(upper, ID_LIST, encode_varint(stop - self.begin) + self._items.ids(self.begin, stop))
        self._move_to(upper, stop)

    def finish(self) -> bytes:
        if self.full:
            self._end_skip()
            self._write(_INFINITY, FINGERPRINT, fingerprint(self._items, self.begin, len(self._items)))
        return bytes(self._out)

    def _end_skip(self) -> None:
        if self._skipping:
            self._skipping = False
            self._write(self._bound, SKIP, b"")

    def _move_to(self, upper: Bound, end: int) -> None:
        self._bound, self.begin = upper, end

    def _write(self, upper: Bound, mode: int, payload: bytes) -> None:
        if upper.time == MAX_TIME:
            self._out += b"\x00\x00"  # infinity has no id
        else:
            self._out += encode_varint(1 + upper.time - self._time)
            self._out += encode_varint(len(upper.prefix))
            self._out += upper.prefix
            self._time = upper.time
        self._out.append(mode)
        self._out += payload


def fingerprint(items: ItemVector, start: int, end: int) -> bytes:
    """16 bytes that stand for the items of a range."""
    total = items.sum_of(start, end).to_bytes(ID_BYTES, "little")
    return sha256(total + encode_varint(end - start)).digest()[:FINGERPRINT_BYTES]


def read_ranges(message: bytes) -> Iterator[Range]:
    """What stands behind the version byte. Raises RemoteError at the first thing that is wrong."""
    place, size = 1, len(message)
    time, before = 0, Bound(0, b"")
    while place < size:
        if before.time == MAX_TIME:
            raise _bad("something stands behind the end of the time line")
        delta, place = read_varint(message, place)
        time = time + delta - 1 if delta else MAX_TIME
        if time > MAX_TIME or (time == MAX_TIME and delta):
            raise _bad("a time does not fit into 64 bits")
        length, place = read_varint(message, place)
        if length > ID_BYTES or length > size - place:
            raise _bad("the prefix of an id is longer than it can be")
        upper = Bound(time, message[place : place + length] if delta else b"")
        if upper < before:
            raise _bad("the ranges are not in order")
        place += length
        mode, place = read_varint(message, place)
        if mode == SKIP:
            count = 0
        elif mode == FINGERPRINT:
            count = FINGERPRINT_BYTES
        elif mode == ID_LIST:
            listed, place = read_varint(message, place)
            count = listed * ID_BYTES
        else:
            raise _bad(f"a range has an unknown mode: {mode}")
        if count > size - place:
            raise _bad("a range announces more bytes than there are")
        yield Range(upper, mode, message[place : place + count])
        place += count
        before = upper


def encode_varint(number: int) -> bytes:
    """Base 128, the most significant digit first."""
    out = [number & 0x7F]
    while number := number >> 7:
        out.append(0x80 | (number & 0x7F))
    return bytes(reversed(out))


def read_varint(data: bytes, place: int) -> tuple[int, int]:
    """The number, below 2**64 and in its shortest spelling, and the place behind it."""
    number = 0
    if place < len(data) and data[place] == 0x80:
        raise _bad("a number is not written as short as it can be")
    for here in range(place, min(len(data), place + 10)):
        digit = data[here]
        number = number << 7 | (digit & 0x7F)
        if digit < 0x80:
            if number > MAX_TIME:
                break
            return number, here + 1
    raise _bad("a number is cut off or too large")


def checked_frame(frame_bytes: int) -> int:
    if frame_bytes < MIN_FRAME_BYTES:
        raise LocalError(f"A negentropy frame has at least {MIN_FRAME_BYTES} bytes.")
    return frame_bytes


def _version(message: bytes) -> int:
    if not message or message[0] not in VERSIONS:
        raise _bad("the message does not begin with a version")
    return message[0]


def _ids(joined: bytes) -> Iterator[bytes]:
    return (joined[place : place + ID_BYTES] for place in range(0, len(joined), ID_BYTES))


def _bad(sentence: str) -> RemoteError:
    return RemoteError("bad-negentropy", sentence)
