"""What a headless node holds in memory before any WebRTC link, and what of that is its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil

from bench.figures import Figure, ratio
from bench.nodes import one_node, pid_of

if TYPE_CHECKING:
    from scripts.machine import Machine

SETTLE_S = 5.0
IDLE_S = 10.0


def measure() -> list[Figure]:
    with one_node("capabilities.webrtc_hub=false") as node:
        process = psutil.Process(pid_of(node))
        time.sleep(SETTLE_S)
        held = process.memory_full_info()
        threads = process.num_threads()
        before, began = process.cpu_times(), time.monotonic()
        time.sleep(IDLE_S)
        after, ended = process.cpu_times(), time.monotonic()
        busy = after.user + after.system - before.user - before.system
        return [
            Figure("headless node, resident", held.rss / 1e6, "MB", "relay, store, files, mDNS; no WebRTC"),
            Figure("headless node, its own (USS)", held.uss / 1e6, "MB"),
            ratio("resident, to a bare interpreter", held.rss, _bare_interpreter(), "python -c pass is 1"),
            Figure("headless node, start to ready", _start_s(node), "s", "with a passphrase"),
            Figure(
                "headless node, idle processor", 100 * busy / (ended - began), "%", f"over {IDLE_S:.0f} s"
            ),
            Figure("headless node, threads", threads, ""),
        ]


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
