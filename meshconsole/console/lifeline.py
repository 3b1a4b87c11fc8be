"""How the console dies: signals and a lost terminal end it with the terminal restored.

A signal handler that only the event loop runs is not enough: a terminal that stops reading blocks
the loop in Textual's write queue. So the handlers are plain ones, and a deadline stands behind each.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import sys
import termios
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

DEADLINE_S = 3.0
"""How long a polite end may take before the process is ended without it."""

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@contextmanager
def lifeline(leave: Callable[[int], None], terminal: int) -> Iterator[None]:
    """While open, a signal or the loss of `terminal` (a descriptor) calls `leave(exit_code)`.

    `leave` must be safe to call from a signal handler and from a thread. To be entered on the main
    thread; a thread that waits for a terminal without one to watch ends at once.
    """
    settings = _settings(terminal)
    begun = threading.Event()

    def end(code: int) -> None:
        if not begun.is_set():
            begun.set()
            deadline = threading.Timer(DEADLINE_S, _end_now, (code, terminal, settings))
            deadline.daemon = True
            deadline.start()
        leave(code)

    def on_signal(number: int, _frame: FrameType | None) -> None:
        end(128 + number)

    before = {number: signal.signal(number, on_signal) for number in ENDING}
    if _can_be_lost(terminal):
        threading.Thread(
            target=_watch,
            args=(terminal, lambda: end(128 + signal.SIGHUP)),
            daemon=True,
            name="terminal-watch",
        ).start()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _let_go_of_lost_streams()


def _can_be_lost(descriptor: int) -> bool:
    """A terminal, or the pipe or socket of a program that shows us in its place."""
    kind = os.fstat(descriptor).st_mode
    return os.isatty(descriptor) or stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)


def _watch(terminal: int, lost: Callable[[], None]) -> None:
    """Waits, without ever waking up, until the other side of the terminal is gone."""
    poll = select.poll()
    poll.register(terminal, 0)  # no events asked for: only a hang-up or an error returns
    for _descriptor, event in poll.poll():
        if event & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
            lost()


def _let_go_of_lost_streams() -> None:
    """Python's own exit code for a stream that cannot be flushed would hide ours."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _settings(terminal: int) -> list[object] | None:
    with suppress(termios.error, OSError):
        return termios.tcgetattr(terminal)
    return None


def _end_now(code: int, terminal: int, settings: list[object] | None) -> None:
    """The terminal does not take its last bytes: give back its settings, which does not wait."""
    if settings is not None:
        with suppress(termios.error, OSError):
            termios.tcsetattr(terminal, termios.TCSANOW, settings)  # type: ignore[arg-type]
    os._exit(code)
