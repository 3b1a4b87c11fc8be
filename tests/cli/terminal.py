"""The command line in a pseudo-terminal: for what only happens when somebody sits there."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from fcntl import ioctl
from pathlib import Path
from struct import pack
from termios import TIOCSWINSZ
from typing import TYPE_CHECKING

import pyte

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
"""Only a test that fails waits this long."""


class Terminal:
    """Types, and waits for words to appear."""

    COLUMNS, LINES = 100, 30

    def __init__(self, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self.seen = ""
        self._screen = pyte.Screen(self.COLUMNS, self.LINES)
        self._painter = pyte.ByteStream(self._screen)
        self._master, slave = pty.openpty()
        ioctl(slave, TIOCSWINSZ, pack("HHHH", self.LINES, self.COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "meshconsole", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", **(environment or {})},
            cwd=ROOT,
            start_new_session=True,
        )
        os.close(slave)

    def expect(self, words: str) -> None:
        """Returns when `words` have appeared after what was expected before."""
        deadline = time.monotonic() + PATIENCE_S
        while words not in self.seen:
            assert time.monotonic() < deadline, f"{words!r} did not appear after:\n{self.seen}"
            assert self._read(), f"it ended before {words!r} appeared:\n{self.seen}"
        self.seen = self.seen.partition(words)[2]

    def expect_on_screen(self, words: str) -> None:
        """For full-screen programs: returns when `words` stand on one line of the screen."""
        deadline = time.monotonic() + PATIENCE_S
        while not any(words in line for line in self._screen.display):
            shown = "\n".join(self._screen.display)
            assert time.monotonic() < deadline, f"{words!r} is not on the screen:\n{shown}"
            assert self._read(), f"it ended before {words!r} was on the screen:\n{shown}"

    def type(self, line: str) -> None:
        os.write(self._master, line.encode() + b"\r")

    def end(self) -> int:
        """The exit code, once it has ended by itself."""
        while self._read():
            pass
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def _read(self) -> bool:
        """False once the other side is closed."""
        if not select.select([self._master], [], [], 1.0)[0]:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux: EIO when the last process has closed its side
            return False
        self._painter.feed(data)
        self.seen += data.decode("utf-8", "replace")
        return bool(data)
