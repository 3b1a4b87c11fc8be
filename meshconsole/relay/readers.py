"""Connections for reading: each in one read transaction at a time, with a time budget."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from meshconsole.core.errors import Fatal
from meshconsole.crypto.database import DatabaseErrors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from meshconsole.relay.dbapi import Connection

MAX_READERS = 4
STEPS_BETWEEN_LOOKS = 20_000
"""Of SQLite's machine, about a millisecond: so often a statement looks at the clock."""


class _Reader:
    """A connection that breaks off what runs beyond `deadline` (monotonic seconds)."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.deadline = 0.0
        connection.set_progress_handler(lambda: time.monotonic() > self.deadline, STEPS_BETWEEN_LOOKS)


class Readers:
    """Opens connections as they are needed, at most MAX_READERS."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._idle: list[_Reader] = []
        self._free = threading.Semaphore(MAX_READERS)
        self._lock = threading.Lock()
        self._closed = False

    @contextlib.contextmanager
    def reading(self, budget_s: float) -> Iterator[Connection]:
        """Waits for a connection. Raises Fatal when the store is closed; what runs beyond the budget
        raises the database's error for an interrupt."""
        reader = self._take()
        reader.deadline = time.monotonic() + budget_s
        try:
            reader.connection.execute("begin")
            yield reader.connection
        finally:
            self._give_back(reader)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for reader in self._idle:
                reader.connection.close()
            self._idle.clear()

    def _take(self) -> _Reader:
        self._free.acquire()
        try:
            with self._lock:
                if self._closed:
                    raise Fatal("The event store is closed.")
                return self._idle.pop() if self._idle else _Reader(self._connect())
        except BaseException:
            self._free.release()
            raise

    def _give_back(self, reader: _Reader) -> None:
        with contextlib.suppress(*DatabaseErrors):
            reader.connection.execute("rollback")
        with self._lock:
            if self._closed:
                reader.connection.close()
            else:
                self._idle.append(reader)
        self._free.release()
