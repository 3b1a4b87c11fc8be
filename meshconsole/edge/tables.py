"""What the HTTP edge remembers beside the blocks: tables of its own in the node's database.

Blocking; safe to use from several threads. Times are in seconds since the epoch.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from meshconsole.crypto.database import DatabaseErrors, open_database, translate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class Tables:
    """Raises Unavailable (disk full, busy), CorruptData, Fatal from every method."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._conn: Any = open_database(path, key)

    def close(self) -> None:
        with self._lock:
            self._conn.close()

    def make(self, statements: Iterable[str]) -> None:
        with self.writing() as conn:
            for statement in statements:
                conn.execute(statement)

    def read(self, sql: str, values: tuple[object, ...] = ()) -> list[Any]:
        with self._lock:
            try:
                rows: list[Any] = self._conn.execute(sql, values).fetchall()
            except DatabaseErrors as error:
                raise translate(error, self._path) from error
            return rows

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """All or nothing."""
        with self._lock:
            try:
                self._conn.execute("BEGIN IMMEDIATE")
                try:
                    yield self._conn
                except BaseException:
                    self._conn.execute("ROLLBACK")
                    raise
                self._conn.execute("COMMIT")
            except DatabaseErrors as error:
                raise translate(error, self._path) from error
