"""Notices when this machine's network has changed, or when it was asleep: all is in doubt then.

Linux tells of each change of an address or a cable at once (netlink, rtnetlink(7)); elsewhere, and for
what it does not tell, the interfaces are looked at every LOOK_S. A look costs half a millisecond.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
import time
from typing import TYPE_CHECKING

from meshconsole.mesh.addresses import Networks, networks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

LOOK_S = 5.0
SETTLE_S = 0.2
"""A change of network comes as a dozen messages."""
ASLEEP_S = 5.0
"""A look that comes so much too late means that the machine, or this process, stood still."""

_RTM_NEWLINK = 16  # linux/rtnetlink.h, as are the groups
_RTMGRP_LINK, _RTMGRP_IPV4_IFADDR, _RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100
_HEADER = struct.Struct("=IHHIIBxHi")  # struct nlmsghdr: length, type ...; struct ifinfomsg: ..., index


class NetworkWatch:
    """`changed` is called after `current` was replaced, or when all is in doubt for another reason.

    `now` is monotonic; where there is a clock that goes on while the machine is suspended, that is used.
    """

    def __init__(self, changed: Callable[[], None], now: Callable[[], float]) -> None:
        self.current = Networks(("127.0.0.1",), frozenset(), ())
        self._changed = changed
        self._now = now
        self._told = asyncio.Event()
        self._is_plugged = False
        """A cable, or what stands for it, went out or in: the addresses may be the same and the paths not."""

    async def prepare(self) -> None:
        self.current = await asyncio.to_thread(networks)

    async def run(self) -> None:
        with self._listening():
            while True:
                before = _awake_and_asleep(self._now)
                self._told.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._told.wait()
                        await asyncio.sleep(SETTLE_S)
                has_slept = _awake_and_asleep(self._now) - before > LOOK_S + SETTLE_S + ASLEEP_S
                was_plugged, self._is_plugged = self._is_plugged, False
                found = await asyncio.to_thread(networks)
                if found == self.current and not (has_slept or was_plugged):
                    continue
                what = "the machine was asleep" if has_slept else "the network has changed"
                log.info("%s: %s", what, ", ".join(found.hosts))
                self.current = found
                self._changed()

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        kernel = _netlink()
        if kernel is None:
            yield
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(kernel, self._read, kernel)
        try:
            yield
        finally:
            loop.remove_reader(kernel)
            kernel.close()

    def _is_ours(self, number: int) -> bool:
        """Not that of a container, which comes and goes."""
        return any(interface.number == number for interface in self.current.interfaces)

    def _read(self, kernel: socket.socket) -> None:
        """What has changed is looked up anew: only that something has counts."""
        # ENOBUFS: there was more than the kernel could keep for us.
        with contextlib.suppress(OSError):
            while data := kernel.recv(65_536):
                self._is_plugged = self._is_plugged or any(self._is_ours(link) for link in _links(data))
        self._told.set()


def _links(data: bytes) -> Iterator[int]:
    """The interfaces that one datagram tells of (netlink(7)): a message begins at a multiple of four."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _flags, _seq, _port, _family, _type, number = _HEADER.unpack_from(data, at)
        if kind == _RTM_NEWLINK:
            yield number
        at += max(_HEADER.size, length + 3 & ~3)


def _netlink() -> socket.socket | None:
    """None where there is none: another system, or a unit without AF_NETLINK."""
    try:
        kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    except (AttributeError, OSError):
        return None
    try:
        kernel.bind((0, _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV6_IFADDR))
    except OSError:
        kernel.close()
        return None
    return kernel


def _awake_and_asleep(now: Callable[[], float]) -> float:
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.clock_gettime(boottime) if boottime is not None else now()
