"""The lab's switch: one thread that carries frames between ports, as each port's two ways allow.

Ports on one segment hear each other, unless a pair is cut (in both directions, or in one). Time is real
time, so a seed fixes the sequence of coin tosses, not how the hosts' frames interleave.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import selectors
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from tests.netlab.impairment import Way, is_multicast

if TYPE_CHECKING:
    from pathlib import Path

_PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
_FRAMES_AT_ONCE = 32
_IDLE_S = 0.2


@dataclass(slots=True, eq=False)
class Port:
    """`up` carries from the host to the switch, `down` from the switch to the host.

    `sent` and `received` count bytes by protocol ("tcp", "udp", "arp", ...), as they pass between host
    and switch, before `up` and after `down` have taken their share.
    """

    name: str
    fd: int
    segment: str
    up: Way
    down: Way
    sent: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)


class _InFlight(NamedTuple):
    due: float
    order: int
    port: Port
    frame: bytes
    is_leaving: bool
    """It has passed `down` and goes to the host; otherwise it has passed `up` and is to be forwarded."""


class Switch(threading.Thread):
    def __init__(self, seed: int = 1, pcap: Path | None = None) -> None:
        super().__init__(name="netlab switch", daemon=True)
        self.ports: dict[str, Port] = {}
        self._random = Random(seed)
        self._learned: dict[tuple[str, bytes], Port] = {}
        self._cut: frozenset[tuple[str, str]] = frozenset()
        self._flying: list[_InFlight] = []
        self._order = 0
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._stopping = False
        self._pcap: BinaryIO | None = None
        if pcap is not None:
            self._pcap = pcap.open("wb")
            self._pcap.write(_PCAP_HEADER)

    # From other threads.

    def add(self, name: str, fd: int, segment: str) -> Port:
        """The switch owns `fd` from now on."""
        os.set_blocking(fd, False)
        seed = self._random.getrandbits(64)
        port = Port(name, fd, segment, Way(Random(seed)), Way(Random(seed + 1)))
        self.ports[name] = port
        self._selector.register(fd, selectors.EVENT_READ, port)
        self._wake()
        return port

    def move(self, name: str, segment: str) -> None:
        """Plugs a port into another segment."""
        port = self.ports[name]
        port.segment = segment
        self._learned = {key: known for key, known in self._learned.items() if known is not port}

    def cut(self, source: str, target: str) -> None:
        """What leaves `source` does not arrive at `target` any more."""
        self._cut |= {(source, target)}

    def heal(self) -> None:
        """Ends all cuts."""
        self._cut = frozenset()

    def stop(self) -> None:
        self._stopping = True
        self._wake()
        self.join()
        for port in self.ports.values():
            os.close(port.fd)
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
        if self._pcap is not None:
            self._pcap.close()

    # In the thread.

    def run(self) -> None:
        while not self._stopping:
            now = time.monotonic()
            while self._flying and self._flying[0].due <= now:
                arrived = heapq.heappop(self._flying)
                if arrived.is_leaving:
                    self._deliver(arrived.port, arrived.frame)
                else:
                    self._forward(arrived.port, arrived.frame, now)
            wait = max(0.0, self._flying[0].due - time.monotonic()) if self._flying else _IDLE_S
            for key, _ in self._selector.select(wait):
                if key.data is None:
                    os.read(self._wake_read, 4096)
                else:
                    self._read(key.data)

    def _read(self, port: Port) -> None:
        for _ in range(_FRAMES_AT_ONCE):
            try:
                frame = os.read(port.fd, 65536)
            except OSError:  # nothing more for now, or the host is gone
                return
            now = time.monotonic()
            port.sent[protocol(frame)] += len(frame)
            for due, copy in port.up.carry(frame, now):
                if due <= now:
                    self._forward(port, copy, now)
                else:
                    self._fly(due, port, copy, is_leaving=False)

    def _forward(self, source: Port, frame: bytes, now: float) -> None:
        segment = source.segment
        self._learned[segment, frame[6:12]] = source
        known = None if is_multicast(frame) else self._learned.get((segment, frame[:6]))
        for port in [known] if known is not None else tuple(self.ports.values()):
            if port is source or port.segment != segment or (source.name, port.name) in self._cut:
                continue
            for due, copy in port.down.carry(frame, now):
                if due <= now:
                    self._deliver(port, copy)
                else:
                    self._fly(due, port, copy, is_leaving=True)

    def _deliver(self, port: Port, frame: bytes) -> None:
        with contextlib.suppress(OSError):  # the card is down, or its queue is full
            os.write(port.fd, frame)
            port.received[protocol(frame)] += len(frame)
        if self._pcap is not None:
            at, size = time.time(), len(frame)
            self._pcap.write(struct.pack("<IIII", int(at), int(at % 1 * 1e6), size, size) + frame)

    def _fly(self, due: float, port: Port, frame: bytes, *, is_leaving: bool) -> None:
        self._order += 1
        heapq.heappush(self._flying, _InFlight(due, self._order, port, frame, is_leaving))

    def _wake(self) -> None:
        os.write(self._wake_write, b"x")


_BY_NUMBER = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 58: "icmp6"}
_HOP_BY_HOP = 0


def protocol(frame: bytes) -> str:
    """What a frame carries, in a word."""
    kind = frame[12:14]
    if kind == b"\x08\x06":
        return "arp"
    if kind == b"\x08\x00" and len(frame) > 23:
        return _BY_NUMBER.get(frame[23], "ip")
    if kind == b"\x86\xdd" and len(frame) > 54:
        number = frame[54] if frame[20] == _HOP_BY_HOP else frame[20]
        return _BY_NUMBER.get(number, "ip6")
    return "other"
