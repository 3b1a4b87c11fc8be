"""The event store on SQLCipher: one writer with group commit, readers on their own connections."""

from __future__ import annotations

import contextlib
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from meshconsole.core.errors import Fatal, MeshconsoleError, Refused
from meshconsole.core.kinds import CONTROL_KINDS
from meshconsole.core.verdict import refuse
from meshconsole.crypto.database import DatabaseErrors, open_database, translate
from meshconsole.relay import schema
from meshconsole.relay.asked import AskedHalf
from meshconsole.relay.authors import Authors
from meshconsole.relay.backup import copy_database
from meshconsole.relay.keys import KeyedHash
from meshconsole.relay.known import refused_too_long_ago
from meshconsole.relay.memory import CACHES, Caches
from meshconsole.relay.newest import Newest
from meshconsole.relay.promptness import Promptness
from meshconsole.relay.questions import PIECE, STEP, UPWARDS, Questions
from meshconsole.relay.room import Room, evict
from meshconsole.relay.store import (
    Entry,
    EvictionClass,
    Quota,
    Removed,
    StoreUsage,
    Written,
    as_entry,
    checkpoints,
)
from meshconsole.relay.sweeping import sized
from meshconsole.relay.upkeep import MUCH, Upkeep
from meshconsole.relay.words import Words
from meshconsole.relay.writing import KeyTaken, Writing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from meshconsole.core.event import Event
    from meshconsole.core.verdict import Verdict
    from meshconsole.relay.dbapi import Connection
    from meshconsole.relay.filter import Filter

UPKEEP_CACHE_KIB = 64
LOG_BYTES = 32 << 20
"""So much the log may take. A commit empties it from half of that on; mostly upkeep has done so before.
That half stays a file when it is empty: a commit that makes the file longer costs the file system a commit
of its own, and takes four times as long."""

PURGE_AFTER_S = 86_400
"""Expired events are kept this long, unserved: a clock that jumps must not destroy anything at once."""

PURGE_AT_ONCE = 500

MAX_REFUSED = 500_000
"""Refused ids that are remembered: about 12 MB."""

CATCH_UP_S = 1.0
"""A search waits so long for what was not indexed yet."""


class SqliteEventStore(AskedHalf):
    """Implements `EventStore`. `key` encrypts the file; `tag_key` keys the hashes of tags."""

    def __init__(
        self,
        path: Path,
        key: bytes,
        tag_key: bytes,
        *,
        quota: Quota | None = None,
        clock: Callable[[], float] = time.time,
        log_bytes: int = LOG_BYTES,
        caches: Caches = CACHES["balanced"],
        may_go: Callable[[], Sequence[EvictionClass]] | None = None,
    ) -> None:
        """`may_go` says what makes room when the quota refuses; without it the refusal is passed on."""
        self.description = f"SQLCipher, {path.name}"
        self._path = path
        self._key = key
        self._hashes = KeyedHash(tag_key)
        self._clock = clock
        self._authors = Authors()
        self._write_lock = threading.Lock()
        self._newest = Newest()
        self._asked = Questions(
            path,
            self._hashes,
            self._authors,
            caches,
            self._newest,
            open_=partial(self._open, readonly=True),
            catch_up=self._catch_up,
            is_expiring=self._is_expiring,
            now=lambda: int(clock()),
        )
        self._writer = open_database(path, key)
        try:
            self._writer.execute(f"pragma cache_size = -{caches.writer_kib}")
            self._room = Room(
                self._writer,
                path,
                quota,
                log_bytes,
                may_go=may_go or tuple,
                oldest=self._asked.evictable,
                remove=self._remove_at_once,
                empty_log=self._empty_log,
            )
            schema.prepare(self._writer, path)
            state = dict(self._writer.execute("select name, value from relay_state").fetchall())
            self.log_id: str = state["log_id"]
            self._newest.head = int(state["head_seq"])
            self._count = int(self._writer.execute("select count(*) from events").fetchone()[0])
            self._words = Words(self._writer, state, partial(self._transaction, is_upkeep=True))
            self._next_expiry = self._earliest_expiry()
        except DatabaseErrors as error:
            self._writer.close()
            raise translate(error, path) from error
        except Fatal:
            self._writer.close()
            raise
        self._disk = Promptness()
        self._checkpointing = threading.Lock()
        self._upkeep_connection = self._open(UPKEEP_CACHE_KIB, readonly=False)
        self._upkeep = Upkeep(self._checkpoint, self._index_step)
        self._upkeep.wrote(MUCH)

    def set_caches(self, caches: Caches) -> None:
        self._asked.set_caches(caches)
        with self._write_lock:
            try:
                self._writer.execute(f"pragma cache_size = -{caches.writer_kib}")
            except DatabaseErrors as error:
                raise translate(error, self._path) from error

    def limit_log(self, log_bytes: int) -> None:
        """What the log may take from the next write on."""
        self._room.log_bytes = log_bytes

    @property
    def head_seq(self) -> int:
        return self._newest.head

    def write(self, batch: Sequence[Entry]) -> list[Written]:
        """Never raises for a full disk, a full quota or damaged pages: the verdicts say it."""
        if not batch:
            return []
        with self._write_lock:
            try:
                return self._write(batch, self._room.reserve(batch))
            except Refused as refused:
                verdict = refuse(refused.code, refused.sentence)  # type: ignore[arg-type]
            except MeshconsoleError as error:
                verdict = refuse("error", str(error))
            return [Written(verdict, 0)] * len(batch)

    def write_now(self, batch: Sequence[Entry]) -> list[Written] | None:
        """As `PromptWriter` says. A checkpoint beside a commit makes it wait for the disk twice."""
        if not self._disk.is_prompt or self._checkpointing.locked():
            return None
        if not self._write_lock.acquire(blocking=False):
            return None
        try:
            reserved = self._room.reserve_now(batch)
            return None if reserved is None else self._write(batch, reserved)
        except MeshconsoleError as error:
            return [Written(refuse("error", str(error)), 0)] * len(batch)
        finally:
            self._write_lock.release()

    def add(self, batch: Sequence[Entry | Event]) -> list[Verdict]:
        return [written.verdict for written in self.write([as_entry(item) for item in batch])]

    def delete(self, filters: Sequence[Filter], *, dry_run: bool, limit: int = 1000) -> Removed:
        filters = [replace(wanted, hidden=wanted.hidden | CONTROL_KINDS) for wanted in filters]
        if dry_run:
            found = self._asked.walk(filters)
            sizes = [size for connection, keys in found for _, _, size in sized(connection, keys)]
            return Removed(len(sizes), sum(sizes))
        self._catch_up(filters)
        with self._asked.reading() as connection:
            keys = self._asked.reader(connection).union(filters, limit, UPWARDS)
        return self._remove(keys)

    def retire(self, ids: Collection[str]) -> Removed:
        with self._asked.reading() as connection:
            keys = self._asked.reader(connection).union(checkpoints(ids), len(ids), UPWARDS)
        return self._remove(keys)

    def evict(
        self, classes: Sequence[EvictionClass], need_bytes: int, *, dry_run: bool
    ) -> list[tuple[str, Removed]]:
        def remove(chosen: dict[int, int]) -> Removed:
            return Removed(len(chosen), sum(chosen.values())) if dry_run else self._remove(list(chosen))

        return evict(classes, need_bytes, self._asked.evictable, remove)

    def count(self) -> int:
        return self._count

    def usage(self) -> StoreUsage:
        return StoreUsage(self._room.taken_bytes(), self._count)

    def purge_expired(self) -> int:
        self._forget_refused()
        before = int(self._clock()) - PURGE_AFTER_S
        with self._write_lock:
            if self._next_expiry is None or self._next_expiry > before:
                return 0
            with self._transaction() as writing:
                purged = writing.purge(before, PURGE_AT_ONCE)
            self._next_expiry = self._earliest_expiry()
            return purged

    def _forget_refused(self) -> None:
        """Of more refused ids than may be remembered, those go that were refused first."""
        with self._asked.reading() as connection:
            until = refused_too_long_ago(connection, MAX_REFUSED)
        gone = 1
        while until is not None and gone:
            with self._write_lock, self._transaction() as writing:
                gone = writing.forget_refused(until, PIECE)

    def vacuum(self) -> None:
        with self._writing():
            self._writer.execute("insert into words (words) values ('optimize')")
            self._writer.execute("pragma auto_vacuum = incremental")
            self._writer.execute("vacuum")
            self._empty_log()

    def vacuum_step(self, max_pages: int) -> int:
        with self._writing():
            before = self._pragma("freelist_count")
            # Each row that this statement yields is a page given back.
            self._writer.execute(f"pragma incremental_vacuum({max(0, max_pages)})").fetchall()
            return before - self._pragma("freelist_count")

    def backup(self, destination: Path, progress: Callable[[int, int], None] | None = None) -> None:
        connection = self._open(UPKEEP_CACHE_KIB, readonly=True)
        try:
            connection.execute("begin")
            copy_database(self._path, self._key, connection, destination, progress)
        finally:
            connection.close()

    def close(self) -> None:
        self._upkeep.stop()
        with self._write_lock:
            self._asked.close()
            self._upkeep_connection.close()
            self._writer.close()

    def _write(self, batch: Sequence[Entry], reserved: int) -> list[Written]:
        """By whoever holds the lock. What was reserved is released when nothing is written."""
        began = time.perf_counter()
        try:
            written = self._commit(batch)
        except MeshconsoleError:
            self._room.release(reserved)
            self._disk.failed()
            raise
        self._disk.committed(len(batch), time.perf_counter() - began)
        return written

    def _commit(self, batch: Sequence[Entry]) -> list[Written]:
        with contextlib.suppress(KeyTaken), self._transaction() as writing:
            return writing.run(batch)
        with self._transaction() as writing:
            writing.look_up_keys(batch)
            return writing.run(batch)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with self._write_lock:
            try:
                yield
            except DatabaseErrors as error:
                raise translate(error, self._path) from error

    def _remove(self, keys: Sequence[int]) -> Removed:
        """In transactions small enough that writers never wait long for one."""
        count = size = 0
        for start in range(0, len(keys), STEP):
            with self._write_lock, self._transaction() as writing:
                removed = writing.remove(keys[start : start + STEP])
                writing.finish()
            count += removed.count
            size += removed.bytes
        return Removed(count, size)

    def _remove_at_once(self, keys: Sequence[int]) -> None:
        """By whoever holds the lock."""
        with self._transaction() as writing:
            writing.remove(keys)
            writing.finish()

    @contextlib.contextmanager
    def _transaction(self, *, is_upkeep: bool = False) -> Iterator[Writing]:
        """Durable when it ends. Raises the errors of ours; then nothing was written. The upkeep's own
        writing is no end of the pause that it waits for."""
        self._newest.begin()
        try:
            self._writer.execute("begin immediate")
            writing = Writing(self._writer, self._hashes, self._authors, self._newest, int(self._clock()))
            yield writing
            self._writer.execute("commit")
        except BaseException as error:
            self._newest.end(None)
            with contextlib.suppress(*DatabaseErrors):
                self._writer.execute("rollback")
            if isinstance(error, DatabaseErrors):
                self._upkeep.wrote(MUCH)  # what found no room may find some in an empty log
                raise translate(error, self._path) from error
            raise
        if writing.gone:
            self._asked.hot.forget(writing.gone)
        if not is_upkeep:
            self._upkeep.wrote(writing.added + writing.removed)
        self._authors.remember(writing.new_authors)
        self._newest.end(writing.head)
        self._count += writing.added - writing.removed
        if writing.expires is not None:
            self._next_expiry = min(writing.expires, self._next_expiry or writing.expires)

    def _pragma(self, name: str) -> int:
        return int(self._writer.execute(f"pragma {name}").fetchone()[0])

    def _is_expiring(self, now: int) -> bool:
        return self._next_expiry is not None and self._next_expiry <= now

    def _earliest_expiry(self) -> int | None:
        value: int | None = self._writer.execute("select min(expires) from expirations").fetchone()[0]
        return value

    def _catch_up(self, filters: Sequence[Filter]) -> bool:
        """Indexes what is new if that is searched. False when it took too long, and something is left."""
        if not any(wanted.terms for wanted in filters):
            return True
        until = time.monotonic() + CATCH_UP_S
        while self._words.indexed < self._newest.head:
            if time.monotonic() > until:
                return False
            self._index_step(True)
        return True

    def _index_step(self, pause: bool) -> bool:
        """False when nothing is left to do for now."""
        with self._write_lock:
            return self._words.step(self._newest.head, self._count, pause=pause)

    def _empty_log(self) -> None:
        """Not beside a checkpoint of the upkeep: SQLite waits for no other one and leaves the log alone."""
        with self._checkpointing:
            self._writer.execute("pragma wal_checkpoint(truncate)").fetchall()

    def _checkpoint(self) -> None:
        try:
            with self._checkpointing:
                self._upkeep_connection.execute("pragma wal_checkpoint(passive)").fetchall()
        except DatabaseErrors as error:
            raise translate(error, self._path) from error

    def _open(self, cache_kib: int, *, readonly: bool) -> Connection:
        connection: Connection = open_database(self._path, self._key, readonly=readonly)
        connection.execute(f"pragma cache_size = -{cache_kib}")
        return connection
