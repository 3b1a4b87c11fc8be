"""A pseudo-terminal with a program in it, and a screen that obeys what the program sends."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pyte

if TYPE_CHECKING:
    import signal

ROOT = Path(__file__).parents[2]
LONG_S = 30.0
"""How long a test waits for what must come. Only a failure takes as long."""


class Terminal:
    def __init__(
        self,
        *arguments: str,
        width: int = 80,
        height: int = 24,
        program: tuple[str, ...] = (sys.executable, "-m", "tests.console.on_a_terminal"),
        **environment: str,
    ) -> None:
        self.master, self._slave = pty.openpty()
        self.output = b""
        self.screen = pyte.Screen(width, height)
        self.stream = pyte.ByteStream(self.screen)
        self.resize(width, height)
        self.settings = termios.tcgetattr(self._slave)
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.process = subprocess.Popen(
            [*program, *arguments],
            cwd=ROOT,
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env={**inherited, "TERM": "xterm-256color", "LANG": "C.UTF-8", "TZ": "UTC", **environment},
            start_new_session=True,
            preexec_fn=_take_terminal,
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for descriptor in (self.master, self._slave):
            if descriptor >= 0:
                os.close(descriptor)

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.screen.resize(height, width)

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def until_shown(self, text: str) -> None:
        while text not in self.text:
            assert self._read(), f"not shown: {text}\n{self.text}"

    def until_gone(self, text: str) -> None:
        while text in self.text:
            assert self._read(), f"still shown: {text}\n{self.text}"

    def ended(self) -> int:
        """Reads on until the program is gone; its exit code."""
        while self.process.poll() is None:
            self._read(0.05)
        while self._read(0.0):
            pass
        return self.process.returncode

    def hang_up(self) -> int:
        """Takes the terminal away; the exit code."""
        os.close(self._slave)
        os.close(self.master)
        self.master = self._slave = -1
        return self.process.wait(LONG_S)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def is_restored(self) -> bool:
        """The settings are as they were, and the screen, cursor, mouse and paste modes were given back."""
        left = self.output.rfind(b"\x1b[?1049l")
        if left < self.output.rfind(b"\x1b[?1049h") or termios.tcgetattr(self._slave) != self.settings:
            return False
        for mode in (b"1000", b"1003", b"1004", b"2004"):
            if self.output.rfind(b"\x1b[?" + mode + b"h") > self.output.rfind(b"\x1b[?" + mode + b"l"):
                return False
        return self.output.rfind(b"\x1b[?25h") > self.output.rfind(b"\x1b[?25l")

    def _read(self, timeout_s: float = LONG_S) -> bool:
        if not select.select([self.master], [], [], timeout_s)[0]:
            return False
        try:
            data = os.read(self.master, 1 << 16)
        except OSError:
            return False
        self.output += data
        self.stream.feed(data)
        return bool(data)


def _take_terminal() -> None:
    """Makes standard input the controlling terminal, so that closing it hangs up."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
