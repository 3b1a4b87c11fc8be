"""The event store on SQLCipher: one writer with group commit, readers on their own connections."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

from meshconsole.core.errors import Fatal, MeshconsoleError, Refused
from meshconsole.core.event import decode_event, is_addressable, is_replaceable
from meshconsole.core.kinds import CONTROL_KINDS
from meshconsole.core.verdict import refuse
from meshconsole.crypto.database import DatabaseErrors, open_database, translate
from meshconsole.relay import schema
from meshconsole.relay.event import address
from meshconsole.relay.filter import Filter
from meshconsole.relay.keys import KeyedHash, created_at_of
from meshconsole.relay.reading import Reading
from meshconsole.relay.store import (
    Entry,
    FeedRow,
    NoQuota,
    Quota,
    Selection,
    StoreUsage,
    Written,
    as_entry,
)
from meshconsole.relay.writing import CHUNK, Authors, Writing, known_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from meshconsole.core.event import Event
    from meshconsole.core.verdict import Verdict
    from meshconsole.relay.dbapi import Connection

WRITER_CACHE_KIB = 2048
READER_CACHE_KIB = 1024
MAX_IDLE_WAL_BYTES = 4 << 20
MAX_READERS = 4
QUERY_BUDGET_S = 2.0
"""A query that takes longer is broken off: it would keep others from theirs."""

PURGE_AFTER_S = 86_400
"""Expired events are kept this long, unserved: a clock that jumps must not destroy anything at once."""

PURGE_AT_ONCE = 500
FEED_BYTES = 4 << 20
"""A page of the feed ends when it holds this much."""


class SqliteEventStore:
    """Implements `EventStore`. `key` encrypts the file; `tag_key` keys the hashes of tags."""

    def __init__(
        self,
        path: Path,
        key: bytes,
        tag_key: bytes,
        *,
        quota: Quota | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._key = key
        self._hashes = KeyedHash(tag_key)
        self._quota = quota or NoQuota()
        self._clock = clock
        self._authors = Authors()
        self._write_lock = threading.Lock()
        self._readers = _Readers(self._open_reader)
        self._writer = open_database(path, key)
        try:
            self._writer.execute(f"pragma cache_size = -{WRITER_CACHE_KIB}")
            self._writer.execute(f"pragma journal_size_limit = {MAX_IDLE_WAL_BYTES}")
            schema.prepare(self._writer)
            state = dict(self._writer.execute("select name, value from relay_state").fetchall())
            self.log_id: str = state["log_id"]
            self._head = int(state["head_seq"])
            self._count = int(self._writer.execute("select count(*) from events").fetchone()[0])
            self._next_expiry = self._earliest_expiry()
        except DatabaseErrors as error:
            self._writer.close()
            raise translate(error, path) from error

    @property
    def head_seq(self) -> int:
        return self._head

    def write(self, batch: Sequence[Entry]) -> list[Written]:
        """Never raises for a full disk, a full quota or damaged pages: the verdicts say it."""
        if not batch:
            return []
        with self._write_lock:
            reserved = 0
            try:
                reserved = self._reserve(batch)
                return self._commit(batch)
            except Refused as refused:
                verdict = refuse(_code(refused), refused.sentence)
            except MeshconsoleError as error:
                self._quota.release(reserved)
                verdict = refuse("error", str(error))
            return [Written(verdict, 0)] * len(batch)

    def add(self, batch: Sequence[Entry | Event]) -> list[Verdict]:
        return [written.verdict for written in self.write([as_entry(item) for item in batch])]

    def known(self, ids: Collection[str]) -> set[str]:
        with self._reading() as connection:
            return known_ids(connection, list(ids))

    def select(self, filters: Sequence[Filter], cap: int) -> Selection:
        with self._reading() as connection:
            head = int(
                connection.execute("select value from relay_state where name = 'head_seq'").fetchone()[0]
            )
            reading = self._reader(connection)
            found: set[int] = set()
            complete = True
            single: list[int] = []
            for wanted in filters:
                limit = cap if wanted.limit is None else min(cap, wanted.limit)
                single = reading.keys(wanted, limit)
                complete = complete and len(single) < limit
                if len(filters) > 1:
                    found.update(single)
            return Selection(sorted(found, reverse=True) if len(filters) > 1 else single, head, complete)

    def fetch(self, keys: Sequence[int]) -> list[bytes]:
        bodies: dict[int, bytes] = {}
        with self._reading() as connection:
            for start in range(0, len(keys), CHUNK):
                numbers = ",".join(map(str, keys[start : start + CHUNK]))
                bodies.update(connection.execute(f"select key, raw from bodies where key in ({numbers})"))
        return [bodies[key] for key in keys if key in bodies]

    def query(self, filters: Sequence[Filter], limit: int) -> list[bytes]:
        return self.fetch(self.select(filters, limit).keys)

    def get(self, ids: Sequence[str]) -> list[bytes]:
        """Newest first. Expired events are left out."""
        return self.query([Filter(ids=frozenset(ids))], len(ids))

    def feed(self, after_seq: int, limit: int) -> list[FeedRow]:
        rows: list[FeedRow] = []
        size = 0
        with self._reading() as connection:
            alive = self._reader(connection).alive("e")
            cursor = connection.execute(
                "select e.seq, e.kind, b.raw from events e join bodies b on b.key = e.key"
                f" where e.seq > ?{alive} order by e.seq limit ?",
                (after_seq, limit),
            )
            for seq, kind, raw in cursor:
                rows.append(FeedRow(seq, raw[7:71].decode(), kind, raw))
                size += len(raw)
                if size >= FEED_BYTES:
                    break
            cursor.close()
        return rows

    def count(self) -> int:
        return self._count

    def usage(self) -> StoreUsage:
        size = 0
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                size += self._path.with_name(self._path.name + suffix).stat().st_size
        return StoreUsage(size, self._count)

    def purge_expired(self) -> int:
        before = int(self._clock()) - PURGE_AFTER_S
        with self._write_lock:
            if self._next_expiry is None or self._next_expiry > before:
                return 0
            with self._transaction() as writing:
                rows = self._writer.execute(
                    "select x.key, b.raw from expirations x join bodies b on b.key = x.key"
                    " where x.expires <= ? limit ?",
                    (before, PURGE_AT_ONCE),
                ).fetchall()
                for key, raw in rows:
                    event = decode_event(raw)
                    if is_replaceable(event.kind) or is_addressable(event.kind):
                        # An older version that still goes round must not take the place.
                        writing.forbid(self._hashes.deleted_address(address(event)), created_at_of(key))
                    writing.remove(key)
            self._next_expiry = self._earliest_expiry()
            return len(rows)

    def vacuum(self) -> None:
        with self._write_lock:
            try:
                self._writer.execute("vacuum")
                self._writer.execute("pragma wal_checkpoint(truncate)")
            except DatabaseErrors as error:
                raise translate(error, self._path) from error

    def close(self) -> None:
        with self._write_lock:
            self._readers.close()
            self._writer.close()

    def _commit(self, batch: Sequence[Entry]) -> list[Written]:
        with self._transaction() as writing:
            return writing.run(batch)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Writing]:
        """Durable when it ends. Raises the errors of ours; then nothing was written."""
        try:
            self._writer.execute("begin immediate")
            writing = Writing(
                self._writer, self._hashes, self._authors, head=self._head, now=int(self._clock())
            )
            yield writing
            self._writer.execute("commit")
        except BaseException as error:
            with contextlib.suppress(*DatabaseErrors):
                self._writer.execute("rollback")
            if isinstance(error, DatabaseErrors):
                raise translate(error, self._path) from error
            raise
        self._authors.remember(writing.new_authors)
        self._head = writing.head
        self._count += writing.added - writing.removed
        if writing.expires is not None:
            self._next_expiry = min(writing.expires, self._next_expiry or writing.expires)

    def _reserve(self, batch: Sequence[Entry]) -> int:
        """Promises the quota more than the batch can take: rows, index entries, half-full pages.

        What makes the team goes in even when the quota is full: a captured device must be removable.
        """
        if all(entry.event.kind in CONTROL_KINDS for entry in batch):
            return 0
        needed = sum(2 * len(entry.raw) + 512 + 64 * len(entry.event.tags) for entry in batch)
        try:
            self._quota.reserve(needed)
        except Refused:
            # Pages that deletions freed are used again without the file growing.
            if self._free_bytes() < needed:
                raise
            return 0
        return needed

    def _free_bytes(self) -> int:
        try:
            pages = self._writer.execute("pragma freelist_count").fetchone()[0]
            size = self._writer.execute("pragma page_size").fetchone()[0]
        except DatabaseErrors as error:
            raise translate(error, self._path) from error
        return int(pages) * int(size)

    def _earliest_expiry(self) -> int | None:
        value: int | None = self._writer.execute("select min(expires) from expirations").fetchone()[0]
        return value

    def _reader(self, connection: Connection) -> Reading:
        now = int(self._clock())
        expiring = self._next_expiry is not None and self._next_expiry <= now
        return Reading(connection, self._hashes, self._authors, now=now, expiring=expiring)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A connection in one read transaction with a time budget."""
        reader = self._readers.take()
        reader.deadline = time.monotonic() + QUERY_BUDGET_S
        try:
            reader.connection.execute("begin")
            yield reader.connection
        except DatabaseErrors as error:
            raise translate(error, self._path) from error
        finally:
            self._readers.give_back(reader)

    def _open_reader(self) -> Connection:
        connection: Connection = open_database(self._path, self._key, readonly=True)
        connection.execute(f"pragma cache_size = -{READER_CACHE_KIB}")
        return connection


class _Reader:
    """A connection that breaks off what runs beyond `deadline` (monotonic seconds)."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.deadline = 0.0
        connection.set_progress_handler(lambda: time.monotonic() > self.deadline, 20_000)


class _Readers:
    """Connections for reading, opened as they are needed, at most MAX_READERS."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._idle: list[_Reader] = []
        self._free = threading.Semaphore(MAX_READERS)
        self._lock = threading.Lock()
        self._closed = False

    def take(self) -> _Reader:
        """Waits for one. Raises Fatal when the store is closed."""
        self._free.acquire()
        try:
            with self._lock:
                if self._closed:
                    raise Fatal("The event store is closed.")
                return self._idle.pop() if self._idle else _Reader(self._connect())
        except BaseException:
            self._free.release()
            raise

    def give_back(self, reader: _Reader) -> None:
        with contextlib.suppress(*DatabaseErrors):
            reader.connection.execute("rollback")
        with self._lock:
            if self._closed:
                reader.connection.close()
            else:
                self._idle.append(reader)
        self._free.release()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for reader in self._idle:
                reader.connection.close()
            self._idle.clear()


def _code(refused: Refused) -> Any:  # noqa: ANN401 - one of Verdict's codes
    return refused.code
