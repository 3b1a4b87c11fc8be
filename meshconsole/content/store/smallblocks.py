"""Small blocks, many in one file: a `BlockStore` over an encrypted database. For those that as files of their
own would each take an entry of the file system, a page, and a sync.

How it keeps the laws of `blocks`:
1. Everything read is hashed.
2. What is put waits in memory and is written at `sync`, all of it in one transaction; if that fails it waits
   on. What is removed waits too: after a crash it is there again, which the index then finds.
3. A database that is damaged is copied, as far as it can be read, and the damaged one is set aside until the
   next start. What it lost counts as missing.

The database is made when the first small block comes: a node without any does without.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from meshconsole.content.formats.cid import multihash_matches
from meshconsole.content.store.blocks import BlocksState
from meshconsole.content.store.blockstore import footprint
from meshconsole.core.errors import CorruptData
from meshconsole.crypto.database import DatabaseErrors, open_database, translate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from meshconsole.content.formats.block import Block

T = TypeVar("T")

log = logging.getLogger(__name__)

SMALL_BYTES = 3840
"""A row of so many fits into one page of the database, so that no block ever takes more than as a file."""

WAITING_BYTES = 1 << 20
"""Written before anybody asks for a sync."""

WAITING_REMOVALS = 256
LISTED_AT_ONCE = 1024
CACHE_KIB = 512
FREE_PAGES = 256
"""Given back to the disk when at least so many, and a quarter of all, are free."""


class SmallBlocks:
    """Any number of threads may call it at once; one is served at a time."""

    def __init__(self, path: Path, key: bytes) -> None:
        """`path` is that of the database."""
        self._path = path
        self._key = key
        self._new = path.with_name(path.name + ".new")
        self._damaged = path.with_name(path.name + ".damaged")
        self._lock = threading.Lock()
        self._conn: Any = None
        self._waiting: dict[bytes, bytes] = {}
        self._waiting_bytes = 0
        self._removals: set[bytes] = set()

    def open(self) -> int:
        """Removes what an earlier repair left: it was copied, as far as it could be read."""
        with self._lock:
            self._damaged.unlink(missing_ok=True)
            _remove_database(self._new)
            if self._path.exists():
                self._do(lambda _: None)
        return 0

    def put(self, block: Block) -> bool:
        multihash = block.cid.multihash
        with self._lock:
            held = self._held(multihash)
            if held == block.data:
                return False
            self._waiting[multihash] = block.data
            self._waiting_bytes += len(block.data)
            self._removals.discard(multihash)
            try:
                if self._waiting_bytes > WAITING_BYTES:
                    self._flush()
            except BaseException:
                self._waiting_bytes -= len(self._waiting.pop(multihash))
                raise
        return held is None

    def sync(self) -> None:
        with self._lock:
            self._flush()

    def get(self, multihash: bytes) -> bytes | None:
        with self._lock:
            data = self._held(multihash)
            if data is None or multihash_matches(multihash, data):
                return data
            self._remove(multihash)
        raise CorruptData(
            "A small block was altered on the disk and has been removed.",
            hint="It is fetched again from teammates who hold it. If this repeats, check the disk or card.",
        )

    def size(self, multihash: bytes) -> int | None:
        with self._lock:
            if multihash in self._waiting:
                return len(self._waiting[multihash])
            if not self._may_have(multihash):
                return None
            row = self._do(lambda db: db.execute(_SIZE, (multihash,)).fetchone())
        return row[0] if row is not None else None

    def first_byte(self, multihash: bytes) -> bytes:
        with self._lock:
            return (self._held(multihash) or b"")[:1]

    def remove(self, multihash: bytes) -> bool:
        with self._lock:
            if self._held(multihash) is None:
                return False
            self._remove(multihash)
        return True

    def listing(self) -> Iterator[tuple[bytes, int]]:
        self.sync()
        rows = self._page(b"")
        while rows:
            yield from rows
            rows = self._page(rows[-1][0])

    def _page(self, after: bytes) -> list[tuple[bytes, int]]:
        with self._lock:
            if self._conn is None and not self._path.exists():
                return []
            return self._do(lambda db: db.execute(_LIST, (after, LISTED_AT_ONCE)).fetchall())

    def quarantined_bytes(self) -> int:
        try:
            return footprint(self._damaged.stat().st_size)
        except FileNotFoundError:
            return 0

    def look(self) -> BlocksState:
        return BlocksState()

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    # With the lock held

    def _held(self, multihash: bytes) -> bytes | None:
        if multihash in self._waiting:
            return self._waiting[multihash]
        if not self._may_have(multihash):
            return None
        row = self._do(lambda db: db.execute(_GET, (multihash,)).fetchone())
        return row[0] if row is not None else None

    def _may_have(self, multihash: bytes) -> bool:
        return multihash not in self._removals and (self._conn is not None or self._path.exists())

    def _remove(self, multihash: bytes) -> None:
        data = self._waiting.pop(multihash, None)
        if data is not None:
            self._waiting_bytes -= len(data)
        self._removals.add(multihash)
        if len(self._removals) >= WAITING_REMOVALS:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting and not self._removals:
            return
        self._do(self._write)
        self._waiting.clear()
        self._waiting_bytes = 0
        self._removals.clear()

    def _write(self, db: Any) -> None:  # noqa: ANN401
        db.execute("BEGIN IMMEDIATE")
        try:
            db.executemany(_REMOVE, [(each,) for each in self._removals])
            db.executemany(_PUT, [(each, len(data), data) for each, data in self._waiting.items()])
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(*DatabaseErrors):  # a full disk has rolled back already
                db.execute("ROLLBACK")
            raise
        if self._removals:
            _give_back(db)

    def _do(self, work: Callable[[Any], T]) -> T:
        """Raises Unavailable, Fatal. Repairs a database that is damaged."""
        try:
            return work(self._database())
        except DatabaseErrors as error:
            problem = translate(error, self._path)
        except CorruptData as error:
            problem = error
        if not isinstance(problem, CorruptData):
            raise problem
        self._repair()
        try:
            return work(self._database())
        except DatabaseErrors as error:
            raise translate(error, self._path) from error

    def _database(self) -> Any:  # noqa: ANN401
        if self._conn is None:
            self._conn = open_database(self._path, self._key)
            self._conn.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            _make_tables(self._conn)
        return self._conn

    def _repair(self) -> None:
        """Copies what can be read, row by row; what is altered in a row is found when it is hashed."""
        new, damaged = self._new, self._damaged
        _remove_database(new)
        copy = open_database(new, self._key)
        try:
            _make_tables(copy)
            copy.execute("BEGIN IMMEDIATE")
            copy.executemany(_PUT, self._readable())
            (saved,) = copy.execute("SELECT count(*) FROM blocks").fetchone()
            copy.execute("COMMIT")
        except DatabaseErrors as error:
            raise translate(error, new) from error
        finally:
            copy.close()
            self._disconnect()
        damaged.unlink(missing_ok=True)
        damaged.hardlink_to(self._path)
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        new.replace(self._path)
        log.warning("%s was damaged: %d small blocks were saved from it", self._path.name, saved)

    def _readable(self) -> Iterator[tuple[bytes, int, bytes]]:
        number, last = 1, 0
        while True:
            try:
                self._disconnect()  # one that has met a damaged page answers nothing any more
                db = self._database()
                last = last or db.execute("SELECT max(id) FROM blocks").fetchone()[0] or 0
            except (CorruptData, *DatabaseErrors):
                return
            with contextlib.suppress(*DatabaseErrors):
                while number <= last:
                    number += 1
                    row = db.execute(_ROW, (number - 1,)).fetchone()
                    if row is not None:
                        yield row
            if number > last:
                return

    def _disconnect(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None


def _make_tables(db: Any) -> None:  # noqa: ANN401
    db.execute(_TABLE)
    db.execute(_NAMES)


def _remove_database(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _give_back(db: Any) -> None:  # noqa: ANN401
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    if free > FREE_PAGES and free * 4 > pages:
        db.execute(f"PRAGMA incremental_vacuum({free})").fetchall()


_TABLE = (
    "CREATE TABLE IF NOT EXISTS blocks"
    " (id INTEGER PRIMARY KEY, multihash BLOB NOT NULL, size INTEGER NOT NULL, data BLOB NOT NULL)"
)
_NAMES = "CREATE UNIQUE INDEX IF NOT EXISTS names ON blocks (multihash, size)"
"""With the size, so that a listing reads the names alone."""

_PUT = "INSERT OR REPLACE INTO blocks (multihash, size, data) VALUES (?, ?, ?)"
_GET = "SELECT data FROM blocks WHERE multihash = ?"
_SIZE = "SELECT size FROM blocks WHERE multihash = ?"
_REMOVE = "DELETE FROM blocks WHERE multihash = ?"
_LIST = "SELECT multihash, size FROM blocks WHERE multihash > ? ORDER BY multihash LIMIT ?"
_ROW = "SELECT multihash, size, data FROM blocks WHERE id = ?"
