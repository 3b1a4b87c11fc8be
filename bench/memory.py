"""What a headless node holds in memory: idle, with data channels to teammates, and with 100,000 events and
twenty plain clients.

Resident memory (RSS) comes and goes with what is done once in a while, so it is looked at for some time: told
are the median and the most. It counts whole pages that other processes use too; PSS counts this process's
share of those, USS only what is its own, RssAnon what no file's cache holds. Helpers are the processes below
the node, told apart.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import IO, Any

import psutil

from bench.figures import Figure, ratio
from bench.nodes import OPEN, ROOT, one_node, pid_of
from bench.relay.corpus import corpus
from scripts.machine import Failure, Machine

SETTLE_S = 5.0
WATCH_S = 25.0
STEP_S = 0.25
LINKED = (2, 20)
EVENTS = 100_000
CLIENTS = 20
LINKED_WITHIN_S = 120.0


def measure() -> list[Figure]:
    return [*_idle(), *_serving(), *(figure for count in LINKED for figure in _linked(count))]


@dataclass(slots=True)
class Held:
    """What a node held while it was looked at, in bytes; of each size what was found each time."""

    rss: list[int] = field(default_factory=list)
    pss: list[int] = field(default_factory=list)
    uss: list[int] = field(default_factory=list)
    anonymous: list[int] = field(default_factory=list)
    helpers: list[int] = field(default_factory=list)
    """RSS of all processes below it."""
    helpers_pss: list[int] = field(default_factory=list)

    def figures(self, what: str, goal: str) -> list[Figure]:
        found = [
            Figure(
                f"{what}, resident (RSS)",
                median(self.rss) / 1e6,
                "MB",
                f"{goal}at most {max(self.rss) / 1e6:.0f} within {WATCH_S:.0f} s",
            ),
            Figure(f"{what}, its share (PSS)", median(self.pss) / 1e6, "MB"),
            Figure(f"{what}, its own (USS)", median(self.uss) / 1e6, "MB"),
            Figure(f"{what}, in no file's cache", median(self.anonymous) / 1e6, "MB", "RssAnon"),
        ]
        if any(self.helpers):
            most = f"at most {max(self.helpers) / 1e6:.0f}; where signatures are checked"
            found += [
                Figure(f"{what}, helpers (RSS)", median(self.helpers) / 1e6, "MB", most),
                Figure(f"{what}, helpers (PSS)", median(self.helpers_pss) / 1e6, "MB"),
            ]
        return found


def _watch(process: psutil.Process) -> Held:
    held, ends = Held(), time.monotonic() + WATCH_S
    while time.monotonic() < ends:
        sizes = _rollup(process.pid)
        held.rss.append(sizes["Rss"])
        held.pss.append(sizes["Pss"])
        held.uss.append(sizes["Private_Clean"] + sizes["Private_Dirty"])
        held.anonymous.append(sizes["Anonymous"])
        below = [_rollup(child.pid) for child in process.children(recursive=True)]
        held.helpers.append(sum(one.get("Rss", 0) for one in below))
        held.helpers_pss.append(sum(one.get("Pss", 0) for one in below))
        time.sleep(STEP_S)
    return held


def _rollup(pid: int) -> dict[str, int]:
    """smaps_rollup of proc(5), in bytes; empty for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    return {name: 1024 * int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}


def _idle() -> list[Figure]:
    with one_node("capabilities.webrtc_hub=false") as node:
        process = psutil.Process(pid_of(node))
        time.sleep(SETTLE_S)
        before, began = _busy_s(process.pid), time.monotonic()
        held = _watch(process)
        busy, ended = _busy_s(process.pid) - before, time.monotonic()
        return [
            *held.figures("headless node", "goal 45; for the relay process 40; "),
            ratio(
                "resident, to a bare interpreter",
                median(held.rss),
                _bare_interpreter(),
                "python -c pass is 1",
            ),
            Figure(
                "headless node, idle processor", 100 * busy / (ended - began), "%", f"over {WATCH_S:.0f} s"
            ),
            Figure("headless node, threads", process.num_threads(), ""),
            Figure("headless node, resident after use", _used(node, process) / 1e6, "MB", "a note, a file"),
            Figure("headless node, start to ready", _start_s(node), "s", "with a passphrase"),
        ]


def _serving() -> list[Figure]:
    """Each client has two subscriptions, asks for a window of notes every second, and publishes one then."""
    with one_node("capabilities.webrtc_hub=false", *OPEN) as node:
        file = node.home.parent / "events.jsonl"
        file.write_bytes(b"\n".join(corpus(EVENTS)))
        node.command("relay", "import", str(file), within_s=600)
        process = psutil.Process(pid_of(node))
        taken_in = _rollup(process.pid)["Rss"]
        with subprocess.Popen(
            [sys.executable, "-m", "bench.plain_clients", node.address, str(CLIENTS)]
        ) as crowd:
            time.sleep(SETTLE_S)
            held = _watch(process)
            crowd.kill()
        return [
            Figure(f"after taking in {EVENTS:,} events", taken_in / 1e6, "MB", "RSS of the node itself"),
            *held.figures(f"with {EVENTS:,} events and {CLIENTS} clients", "goal 75; "),
        ]


def _linked(count: int) -> list[Figure]:
    """A node of role relay as it is shipped; its team runs in one process (`bench/team.py`)."""
    with tempfile.TemporaryDirectory(prefix="meshconsole-bench-") as folder, ExitStack() as stack:
        node = Machine(Path(folder), "hub", passphrase=None)
        node.command("init", "--yes", "--name", node.name)
        stack.callback(node.kill, signal.SIGTERM)
        node.start()
        team = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "bench.team", folder, str(count)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        assert team.stdin is not None
        assert team.stdout is not None
        stack.callback(team.kill)
        node.command("team", "join", _line(team.stdout))
        _tell(team.stdin, node.address)
        _line(team.stdout)
        node.wait("knowing its team", lambda status: len(status["peers"]) == count)
        _tell(team.stdin, "dial")
        node.wait("channels", lambda status: _channels(status) == count, within_s=LINKED_WITHIN_S)
        time.sleep(SETTLE_S)
        goal = "goal 60; " if count == 2 else "goal 70; "
        return _watch(psutil.Process(pid_of(node))).figures(f"with data channels to {count}", goal)


def _line(source: IO[str]) -> str:
    line = source.readline().strip()
    if not line:
        raise Failure("the team ended before its time")
    return line


def _tell(sink: IO[str], line: str) -> None:
    sink.write(f"{line}\n")
    sink.flush()


def _channels(status: dict[str, Any]) -> int:
    return sum(any(link["path"] == "webrtc" for link in peer["links"]) for peer in status["peers"])


def _busy_s(pid: int) -> float:
    """Processor time of all its threads; psutil counts hundredths of a second, an idle node uses fewer."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in threads) / 1e9


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
