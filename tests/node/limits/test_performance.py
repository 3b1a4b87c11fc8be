"""The mode that suits power and heat, and what the system tells of them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from meshconsole.node.limits.performance import LEAST, NICE, Performance
from meshconsole.node.limits.power import SETTLE_S, AutoMode, Power, read_power

if TYPE_CHECKING:
    from pathlib import Path

    from meshconsole.core.sections import PerformanceMode


def settled(auto: AutoMode, power: Power, now: float) -> str:
    auto.look(power, now)
    auto.look(power, now + SETTLE_S)
    return auto.mode


def test_the_first_look_decides_at_once_and_later_ones_after_a_while() -> None:
    auto = AutoMode()
    auto.look(Power(True, 90, 40.0), 0)
    assert (auto.mode, auto.why) == ("full", "on mains")
    auto.look(Power(False, 90, 40.0), 10)
    auto.look(Power(True, 90, 40.0), 20)
    auto.look(Power(False, 90, 40.0), 30)
    auto.look(Power(False, 89, 40.0), 29 + SETTLE_S)
    assert auto.mode == "full", "a loose plug"
    auto.look(Power(False, 89, 40.0), 30 + SETTLE_S)
    assert (auto.mode, auto.why) == ("balanced", "on battery, 89 %")


def test_low_batteries_and_heat_spare_until_they_have_recovered() -> None:
    auto = AutoMode()
    assert settled(auto, Power(False, 20, 50.0), 0) == "saver"
    assert auto.why == "the battery is at 20 %"
    assert settled(auto, Power(False, 30, 50.0), 100) == "saver"
    assert settled(auto, Power(False, 31, 50.0), 200) == "balanced"
    assert settled(auto, Power(None, None, 80.0), 300) == "saver"
    assert auto.why == "the processor is at 80 °C"
    assert settled(auto, Power(None, None, 70.0), 400) == "saver"
    assert settled(auto, Power(None, None, 69.9), 500) == "balanced"


def test_what_is_not_told_changes_nothing() -> None:
    assert settled(AutoMode(), Power(), 0) == "balanced"
    assert settled(AutoMode(), Power(on_mains=True), 0) == "balanced", "a Pi on mains keeps its memory"


def test_what_sysfs_tells(tmp_path: Path) -> None:
    def device(name: str, **files: str) -> None:
        folder = tmp_path / "class" / name
        folder.mkdir(parents=True)
        for file, text in files.items():
            (folder / file).write_text(f"{text}\n")

    assert read_power(tmp_path) == Power()
    device("power_supply/hidpp_battery_0", type="Battery", scope="Device", capacity="3", status="Discharging")
    device("thermal/thermal_zone0", type="iwlwifi_1", temp="99000")
    device("thermal/cooling_device0", type="Processor")
    assert read_power(tmp_path) == Power()
    device("power_supply/AC", type="Mains", online="0")
    device("power_supply/BAT0", type="Battery", capacity="71", status="Discharging")
    device("power_supply/BAT1", type="Battery", capacity="12", status="Not charging")
    device("thermal/thermal_zone1", type="cpu-thermal", temp="64321")
    device("thermal/thermal_zone2", type="x86_pkg_temp", temp="not told")
    assert read_power(tmp_path) == Power(on_mains=False, battery_percent=12, temperature_c=64.321)
    (tmp_path / "class/power_supply/AC/online").write_text("1\n")
    assert read_power(tmp_path).on_mains


def test_the_owner_chooses_while_the_node_runs() -> None:
    modes: list[PerformanceMode] = []
    told = [Power(on_mains=False, battery_percent=5)]
    performance = Performance("balanced", modes.append, lambda: told[0], lambda: 0.0)
    performance.look()
    assert performance.words == "balanced"
    performance.choose("auto")
    assert performance.words == "saver (auto: the battery is at 5 %)"
    performance.choose("full")
    performance.choose("full")
    assert modes == ["saver", "full"]
    assert performance.words == "full"


def test_while_memory_is_short_every_choice_waits() -> None:
    modes: list[PerformanceMode] = []
    performance = Performance("full", modes.append)
    performance.squeeze(on=True)
    assert performance.words == "saver (memory is short)"
    performance.choose("balanced")
    performance.squeeze(on=False)
    assert modes == ["saver", "balanced"]


PRIORITIES = """
import os, threading
from meshconsole.node.limits.performance import Performance
waiting = threading.Event()
other = threading.Thread(target=waiting.wait)
other.start()
performance = Performance("balanced", lambda mode: None)
performance.choose("saver")
print(*(os.getpriority(os.PRIO_PROCESS, int(thread)) for thread in os.listdir("/proc/self/task")))
performance.choose("auto")
print(*(os.getpriority(os.PRIO_PROCESS, int(thread)) for thread in os.listdir("/proc/self/task")))
waiting.set()
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs Linux' /proc")
def test_saver_lets_everything_else_go_first_with_all_threads() -> None:
    done = subprocess.run([sys.executable, "-c", PRIORITIES], capture_output=True, text=True, check=True)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    wanted = str(min(LEAST, before + NICE))
    spared, back = done.stdout.splitlines()
    assert spared.split() == [wanted, wanted]
    assert os.geteuid() or back.split() == [str(before)] * 2, "auto is no saver"
