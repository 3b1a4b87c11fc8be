"""A program in a pseudo-terminal: what it draws, how fast, and what it costs."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from fcntl import ioctl
from struct import pack
from termios import TIOCSWINSZ
from typing import TYPE_CHECKING

import psutil
import pyte

from bench.nodes import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT_S = 60.0
QUIET_S = 0.15


@dataclass(frozen=True, slots=True)
class Cost:
    """Of some seconds."""

    cpu_percent: float
    sent_bps: float
    resident_bytes: int


class Screen:
    def __init__(
        self, command: Sequence[str], size: tuple[int, int], *, term: str = "xterm-256color"
    ) -> None:
        columns, lines = size
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.received = 0
        self._master, slave = pty.openpty()
        ioctl(slave, TIOCSWINSZ, pack("HHHH", lines, columns, 0, 0))
        environment = {**os.environ, "TERM": term, "LANG": "C.UTF-8", "COLORTERM": "truecolor"}
        if term != "xterm-256color":
            environment.pop("COLORTERM")
        for name in ("SSH_CONNECTION", "SSH_TTY", "NO_COLOR", "TMUX"):
            environment.pop(name, None)
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            cwd=ROOT,
        )
        os.close(slave)

    def until_shown(self, text: str) -> float:
        """Seconds from the start of the program."""
        while not any(text in line for line in self.screen.display):
            if time.perf_counter() - self.began > LIMIT_S:
                raise SystemExit(f"The console did not draw {text!r}:\n" + "\n".join(self.screen.display))
            self._read(0.2)
        return time.perf_counter() - self.began

    def cost_of(self, seconds: float) -> Cost:
        """Reads as a terminal does, so that the program is never held up."""
        process = psutil.Process(self.process.pid)
        before, sent, began = process.cpu_times(), self.received, time.monotonic()
        while (left := began + seconds - time.monotonic()) > 0:
            self._read(min(left, 0.2))
        after, took = process.cpu_times(), time.monotonic() - began
        busy = after.user + after.system - before.user - before.system
        return Cost(100 * busy / took, (self.received - sent) / took, process.memory_info().rss)

    def answer_to(self, key: str) -> float:
        """Seconds from a key until the last byte of what it changes on the screen."""
        began = last = time.perf_counter()
        os.write(self._master, key.encode())
        while self._read(LIMIT_S if last == began else QUIET_S):
            last = time.perf_counter()
        return last - began

    def _read(self, timeout_s: float) -> bool:
        if not select.select([self._master], [], [], timeout_s)[0]:
            return False
        data = os.read(self._master, 65536)
        self.received += len(data)
        self.stream.feed(data)
        return True

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + 5
        while self.process.poll() is None and time.monotonic() < until:
            try:
                self._read(0.05)
            except OSError:  # the program has closed its side
                time.sleep(0.05)
        self.process.kill()
        self.process.wait()
        os.close(self._master)
