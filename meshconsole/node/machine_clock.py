"""What the kernel knows of this machine's clock: set by nobody, by a battery, by NTP or by a satellite."""

from __future__ import annotations

import ctypes
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshconsole.core.status import ClockQuality

LOOK_EVERY_S = 60.0
_STA_UNSYNC, _STA_PPSSIGNAL = 0x0040, 0x0100
"""adjtimex(2)."""
_STATUS = struct.Struct("@i")
_STATUS_AT = 40
"""Offset of `status` in `struct timex` where a long has 8 bytes."""


class MachineClock:
    """Asks the kernel once a minute."""

    def __init__(self) -> None:
        self._known: ClockQuality = "device"
        self._looked_at: float | None = None

    def quality(self) -> ClockQuality:
        now = time.monotonic()
        if self._looked_at is None or now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self._known = _look()
        return self._known


def _look() -> ClockQuality:
    status = _kernel_status()
    if status is not None and not status & _STA_UNSYNC:
        # Pulses each second come from a receiver of satellites, or a clock as good.
        return "gps" if status & _STA_PPSSIGNAL else "ntp"
    if sys.platform != "linux" or any(Path("/sys/class/rtc").glob("rtc*")) or status is None:
        return "device"
    return "none"


def _kernel_status() -> int | None:
    """None where it cannot be asked."""
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_long) != 8:
        return None
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    buffer = ctypes.create_string_buffer(512)
    if adjtimex(buffer) < 0:
        return None
    return int(_STATUS.unpack_from(buffer, _STATUS_AT)[0])
