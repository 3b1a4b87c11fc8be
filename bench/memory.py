"""What a headless node holds in memory before any WebRTC link, and what of that is its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from bench.figures import Figure, ratio
from bench.nodes import one_node, pid_of

if TYPE_CHECKING:
    from scripts.machine import Machine

SETTLE_S = 5.0
IDLE_S = 20.0


def measure() -> list[Figure]:
    with one_node("capabilities.webrtc_hub=false") as node:
        process = psutil.Process(pid_of(node))
        time.sleep(SETTLE_S)
        before, began = _busy_s(process.pid), time.monotonic()
        time.sleep(IDLE_S)
        busy, ended = _busy_s(process.pid) - before, time.monotonic()
        held = process.memory_full_info()
        return [
            Figure(
                "headless node, resident (RSS)", held.rss / 1e6, "MB", "relay, store, files, mDNS; no WebRTC"
            ),
            Figure("headless node, in no file's cache", _anonymous(process.pid) / 1e6, "MB", "RssAnon"),
            Figure("headless node, its own (USS)", held.uss / 1e6, "MB"),
            ratio("resident, to a bare interpreter", held.rss, _bare_interpreter(), "python -c pass is 1"),
            Figure(
                "headless node, idle processor", 100 * busy / (ended - began), "%", f"over {IDLE_S:.0f} s"
            ),
            Figure("headless node, threads", process.num_threads(), ""),
            Figure("headless node, resident after use", _used(node, process) / 1e6, "MB", "a note, a file"),
            Figure("headless node, start to ready", _start_s(node), "s", "with a passphrase"),
        ]


def _busy_s(pid: int) -> float:
    """Processor time of all its threads; psutil counts hundredths of a second, an idle node uses fewer."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in threads) / 1e9


def _anonymous(pid: int) -> int:
    fields = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return next(1024 * int(field[1]) for field in fields if field[0] == "RssAnon:")


def _used(node: Machine, process: psutil.Process) -> int:
    """What the start alone needed is let go of; this is what comes back with the first work."""
    node.command("send", "a note")
    cid = node.json("blobs", "add", __file__)[0]["cid"]
    node.command("blobs", "get", cid, "-o", str(node.home.parent / "copy"))
    return int(process.memory_info().rss)


def _start_s(node: Machine) -> float:
    """Of a home that exists, as after a reboot."""
    node.kill(signal.SIGTERM)
    began = time.monotonic()
    node.start()
    return time.monotonic() - began


def _bare_interpreter() -> float:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bare:
        time.sleep(0.5)
        held = float(psutil.Process(bare.pid).memory_info().rss)
        bare.kill()
    return held
