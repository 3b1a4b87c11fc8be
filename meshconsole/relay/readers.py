"""Connections for reading: each in one read transaction at a time, with a budget of processor time."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from meshconsole.core.errors import Fatal
from meshconsole.crypto.database import DatabaseErrors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from meshconsole.relay.dbapi import Connection

T = TypeVar("T")

MAX_READERS = 4
STEPS_BETWEEN_LOOKS = 20_000
"""Of SQLite's machine, about a millisecond: so often a statement looks at the clock."""

PROMPT_STEPS = 2_000
"""The same where every tenth of a millisecond counts."""

PATIENCE = 5
"""Times its budget that a query may take by the clock: on a busy machine or a slow disk it waits more than
it works, and others are not held up by that."""


class _Reader:
    """A connection that breaks off what takes longer than its budget."""

    def __init__(self, connection: Connection, steps: int = STEPS_BETWEEN_LOOKS) -> None:
        self.connection = connection
        self._until = self._at_last = 0.0
        connection.set_progress_handler(self._is_over, steps)

    def begin(self, budget_s: float) -> None:
        """In the thread that is going to read."""
        self._until = time.thread_time() + budget_s
        self._at_last = time.monotonic() + budget_s * PATIENCE
        self.connection.execute("begin")

    def end(self) -> None:
        # Or the rollback is broken off as well, and the log is not emptied as long as this transaction lasts.
        self._until = self._at_last = math.inf
        with contextlib.suppress(*DatabaseErrors):  # what ended in an error has rolled back already
            self.connection.execute("rollback")

    def _is_over(self) -> bool:
        return time.thread_time() > self._until or time.monotonic() > self._at_last


class Readers:
    """Opens connections as they are needed, at most MAX_READERS. The one used last is taken first: its
    cache is the warmest, and those that are not needed any more stay small."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._idle: deque[_Reader] = deque()
        self._opened = 0
        self._waiting = 0
        self._free = threading.Condition()
        self._closed = False

    @contextlib.contextmanager
    def reading(self, budget_s: float) -> Iterator[Connection]:
        """Waits for a connection. Raises Fatal when the store is closed; what takes longer than the budget,
        in the processor's time of this thread, raises the database's error for an interrupt."""
        reader = self._take()
        try:
            reader.begin(budget_s)
            yield reader.connection
        finally:
            self._give_back(reader)

    def renew(self) -> None:
        """Those that nobody uses are opened anew when they are needed."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().connection.close()
                with self._free:
                    self._opened -= 1
                    self._free.notify()

    def close(self) -> None:
        with self._free:
            self._closed = True
            while self._idle:
                self._idle.pop().connection.close()
            self._free.notify_all()

    def _take(self) -> _Reader:
        if not self._closed:
            with contextlib.suppress(IndexError):
                return self._idle.pop()  # at most times there is one, and no lock is needed
        with self._free:
            self._waiting += 1
            try:
                while not self._closed:
                    with contextlib.suppress(IndexError):
                        return self._idle.pop()
                    if self._opened < MAX_READERS:
                        self._opened += 1
                        break
                    self._free.wait()
            finally:
                self._waiting -= 1
            if self._closed:
                raise Fatal("The event store is closed.")
        try:
            return _Reader(self._connect())
        except BaseException:
            with self._free:
                self._opened -= 1
                self._free.notify()
            raise

    def _give_back(self, reader: _Reader) -> None:
        reader.end()
        self._idle.append(reader)
        if self._waiting or self._closed:  # whoever waits said so before it looked
            with self._free:
                if self._closed:
                    while self._idle:
                        self._idle.pop().connection.close()
                self._free.notify()


class PromptReader:
    """One connection for short questions, answered at once or not at all. Whoever finds it in use, or
    closed, gets None instead of waiting."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._reader: _Reader | None = None
        self._in_use = threading.Lock()
        self._closed = False

    def ask(self, question: Callable[[Connection], T], budget_s: float) -> T | None:
        """What `question` finds in a read transaction with a budget as `Readers.reading` has it."""
        if not self._in_use.acquire(blocking=False):
            return None
        try:
            if self._closed:
                return None
            reader = self._reader
            if reader is None:
                reader = self._reader = _Reader(self._connect(), PROMPT_STEPS)
            try:
                reader.begin(budget_s)  # which has begun the transaction even where it is broken off
                return question(reader.connection)
            finally:
                reader.end()
        finally:
            self._in_use.release()

    def renew(self) -> None:
        """The next question is asked over a new connection."""
        with self._in_use:
            if self._reader is not None:
                self._reader.connection.close()
                self._reader = None

    def close(self) -> None:
        with self._in_use:
            self._closed = True
            if self._reader is not None:
                self._reader.connection.close()
                self._reader = None
