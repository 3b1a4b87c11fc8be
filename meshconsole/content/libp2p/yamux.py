"""yamux: many streams over one connection. Pure: bytes in, bytes out, a bound on everything.

Theory of operation. Each side may send on a stream as many bytes as the other has granted, 256 KiB at
first. What a reader has consumed is granted again; a reader that waits for a longer message grants what
the message still needs, out of one budget for the connection. So the memory that a peer can take is

    MAX_INBOUND x INITIAL_WINDOW + MAX_EXTRA

Laws:
1. A peer that sends more than it was granted breaks the protocol: the connection ends.
2. Streams over MAX_INBOUND are reset, and a peer that goes on opening them is cut off.
3. Frames of streams that are over are let pass: they crossed our reset.

Source: hashicorp/yamux, spec.md.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from meshconsole.core.errors import RemoteError

DATA, WINDOW_UPDATE, PING, GO_AWAY = 0, 1, 2, 3
SYN, ACK, FIN, RST = 1, 2, 4, 8

INITIAL_WINDOW = 256 << 10
MAX_WINDOW = 4 << 20
MAX_EXTRA = 8 << 20
"""Granted beyond INITIAL_WINDOW, over all streams."""
MAX_INBOUND = 64
MAX_REFUSED = 1024
MAX_FRAME_DATA = 64_000
"""Sent at once: with its header it fits one Noise message."""
_MAX_U32 = 0xFFFF_FFFF
_HEADER = struct.Struct(">BBHII")


@dataclass(slots=True, eq=False)
class Stream:
    """One stream. `received` is what has come and was not read yet."""

    number: int
    inbound: bool
    received: bytearray = field(default_factory=bytearray)
    may_receive: int = INITIAL_WINDOW
    may_send: int = INITIAL_WINDOW
    ended_here: bool = False
    ended_there: bool = False
    is_reset: bool = False

    @property
    def promised(self) -> int:
        """Bytes that it may take of our memory."""
        return self.may_receive + len(self.received)

    @property
    def extra(self) -> int:
        return max(0, self.promised - INITIAL_WINDOW)


class Session:
    """Feed it with `receive`; then see `touched` and `opened`, and send what `outbox` gives."""

    def __init__(self, *, dialled: bool) -> None:
        self._next = 1 if dialled else 2
        self._streams: dict[int, Stream] = {}
        self._head = bytearray()
        self._filling: Stream | None = None
        self._left = 0
        """Bytes of data that the current frame still has."""
        self._after = 0
        """Flags of that frame, which hold once its data is there."""
        self._out: list[bytes] = []
        self._refused = 0
        self._touched: set[Stream] = set()
        self._opened: list[Stream] = []
        self.inbound = 0
        self.pongs = 0
        """Answers to our pings so far."""
        self.gone_away: int | None = None
        """The code with which the peer said that it takes no more streams."""

    @property
    def streams(self) -> int:
        return len(self._streams)

    def receive(self, data: bytes) -> None:
        """Raises RemoteError("bad-yamux" | "flood")."""
        position, end = 0, len(data)
        while position < end:
            if self._left:
                taken = min(self._left, end - position)
                if self._filling is not None and not self._filling.is_reset:
                    self._filling.received += data[position : position + taken]
                    self._touched.add(self._filling)
                position += taken
                self._left -= taken
                if not self._left and self._filling is not None:
                    self._finish(self._filling, self._after)
                continue
            if not self._head and end - position >= _HEADER.size:
                head = data[position : position + _HEADER.size]
                position += _HEADER.size
            else:
                taken = min(_HEADER.size - len(self._head), end - position)
                self._head += data[position : position + taken]
                position += taken
                if len(self._head) < _HEADER.size:
                    return
                head = bytes(self._head)
                self._head.clear()
            self._frame(*_HEADER.unpack(head))

    def outbox(self) -> bytes:
        out = b"".join(self._out)
        self._out.clear()
        return out

    def touched(self) -> set[Stream]:
        """Streams on which something has come or changed since the last time."""
        touched, self._touched = self._touched, set()
        return touched

    def opened(self) -> list[Stream]:
        """Streams that the peer has opened since the last time."""
        opened, self._opened = self._opened, []
        return opened

    # What this side does

    def open(self) -> Stream:
        if self.gone_away is not None:
            raise RemoteError("gone-away", "The peer takes no more streams.")
        stream = self._streams[self._next] = Stream(self._next, inbound=False)
        self._next += 2
        self._say(WINDOW_UPDATE, SYN, stream.number, 0)
        return stream

    def send(self, stream: Stream, data: memoryview) -> int:
        """Puts as much into the outbox as one frame and the peer's window take; returns the count."""
        count = min(len(data), stream.may_send, MAX_FRAME_DATA)
        if count and not stream.is_reset:
            stream.may_send -= count
            self._out.append(_HEADER.pack(0, DATA, 0, stream.number, count))
            self._out.append(bytes(data[:count]))
        return count

    def take(self, stream: Stream, count: int) -> bytes:
        """What was received, for the reader."""
        taken = bytes(memoryview(stream.received)[:count])
        del stream.received[:count]
        return taken

    def grant(self, stream: Stream, needed: int = 0) -> None:
        """Lets the peer send on, so that a reader who waits for `needed` bytes in all gets them."""
        if stream.ended_there or stream.is_reset:
            return
        target = max(INITIAL_WINDOW, min(needed, MAX_WINDOW))
        if stream.promised > target // 2 and stream.promised >= needed:
            return
        others = sum(each.extra for each in self._streams.values() if each is not stream)
        target = min(target, INITIAL_WINDOW + MAX_EXTRA - others)
        if (more := target - stream.promised) > 0:
            stream.may_receive += more
            self._say(WINDOW_UPDATE, 0, stream.number, more)

    def end(self, stream: Stream) -> None:
        """Nothing more is sent on it; what comes may still be read."""
        if not (stream.ended_here or stream.is_reset):
            stream.ended_here = True
            self._say(WINDOW_UPDATE, FIN, stream.number, 0)
            self._drop_if_over(stream)

    def reset(self, stream: Stream) -> None:
        if self._streams.get(stream.number) is stream:
            self._say(WINDOW_UPDATE, RST, stream.number, 0)
            self._reset(stream)

    def ping(self, number: int) -> None:
        self._say(PING, SYN, 0, number)

    def go_away(self, code: int = 0) -> None:
        """0: normal, 1: the peer broke the protocol, 2: a fault here."""
        self._say(GO_AWAY, 0, 0, code)

    # What the peer does

    def _frame(self, version: int, kind: int, flags: int, number: int, length: int) -> None:
        if version != 0:
            raise RemoteError("bad-yamux", f"Version {version} of yamux is not known.")
        if kind == PING:
            if flags & SYN:
                self._say(PING, ACK, 0, length)
            else:
                self.pongs += 1
            return
        if kind == GO_AWAY:
            self.gone_away = length
            return
        if kind not in (DATA, WINDOW_UPDATE):
            raise RemoteError("bad-yamux", f"A frame of type {kind} is not known.")
        stream = self._accept(number) if flags & SYN else self._streams.get(number)
        self._filling, self._after = stream, flags
        if kind == DATA:
            self._left = length
            if stream is not None and length:
                if length > stream.may_receive:
                    raise RemoteError("bad-yamux", "The peer sends more than it was granted.")
                stream.may_receive -= length
                return
        elif stream is not None:
            stream.may_send += length
            if stream.may_send > _MAX_U32:
                raise RemoteError("bad-yamux", "The window of a stream is over 32 bits.")
            self._touched.add(stream)
        if stream is not None:
            self._finish(stream, flags)

    def _accept(self, number: int) -> Stream | None:
        if number == 0 or number % 2 == self._next % 2 or number in self._streams:
            raise RemoteError("bad-yamux", "The peer opens a stream under a number that it may not use.")
        if self.inbound >= MAX_INBOUND:
            self._refused += 1
            if self._refused > MAX_REFUSED:
                raise RemoteError(
                    "flood", f"The peer opens more than {MAX_INBOUND} streams, again and again."
                )
            self._say(WINDOW_UPDATE, RST, number, 0)
            return None
        stream = self._streams[number] = Stream(number, inbound=True)
        self.inbound += 1
        self._opened.append(stream)
        self._say(WINDOW_UPDATE, ACK, number, 0)
        return stream

    def _finish(self, stream: Stream, flags: int) -> None:
        if flags & RST:
            self._reset(stream)
        elif flags & FIN:
            stream.ended_there = True
            self._touched.add(stream)
            self._drop_if_over(stream)

    def _reset(self, stream: Stream) -> None:
        stream.is_reset = True
        stream.received.clear()
        self._touched.add(stream)
        self._drop(stream)

    def _drop_if_over(self, stream: Stream) -> None:
        if stream.ended_here and stream.ended_there:
            self._drop(stream)

    def _drop(self, stream: Stream) -> None:
        if self._streams.pop(stream.number, None) is stream and stream.inbound:
            self.inbound -= 1

    def _say(self, kind: int, flags: int, number: int, value: int) -> None:
        self._out.append(_HEADER.pack(0, kind, flags, number, value))
