"""Frames: what a link carries inside its TLS session. Pure.

A frame is one message on one channel. On the wire it is one or more fragments (docs/protocol.md):

    u32 length | u8 lane | payload          big-endian; length counts the payload only
    lane = more << 7 | precedence << 4 | channel

The laws:

1. A frame travels in the lane of its precedence. Lanes are independent streams, so a fragment of a
   higher precedence overtakes a long frame of a lower one after at most one fragment.
2. Within a lane frames are whole and in order: the fragments of two frames never mix.
3. Everything is bounded: fragments by MAX_FRAGMENT, frames by their channel, and the bytes that wait
   for their last fragment by MAX_PARTIAL over all lanes. What exceeds a bound is a RemoteError.
4. `FrameQueue.take` packs small frames together, so that one TLS record and one message of the pipe
   carry many of them.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from meshconsole.core.errors import LocalError, RemoteError
from meshconsole.core.precedence import Precedence as Precedence

PIPE_MESSAGE = 16 * 1024
"""Bytes: the largest message a link gives to its pipe."""

RECORD_PLAINTEXT = PIPE_MESSAGE - 64
"""Bytes of plaintext sealed at once: with TLS's 22 bytes of overhead it fits one pipe message."""

HEADER = struct.Struct("!IB")
MAX_FRAGMENT = RECORD_PLAINTEXT - HEADER.size
NARROW_RECORD = 1200
"""Bytes of plaintext sealed at once where a link is slow: a record then fits one packet."""
_WORTH_SPLITTING = 1024
"""A frame is not begun in the last bytes of a record unless all of it fits: tiny fragments cost more
than they bring."""


class Channel(IntEnum):
    CONTROL = 0
    EVENTS = 1
    BLOCKS = 2
    SIGNALS = 3
    ECHOES = 4


MAX_FRAME = {
    Channel.CONTROL: 64 * 1024,
    Channel.EVENTS: 2 * 1024 * 1024,
    Channel.BLOCKS: 4 * 1024 * 1024 + 4096,
    Channel.SIGNALS: 64 * 1024,
    Channel.ECHOES: 1024,
}
"""Bytes. An event may have 1 MiB (relay.max_event_bytes), a bitswap message 4 MiB."""

MAX_PARTIAL = 8 * 1024 * 1024


class Frame(NamedTuple):
    channel: Channel
    precedence: Precedence
    payload: bytes


@dataclass(slots=True)
class _Sending:
    channel: Channel
    payload: memoryview
    offset: int = 0


@dataclass(slots=True)
class FrameQueue:
    """Frames that wait to be sent, highest precedence first, each lane bounded by `lane_limit` bytes.

    A lane that holds anything less than its limit takes one more frame, however large: a frame of
    4 MiB must be able to enter a lane of 1 MiB.
    """

    lane_limit: int = 1024 * 1024
    queued_bytes: int = 0
    bulk_taken: int = 0
    """Bytes of bulk that were taken since the beginning."""
    _lanes: list[deque[_Sending]] = field(default_factory=lambda: [deque() for _ in Precedence])
    _lane_bytes: list[int] = field(default_factory=lambda: [0 for _ in Precedence])

    def __bool__(self) -> bool:
        return self.queued_bytes > 0

    def has_room(self, precedence: Precedence) -> bool:
        return self._lane_bytes[precedence] < self.lane_limit

    def waits(self, precedence: Precedence) -> bool:
        """Whether anything of this precedence or a higher one is to be sent yet."""
        return any(self._lane_bytes[: precedence + 1])

    def put(self, channel: Channel, precedence: Precedence, payload: bytes) -> None:
        """Raises LocalError for a frame that the other side would refuse, or a full lane."""
        if not 0 < len(payload) <= MAX_FRAME[channel]:
            raise LocalError(f"A frame of {len(payload)} bytes does not fit channel {channel.name}.")
        if not self.has_room(precedence):
            raise LocalError(f"The {precedence.name} lane is full; its sender must wait for room.")
        self._lanes[precedence].append(_Sending(channel, memoryview(payload)))
        self._lane_bytes[precedence] += len(payload)
        self.queued_bytes += len(payload)

    def take(self, budget: int = RECORD_PLAINTEXT, *, with_bulk: bool = True) -> bytes:
        """The next fragments, at most `budget` bytes in all; b"" when nothing waits that may go."""
        parts: list[bytes | memoryview] = []
        for precedence in Precedence:
            if precedence == Precedence.BULK and not with_bulk:
                break
            lane = self._lanes[precedence]
            while lane:
                taken = self._fragment(lane[0], precedence, budget, parts)
                if not taken:
                    return b"".join(parts)
                budget -= taken + HEADER.size
                if lane[0].offset == len(lane[0].payload):
                    lane.popleft()
        return b"".join(parts)

    def _fragment(
        self, frame: _Sending, precedence: Precedence, budget: int, parts: list[bytes | memoryview]
    ) -> int:
        """Appends header and payload; returns the payload's size, 0 if the record is full."""
        left = len(frame.payload) - frame.offset
        size = min(left, budget - HEADER.size, MAX_FRAGMENT)
        if size <= 0 or (size < left and size < _WORTH_SPLITTING and parts):
            return 0
        more = size < left
        parts.append(HEADER.pack(size, more << 7 | precedence << 4 | frame.channel))
        parts.append(frame.payload[frame.offset : frame.offset + size])
        frame.offset += size
        self._lane_bytes[precedence] -= size
        self.queued_bytes -= size
        self.bulk_taken += size if precedence == Precedence.BULK else 0
        return size


@dataclass(slots=True)
class _Partial:
    channel: Channel
    data: bytearray


@dataclass(slots=True)
class FrameDecoder:
    """Bytes in, whole frames out. Raises RemoteError on the first byte that breaks a law."""

    _buffer: bytearray = field(default_factory=bytearray)
    _partial: dict[Precedence, _Partial] = field(default_factory=dict)
    _partial_bytes: int = 0

    def receive(self, data: bytes) -> list[Frame]:
        buffer = self._buffer
        buffer += data
        frames: list[Frame] = []
        position, available = 0, len(buffer)
        while available - position >= HEADER.size:
            length, lane = HEADER.unpack_from(buffer, position)
            if not 0 < length <= MAX_FRAGMENT:
                raise RemoteError("bad-frame", f"The peer sent a fragment of {length} bytes.")
            end = position + HEADER.size + length
            if end > available:
                break
            frame = self._fragment(lane, bytes(memoryview(buffer)[position + HEADER.size : end]))
            if frame is not None:
                frames.append(frame)
            position = end
        del buffer[:position]
        return frames

    def _fragment(self, lane: int, payload: bytes) -> Frame | None:
        try:
            channel, precedence = Channel(lane & 0x0F), Precedence(lane >> 4 & 0x07)
        except ValueError:
            raise RemoteError("bad-frame", f"The peer used an unknown lane ({lane:#04x}).") from None
        more = lane & 0x80
        partial = self._partial.get(precedence)
        if partial is None and not more:
            self._check(channel, len(payload))
            return Frame(channel, precedence, payload)
        if partial is None:
            partial = self._partial[precedence] = _Partial(channel, bytearray())
        if partial.channel != channel:
            raise RemoteError("bad-frame", "The peer mixed two frames in one lane.")
        self._check(channel, len(partial.data) + len(payload))
        self._partial_bytes += len(payload)
        if self._partial_bytes > MAX_PARTIAL:
            raise RemoteError("bad-frame", "The peer began too many large frames at once.")
        partial.data += payload
        if more:
            return None
        del self._partial[precedence]
        self._partial_bytes -= len(partial.data)
        return Frame(channel, precedence, bytes(partial.data))

    @staticmethod
    def _check(channel: Channel, size: int) -> None:
        if size > MAX_FRAME[channel]:
            limit = MAX_FRAME[channel]
            raise RemoteError(
                "too-big", f"The peer sent more than {limit} bytes in one {channel.name.lower()} frame."
            )
