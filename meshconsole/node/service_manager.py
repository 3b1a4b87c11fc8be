"""Tells systemd how the node is: ready, alive, reloading, stopping (sd_notify(3), systemd.service(5)).

The watchdog is fed only after a real question was answered, so that a node whose loop turns but whose
event store hangs is started anew. Without a service manager nothing here does anything.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING

from meshconsole.core.text import safe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

log = logging.getLogger(__name__)

MAX_STATUS = 300
FEEDS_PER_PERIOD = 2
"""sd_watchdog_enabled(3) advises half of the time allowed."""


class ServiceManager:
    """What started this process, if it wants to be told. Without a watchdog `watchdog_s` is 0."""

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self._address = address
        self.watchdog_s = watchdog_s

    @classmethod
    def of_process(cls, environment: MutableMapping[str, str], pid: int) -> ServiceManager:
        """Takes the variables out of the environment: what this process starts must not speak for it."""
        address = environment.pop("NOTIFY_SOCKET", "")
        period = environment.pop("WATCHDOG_USEC", "")
        meant = environment.pop("WATCHDOG_PID", "")
        if not address.startswith(("/", "@")):
            return cls()
        watches = period.isdigit() and meant in ("", str(pid))
        return cls(address, int(period) / 1e6 if watches else 0.0)

    def ready(self, status: str) -> None:
        self._tell("READY=1", _status(status))

    def reloading(self, now_ns: int) -> None:
        """It is ready again with `ready`, however that went. `now_ns` is of the monotonic clock, which
        systemd asks for since 253 (sd_notify(3)); older ones ignore the line."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now_ns // 1000}")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    async def watch(self, is_well: Callable[[], Awaitable[str]]) -> None:
        """Feeds the watchdog for as long as `is_well` answers: with a line for `systemctl status`.

        What it raises means that the node is not well: it is logged, and the watchdog goes hungry.
        """
        while self.watchdog_s:
            try:
                async with asyncio.timeout(self.watchdog_s):
                    status = await is_well()
            except Exception as error:
                log.error("not well: %s", str(error) or type(error).__name__)
            else:
                self._tell("WATCHDOG=1", _status(status))
            await asyncio.sleep(self.watchdog_s / FEEDS_PER_PERIOD)

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        # An address that begins with @ is in the abstract namespace: unix(7).
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            log.warning("the service manager was not told: %s", error.strerror)


def _status(text: str) -> str:
    """On one line: peers' words may be in it, and each line is a message of its own."""
    return f"STATUS={safe(text, MAX_STATUS)}"
