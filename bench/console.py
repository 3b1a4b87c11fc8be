"""The console as a person meets it: in a terminal of 160x48, on a node that runs."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from fcntl import ioctl
from statistics import median
from struct import pack
from termios import TIOCSWINSZ

import psutil
import pyte

from bench.figures import Figure, percentiles
from bench.nodes import ROOT, one_node
from scripts.machine import COMMAND, Machine

COLUMNS, LINES = 160, 48
STARTS = 5
SETTLE_S = 5.0
IDLE_S = 20.0
PAINT_LIMIT_S = 20.0


def measure() -> list[Figure]:
    with one_node() as node:
        paints, spent = [], []
        for _ in range(STARTS):
            with Terminal(node) as terminal:
                paints.append(terminal.first_paint())
                spent.append(sum(psutil.Process(terminal.process.pid).cpu_times()[:2]))
        with Terminal(node) as terminal:
            terminal.first_paint()
            terminal.read_for(SETTLE_S)
            process = psutil.Process(terminal.process.pid)
            before, began, sent = process.cpu_times(), time.monotonic(), terminal.received
            terminal.read_for(IDLE_S)
            after, ended = process.cpu_times(), time.monotonic()
            busy = after.user + after.system - before.user - before.system
            drawn = terminal.received - sent
            held = process.memory_info().rss
    return [
        *percentiles("attach to first picture", paints),
        Figure(
            "attach to first picture, processor", median(spent), "s", "what it takes on a busy machine too"
        ),
        Figure("idle console, processor", 100 * busy / (ended - began), "%", f"over {IDLE_S:.0f} s"),
        Figure("idle console, drawn", drawn / (ended - began), "bytes/s"),
        Figure("console, resident", held / 1e6, "MB"),
    ]


class Terminal:
    """`meshconsole attach` in a pseudo-terminal, and what stands on its screen."""

    def __init__(self, node: Machine) -> None:
        self.name = node.json("status")["name"]
        self.screen = pyte.Screen(COLUMNS, LINES)
        self.stream = pyte.ByteStream(self.screen)
        self.received = 0
        self._master, slave = pty.openpty()
        ioctl(slave, TIOCSWINSZ, pack("HHHH", LINES, COLUMNS, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", "COLORTERM": "truecolor"}
        for name in ("SSH_CONNECTION", "SSH_TTY", "NO_COLOR"):
            environment.pop(name, None)
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [*COMMAND, "attach", "--home", str(node.home)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            cwd=ROOT,
        )
        os.close(slave)

    def first_paint(self) -> float:
        while not any(self.name in line for line in self.screen.display):
            if time.perf_counter() - self.began > PAINT_LIMIT_S:
                raise SystemExit(
                    "The console did not draw the node's name:\n" + "\n".join(self.screen.display)
                )
            self._read(0.2)
        return time.perf_counter() - self.began

    def read_for(self, seconds: float) -> None:
        """Reads as a terminal does, so that the console is never held up."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._read(min(left, 0.2))

    def _read(self, timeout_s: float) -> None:
        if select.select([self._master], [], [], timeout_s)[0]:
            data = os.read(self._master, 65536)
            self.received += len(data)
            self.stream.feed(data)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + 5
        while self.process.poll() is None and time.monotonic() < until:
            self._read_if_open()
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def _read_if_open(self) -> None:
        try:
            self._read(0.05)
        except OSError:  # the console has closed its side
            time.sleep(0.05)
