"""Connections for reading: opened as they are needed, a bounded number, made anew when they are lost."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

import psycopg

from meshconsole.core.errors import Fatal
from meshconsole.relay.postgres.errors import is_lost, translate

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.relay.postgres.connecting import Connection

T = TypeVar("T")


class Pool:
    def __init__(self, connect: Callable[[], Connection], size: int) -> None:
        self._connect = connect
        self._idle: list[Connection] = []
        self._free = threading.Semaphore(size)
        self._lock = threading.Lock()
        self._closed = False

    def run(self, read: Callable[[Connection], T]) -> T:
        """`read` on a connection; waits for one. Raises errors of ours.

        A connection that idled may have been lost meanwhile: then all are, and `read` runs again on a
        new one.
        """
        with self._free:
            idle = self._take()
            if idle is not None:
                try:
                    return self._try(idle, read)
                except psycopg.Error as error:
                    if not is_lost(error, idle):
                        raise translate(error) from error
                self._drop_idle()
            fresh = self._connect()
            try:
                return self._try(fresh, read)
            except psycopg.Error as error:
                raise translate(error) from error

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self._drop_idle()

    def _take(self) -> Connection | None:
        with self._lock:
            if self._closed:
                raise Fatal("The event store is closed.")
            return self._idle.pop() if self._idle else None

    def _try(self, connection: Connection, read: Callable[[Connection], T]) -> T:
        try:
            return read(connection)
        finally:
            with self._lock:
                keep = not (self._closed or connection.closed or connection.broken)
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    def _drop_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
