"""The console as a person meets it: in a terminal, on a node that runs, then on one with a large team."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING

import psutil

from bench.crowd import PEERS, ROWS
from bench.figures import Figure, percentiles
from bench.nodes import ROOT, one_node
from bench.screen import Screen
from scripts.machine import COMMAND

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL, LARGE = (80, 24), (160, 48)
STARTS = 5
SETTLE_S = 8.0
IDLE_S = 20.0
BUSY_S = 12.0
EVENTS_PER_S = 200
STEPS = 40
PAGE_DOWN, PAGE_UP = "\x1b[6~", "\x1b[5~"


def measure() -> list[Figure]:
    return [*_on_a_node(), *_with_a_crowd(), *_scrolling()]


def _on_a_node() -> list[Figure]:
    with one_node() as node:
        attach = [*COMMAND, "attach", "--home", str(node.home)]
        name = node.json("status")["name"]
        paints, spent = [], []
        for _ in range(STARTS):
            with Screen(attach, LARGE) as screen:
                paints.append(screen.until_shown(name))
                spent.append(sum(psutil.Process(screen.process.pid).cpu_times()[:2]))
        with Screen(attach, LARGE) as screen:
            screen.until_shown(name)
            screen.cost_of(SETTLE_S)
            idle = screen.cost_of(IDLE_S)
    return [
        *percentiles("attach to first picture", paints),
        Figure(
            "attach to first picture, processor", median(spent), "s", "what it takes on a busy machine too"
        ),
        Figure("idle console, processor", idle.cpu_percent, "%", f"over {IDLE_S:.0f} s, 160x48"),
        Figure("idle console, drawn", idle.sent_bps, "bytes/s"),
        Figure("console, resident", idle.resident_bytes / 1e6, "MB"),
    ]


def _with_a_crowd() -> list[Figure]:
    figures = []
    with _crowd(EVENTS_PER_S) as folder:
        for fps, term in ((4, "xterm-256color"), (1, "xterm-256color"), (0.5, "linux")):
            attach = [*COMMAND, "attach", "--home", folder, "--fps", str(fps)]
            with Screen(attach, SMALL, term=term) as screen:
                screen.until_shown("At point")
                screen.cost_of(SETTLE_S)
                cost = screen.cost_of(BUSY_S)
            what = f"{EVENTS_PER_S} events/s, {fps:g} frames/s"
            note = f"80x24, {PEERS} peers, {term}"
            figures += [
                Figure(f"{what}, processor", cost.cpu_percent, "%", note),
                Figure(f"{what}, drawn", cost.sent_bps / 1024, "KiB/s", note),
                Figure(f"{what}, resident", cost.resident_bytes / 1e6, "MB", note),
            ]
    return figures


def _scrolling() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="mc-bench-") as folder:
        rows = [sys.executable, "-m", "bench.crowd", folder, "rows"]
        with Screen(rows, SMALL) as screen:
            screen.until_shown("following")
            screen.cost_of(SETTLE_S)
            screen.answer_to("g")
            steps = [screen.answer_to(key) for _ in range(STEPS) for key in (PAGE_DOWN, PAGE_DOWN, PAGE_UP)]
    return percentiles(f"a page in {ROWS:,} events, key to picture", steps)


@contextmanager
def _crowd(events_per_s: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="mc-bench-") as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.crowd", folder, str(events_per_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield folder
        finally:
            process.communicate()
