"""What this machine tells of its power and heat, and the performance mode that suits it.

Linux tells both in sysfs (Documentation/ABI/testing/sysfs-class-power and -thermal). Many machines tell
nothing, a Raspberry Pi its temperature alone; what is not told changes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshconsole.core.sections import PerformanceMode

HOT_C, COOL_C = 80.0, 70.0
"""A Raspberry Pi slows its processor down from 80 on; below COOL_C it has recovered."""
LOW_PERCENT, CHARGED_PERCENT = 20, 30
SETTLE_S = 30.0
"""A plug that is loose, or one busy second, changes nothing."""

PROCESSOR_ZONES = ("x86_pkg_temp", "cpu", "soc", "acpitz", "coretemp", "k10temp")
"""Beginnings of the types of thermal zones that a processor sits in; others are of radios and batteries."""


_FED = {"Charging": (True,), "Full": (True,), "Discharging": (False,)}
"""What a battery tells of the mains."""


class Power(NamedTuple):
    """None is what the system does not tell."""

    on_mains: bool | None = None
    battery_percent: int | None = None
    """Of the emptiest one."""
    temperature_c: float | None = None
    """Of the hottest part of the processor."""


def read_power(sys: Path = Path("/sys")) -> Power:
    """Never raises: a device that goes while it is read tells nothing."""
    mains: list[bool] = []
    batteries: list[int] = []
    for device in _devices(sys / "class/power_supply"):
        match _word(device / "type"):
            case "Mains" | "USB" | "Wireless":
                mains.append(_word(device / "online") != "0")
            case "Battery" if _word(device / "scope") != "Device":  # not that of a mouse
                charge = _number(device / "capacity")
                batteries += [] if charge is None else [charge]
                mains += _FED.get(_word(device / "status"), ())
    zones = [
        degrees / 1000
        for zone in _devices(sys / "class/thermal")
        if _word(zone / "type").lower().startswith(PROCESSOR_ZONES)
        and (degrees := _number(zone / "temp")) is not None
    ]
    return Power(
        any(mains) if mains else None,
        min(batteries, default=None),
        max(zones, default=None),
    )


class AutoMode(msgspec.Struct):
    """`performance_mode = "auto"`. Pure; `now` is monotonic, in seconds.

    saver while the processor is hot or the battery low, full on mains where there is a battery as well (a
    laptop that is plugged in), else balanced. The first look decides at once; then a mode lasts until
    another one has suited for SETTLE_S.
    """

    mode: PerformanceMode = "balanced"
    why: str = ""
    _is_hot: bool = False
    _is_low: bool = False
    _wanted: PerformanceMode = "balanced"
    _since: float | None = None

    def look(self, power: Power, now: float) -> None:
        wanted, why = self._suits(power)
        if wanted == self.mode or not self.why:
            self.mode, self.why, self._since = wanted, why, None
            return
        if wanted != self._wanted or self._since is None:
            self._wanted, self._since = wanted, now
        if now - self._since >= SETTLE_S:
            self.mode, self.why, self._since = wanted, why, None

    def _suits(self, power: Power) -> tuple[PerformanceMode, str]:
        mains, charge, heat = power
        self._is_hot = heat is not None and heat >= (COOL_C if self._is_hot else HOT_C)
        drains = charge is not None and mains is False
        self._is_low = drains and (charge or 0) <= (CHARGED_PERCENT if self._is_low else LOW_PERCENT)
        if self._is_hot:
            return "saver", f"the processor is at {heat:.0f} °C"
        if self._is_low:
            return "saver", f"the battery is at {charge} %"
        if drains:
            return "balanced", f"on battery, {charge} %"
        if mains and charge is not None:
            return "full", "on mains"
        return "balanced", "on mains" if mains else "nothing is told of a battery"


def _devices(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(folder.iterdir())
    except OSError:
        return


def _word(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _number(file: Path) -> int | None:
    try:
        return int(_word(file))
    except ValueError:
        return None
