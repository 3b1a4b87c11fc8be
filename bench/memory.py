"""What a headless node holds in memory: idle, with data channels to teammates, and with 100,000 events and
twenty plain clients; what of that is its own.

Resident memory comes and goes with what is done once in a while, so it is looked at for some time: "RSS" is
the median, and the most is told beside it.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from bench.figures import Figure, ratio
from bench.nodes import OPEN, one_node, pid_of
from bench.relay.corpus import corpus
from scripts.machine import Failure, Machine

SETTLE_S = 5.0
IDLE_S = 40.0
STEP_S = 0.2
LINKED = (2, 20)
EVENTS = 100_000
CLIENTS = 20
JOIN_TRIES = 9
JOIN_PAUSE_S = 10.0


def measure() -> list[Figure]:
    return [*_idle(), *_serving(), *(figure for count in LINKED for figure in _linked(count))]


def _idle() -> list[Figure]:
    with one_node("capabilities.webrtc_hub=false") as node:
        process = psutil.Process(pid_of(node))
        time.sleep(SETTLE_S)
        before, began = _busy_s(process.pid), time.monotonic()
        resident = _watch(process)
        busy, ended = _busy_s(process.pid) - before, time.monotonic()
        held = process.memory_full_info()
        return [
            _resident("headless node", resident),
            Figure("headless node, in no file's cache", _anonymous(process.pid) / 1e6, "MB", "RssAnon"),
            Figure("headless node, its own (USS)", held.uss / 1e6, "MB"),
            ratio(
                "resident, to a bare interpreter",
                median(resident),
                _bare_interpreter(),
                "python -c pass is 1",
            ),
            Figure(
                "headless node, idle processor", 100 * busy / (ended - began), "%", f"over {IDLE_S:.0f} s"
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
        taken_in = int(process.memory_info().rss)
        with subprocess.Popen(
            [sys.executable, "-m", "bench.plain_clients", node.address, str(CLIENTS)]
        ) as crowd:
            time.sleep(SETTLE_S)
            resident = _watch(process)
            anonymous = _anonymous(process.pid)
            helpers = sum(child.memory_info().rss for child in process.children(recursive=True))
            crowd.kill()
        title = f"with {EVENTS:,} events and {CLIENTS} clients"
        return [
            Figure(f"after taking in {EVENTS:,} events", taken_in / 1e6, "MB", "RSS"),
            _resident(title, resident),
            Figure(f"{title}, in no file's cache", anonymous / 1e6, "MB", "RssAnon"),
            Figure(f"{title}, processes beside it", helpers / 1e6, "MB", "RSS; where signatures are checked"),
        ]


def _linked(count: int) -> list[Figure]:
    """A node of role relay, to which everybody in the team has a link and a data channel beside it."""
    with tempfile.TemporaryDirectory(prefix="meshconsole-bench-") as folder, ExitStack() as stack:
        team = [Machine(Path(folder), f"member{n}", passphrase=None) for n in range(count)]
        hub = Machine(Path(folder), "hub", passphrase=None)
        for node in (*team, hub):
            founds = ("--team", "Falcon") if node is team[0] else ()
            node.command("init", "--yes", "--name", node.name, *founds)
            stack.callback(node.kill, signal.SIGTERM)
            node.start()
        for node in (hub, *team[1:]):
            role = "relay" if node is hub else "member"
            invite = team[0].json("team", "invite", "--role", role, "--address", team[0].address)
            _join(node, invite["text"])
        hub.wait("channels", lambda status: _channels(status) >= count, within_s=300)
        time.sleep(SETTLE_S)
        process = psutil.Process(pid_of(hub))
        resident = _watch(process)
        return [
            _resident(f"with data channels to {count}", resident),
            Figure(f"with data channels to {count}, in no file's cache", _anonymous(process.pid) / 1e6, "MB"),
        ]


def _join(node: Machine, invite: str) -> None:
    """A device lets few strangers a minute try."""
    for _ in range(JOIN_TRIES):
        done = node.command("team", "join", invite, check=False)
        if done.returncode == 0:
            return
        time.sleep(JOIN_PAUSE_S)
    raise Failure(f"{node.name} did not join: {done.stderr.strip()}")


def _channels(status: dict[str, Any]) -> int:
    return sum(any(link["path"] == "webrtc" for link in peer["links"]) for peer in status["peers"])


def _watch(process: psutil.Process) -> list[int]:
    """Resident sizes over IDLE_S."""
    ends, found = time.monotonic() + IDLE_S, []
    while time.monotonic() < ends:
        found.append(int(process.memory_info().rss))
        time.sleep(STEP_S)
    return found


def _resident(what: str, sizes: list[int]) -> Figure:
    most = f"relay, store, files, mDNS; at most {max(sizes) / 1e6:.0f} within {IDLE_S:.0f} s"
    return Figure(f"{what}, resident (RSS)", median(sizes) / 1e6, "MB", most)


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
