"""How long a person waits for a plain command."""

from __future__ import annotations

import subprocess
import sys
import time

from bench.figures import Figure, percentiles, ratio
from bench.nodes import ROOT, one_node
from scripts.machine import COMMAND

RUNS = 15


def measure() -> list[Figure]:
    bare = _times([sys.executable, "-c", "pass"])
    version = _times([*COMMAND, "--version"])
    helped = _times([*COMMAND, "--help"])
    with one_node() as node:
        asked = _times([*COMMAND, "status", "--home", str(node.home)])
    return [
        *percentiles("meshconsole --version", version),
        *percentiles("meshconsole --help", helped),
        *percentiles("meshconsole status", asked),
        ratio("status, to a bare interpreter", min(asked), min(bare), "python -c pass is 1"),
    ]


def _times(command: list[str]) -> list[float]:
    taken = []
    for _ in range(RUNS):
        began = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, cwd=ROOT)
        taken.append(time.perf_counter() - began)
    return taken
