"""Signatures checked in processes of their own.

Threads share the interpreter's lock with the loop and the writer; processes do not: with one, a node
takes in a third more events, at less of the processor's time for each. The loop talks to them itself and
gives each some batches ahead, so that it never waits for the next one. What one that breaks was given is
given back, to be checked here: an event is never lost with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from meshconsole.relay.event import ReadEvent
from meshconsole.relay.verifying import Batch, Verifying, start

if TYPE_CHECKING:
    import socket
    import subprocess
    from collections.abc import Callable, Sequence

    from meshconsole.core.verdict import Verdict
    from meshconsole.relay.threads import LoopThreads
    from meshconsole.relay.verifying import Checked

log = logging.getLogger(__name__)

MANY = 64
"""For a batch of so many a process is started."""

REST_S = 0.5
"""One that had nothing to do for so long ends, where they do not last: to start one takes 10 ms, and nothing
waits for it."""


class Verifiers:
    """At most `count` processes. Made and used on the loop; `aside` does what would hold that up. Those that
    last are started at once; others when much comes, and nothing waits until they are ready."""

    def __init__(self, count: int, aside: LoopThreads, *, lasting: bool = True) -> None:
        self._loop = asyncio.get_running_loop()
        self._aside = aside
        self._count = count
        self._lasting = lasting
        self._starting = 0
        self._closed = False
        self.processes: list[Verifying] = []
        self._ended: deque[Verifying] = deque()
        """Closed, and not reaped yet."""
        self._waiting: deque[Batch] = deque()
        if lasting:
            self._start_missing()

    def check(self, read: Sequence[ReadEvent | Verdict], done: Callable[[Checked | None], None]) -> bool:
        """The signatures of what is read, not refused. Calls `done` on the loop, with None when the process
        broke. False when none is ready: then `done` is not called, and they are to be checked here, too."""
        count = sum(isinstance(one, ReadEvent) for one in read)
        if self._lasting or count >= MANY:
            self._start_missing()
        if not any(process.is_ready for process in self.processes):
            return False
        if count:
            self._waiting.append(Batch(read, count, done))
            self._hand_out()
        else:
            done(list(read))
        return True

    def rest(self) -> bool:
        """Ends those that had nothing to do for REST_S. Whether any is left that may."""
        if self._lasting:
            return False
        for process in [each for each in self.processes if not each.load and each.idle_s >= REST_S]:
            self._end(process)
        return bool(self.processes or self._starting)

    def close(self) -> None:
        """When no check is under way. `reap` is to follow, when nothing is done aside any more."""
        self._closed = True
        for process in list(self.processes):
            self._end(process)

    def reap(self) -> None:
        """Waits for those that were ended; in a thread."""
        while self._ended:
            self._ended.popleft().reap()

    def _start_missing(self) -> None:
        for _ in range(self._count - len(self.processes) - self._starting):
            self._starting += 1
            self._aside.do(start, self._started, self._not_started)

    def _started(self, made: tuple[subprocess.Popen[bytes], socket.socket]) -> None:
        self._starting -= 1
        process = Verifying(*made, self._loop, self._hand_out, self._broken)
        self.processes.append(process)
        if self._closed:
            self._end(process)

    def _not_started(self, error: BaseException) -> None:
        self._starting -= 1
        log.warning("no verifying process could be started: %s", error)

    def _hand_out(self) -> None:
        """What waits, to those that have the least before them."""
        while self._waiting:
            free = [process for process in self.processes if process.is_free]
            if not free:
                return
            min(free, key=_load).ask(self._waiting.popleft())

    def _broken(self, process: Verifying, error: Exception) -> None:
        """The next check replaces it: one that cannot even start must not be started again and again."""
        log.warning("a verifying process broke, and events are checked without it: %r", error)
        lost = self._end(process)
        if not any(other.is_ready for other in self.processes):
            lost += self._waiting
            self._waiting.clear()
        for batch in lost:
            batch.done(None)

    def _end(self, process: Verifying) -> list[Batch]:
        self.processes.remove(process)
        self._ended.append(process)
        lost = process.close()
        if not self._closed:
            self._aside.do(self.reap, _reaped, partial(log.error, "ending a process failed: %r"))
        return lost


def _load(process: Verifying) -> int:
    return process.load


def _reaped(_: None) -> None:
    """Nobody waits for that."""
