"""How long a node takes from its start until its relay has answered a request of a plain client."""

from __future__ import annotations

import os
import signal
import sys
import sysconfig
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import psutil
from websockets.sync.client import connect

from bench.figures import Figure, percentiles
from bench.nodes import OPEN, ROOT, pid_of
from scripts.machine import PASSPHRASE, Failure, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS = 10
COLD_RUNS = 3
PROMISED = "promised 1,200 ms"


def measure() -> list[Figure]:
    with _home(PASSPHRASE) as node:
        by_passphrase = [_start(node) for _ in range(RUNS)]
        uncached = [_start_uncached(node) for _ in range(COLD_RUNS)]
    with _home(None) as node:
        by_key_file = [_start(node) for _ in range(RUNS)]
    return [
        *_figures("start to an answered REQ, passphrase", by_passphrase),
        Figure(
            "the same, nothing in the cache of files",
            1e3 * median(took for took, _ in uncached),
            "ms",
            PROMISED,
        ),
        *_figures("start to an answered REQ, key file", by_key_file),
    ]


def _figures(name: str, runs: list[tuple[float, float]]) -> list[Figure]:
    middle, worst = percentiles(name, [took for took, _ in runs])
    return [
        middle,
        Figure(worst.name, worst.value, worst.unit, PROMISED),
        Figure(f"{name}, processor", 1e3 * median(busy for _, busy in runs), "ms"),
    ]


@contextmanager
def _home(passphrase: str | None) -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="meshconsole-bench-") as folder:
        node = Machine(Path(folder), "alpha", passphrase)
        node.command("init", "--yes", "--name", "alpha", "--team", "Falcon")
        yield node


def _start(node: Machine) -> tuple[float, float]:
    """Seconds until the answer, and of all processors until then."""
    with ExitStack() as stack:
        stack.callback(node.kill, signal.SIGTERM)
        began = time.perf_counter()
        node.start(*OPEN)
        with connect(f"ws://{node.address}", proxy=None, compression=None) as client:
            client.send('["REQ","first",{"limit":1}]')
            while not (answer := str(client.recv())).startswith('["EOSE"'):
                if answer.startswith('["CLOSED"'):
                    raise Failure(f"the relay refuses: {answer}")
            took = time.perf_counter() - began
        used = psutil.Process(pid_of(node)).cpu_times()
    return took, used.user + used.system


def _start_uncached(node: Machine) -> tuple[float, float]:
    """What other processes have mapped stays in memory all the same: the C library, the interpreter."""
    os.sync()  # what is not written yet cannot leave the cache
    for place in (ROOT / "meshconsole", Path(sys.prefix), Path(sysconfig.get_path("stdlib")), node.home):
        for folder, _, names in os.walk(place):
            for name in names:
                _forget(Path(folder, name))
    return _start(node)


def _forget(path: Path) -> None:
    if path.is_file():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
