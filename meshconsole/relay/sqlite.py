"""The event store on SQLCipher: one writer with group commit, readers on their own connections."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from meshconsole.core.errors import MeshconsoleError, Refused
from meshconsole.core.kinds import CONTROL_KINDS
from meshconsole.core.verdict import refuse
from meshconsole.crypto.database import BUSY_TIMEOUT_MS, DatabaseErrors, open_database, translate
from meshconsole.relay import schema
from meshconsole.relay.ahead import Ahead
from meshconsole.relay.asked import AskedHalf
from meshconsole.relay.authors import Authors
from meshconsole.relay.backup import copy_database
from meshconsole.relay.committing import Committing
from meshconsole.relay.journal import Journal
from meshconsole.relay.keys import KeyedHash
from meshconsole.relay.known import refused_too_long_ago
from meshconsole.relay.memory import CACHES, Caches
from meshconsole.relay.newest import Newest
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
from meshconsole.relay.words import LARGE_STEP, Words

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from meshconsole.core.event import Event
    from meshconsole.core.verdict import Verdict
    from meshconsole.relay.dbapi import Connection
    from meshconsole.relay.filter import Filter

T = TypeVar("T")

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
        self._newest = Newest()
        self._asked = Questions(
            path,
            self._hashes,
            self._authors,
            caches,
            self._newest,
            open_=partial(self._open, readonly=True),
            settle=lambda: self._committing.settle(),
            settle_now=lambda: self._committing.settle_now(),
            ahead=lambda: self._committing.ids_ahead,
            catch_up=self._catch_up,
            is_expiring=lambda now: self._committing.is_expiring(now),
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
                remove=lambda keys: self._committing.remove_at_once(keys),
                settle=lambda: self._committing.settle_first(),
                empty_log=self._empty_log,
            )
            schema.prepare(self._writer, path)
            state = dict(self._writer.execute("select name, value from relay_state").fetchall())
            self.log_id: str = state["log_id"]
            self._newest.head = int(state["head_seq"])
            ahead = Ahead(Journal(self._room.journal, key, self.log_id))
            ahead.recover(self._newest.head)
            self._committing = Committing(
                self._writer,
                path,
                self._hashes,
                self._authors,
                self._newest,
                ahead,
                clock=clock,
                gone=self._asked.hot.forget,
            )
            self._words = Words(self._writer, state, partial(self._committing.changing, is_upkeep=True))
        except DatabaseErrors as error:
            self._writer.close()
            raise translate(error, path) from error
        except MeshconsoleError:
            self._writer.close()
            raise
        self._upkeep_connection = self._open(UPKEEP_CACHE_KIB, readonly=False)
        self._upkeep = Upkeep(self._committing.settle, self._checkpoint, self._index_step)
        self._upkeep.wrote(MUCH)
        self._committing.start(self._upkeep)

    def set_caches(self, caches: Caches) -> None:
        self._asked.set_caches(caches)
        with self._committing.lock:
            try:
                self._writer.execute(f"pragma cache_size = -{caches.writer_kib}")
            except DatabaseErrors as error:
                raise translate(error, self._path) from error

    def limit_log(self, log_bytes: int) -> None:
        """What the log may take from the next write on."""
        self._room.log_bytes = log_bytes

    @property
    def head_seq(self) -> int:
        return self._committing.head_seq

    def write(self, batch: Sequence[Entry]) -> list[Written]:
        """Never raises for a full disk, a full quota or damaged pages: the verdicts say it."""
        if not batch:
            return []
        with self._committing.lock:
            parts = self._room.parts(batch)
            # Parts that waited in the journal would enter the tables together after all.
            at_once = len(parts) > 1
            return [written for part in parts for written in self._write_part(part, at_once=at_once)]

    def write_now(self, batch: Sequence[Entry]) -> list[Written] | None:
        """As `PromptWriter` says."""
        if not self._committing.is_prompt or not self._committing.lock.acquire(blocking=False):
            return None
        try:
            reserved = self._room.reserve_now(batch)
            return None if reserved is None else self._take(batch, reserved, self._committing.take_now)
        except MeshconsoleError as error:
            return [Written(refuse("error", str(error)), 0)] * len(batch)
        finally:
            self._committing.lock.release()

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
        return self._committing.count

    def usage(self) -> StoreUsage:
        return StoreUsage(self._room.taken_bytes(), self.count())

    def purge_expired(self) -> int:
        self._forget_refused()
        before = int(self._clock()) - PURGE_AFTER_S
        with self._committing.lock:
            if not self._committing.is_expiring(before):
                return 0
            self._room.allow_log()
            return self._committing.purge(before, self._room.removable(PURGE_AT_ONCE))

    def _forget_refused(self) -> None:
        """Of more refused ids than may be remembered, those go that were refused first."""
        with self._asked.reading() as connection:
            until = refused_too_long_ago(connection, MAX_REFUSED)
        gone = 1
        while until is not None and gone:
            with self._committing.lock, self._committing.changing() as writing:
                gone = writing.forget_refused(until, PIECE)

    def vacuum(self) -> None:
        with self._writing():
            self._writer.execute("insert into words (words) values ('optimize')")
            self._writer.execute("pragma auto_vacuum = incremental")
            self._writer.execute("vacuum")
            self._empty_log(patient=True)

    def vacuum_step(self, max_pages: int) -> int:
        with self._writing():
            return self._room.vacuum(max_pages)

    def shrink(self) -> bool:
        with self._writing():
            return self._room.give_back()

    def backup(self, destination: Path, progress: Callable[[int, int], None] | None = None) -> None:
        connection = self._open(UPKEEP_CACHE_KIB, readonly=True)
        try:
            connection.execute("begin")
            copy_database(self._path, self._key, connection, destination, progress, self._alone)
        finally:
            connection.close()

    def close(self) -> None:
        self._upkeep.stop()
        with self._committing.lock:
            self._committing.close()
            self._asked.close()
            self._upkeep_connection.close()
            self._writer.close()

    def _write_part(self, part: Sequence[Entry], *, at_once: bool) -> list[Written]:
        try:
            take = partial(self._committing.take, at_once=at_once)
            return self._take(part, self._room.reserve(part), take)
        except Refused as refused:
            verdict = refuse(refused.code, refused.sentence)  # type: ignore[arg-type]
        except MeshconsoleError as error:
            verdict = refuse("error", str(error))
        return [Written(verdict, 0)] * len(part)

    def _take(self, batch: Sequence[Entry], reserved: int, take: Callable[[Sequence[Entry]], T]) -> T:
        """By whoever holds the lock. What was reserved is released when nothing is written."""
        try:
            written = take(batch)
        except MeshconsoleError:
            self._room.release(reserved)
            raise
        if written is None:
            self._room.release(reserved)
        return written

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with self._committing.lock:
            self._committing.settle_first()
            try:
                yield
            except DatabaseErrors as error:
                raise translate(error, self._path) from error

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody writes to the file meanwhile, no other room either; it holds all that was acknowledged."""
        with self._committing.lock, self._committing.changing(is_upkeep=True):
            yield

    def _remove(self, keys: Sequence[int]) -> Removed:
        """In transactions small enough that writers never wait long for one."""
        count = size = 0
        at_once = self._room.removable(STEP)
        for start in range(0, len(keys), at_once):
            with self._committing.lock:
                self._room.allow_log()
                with self._committing.changing() as writing:
                    removed = writing.remove(keys[start : start + at_once])
                    writing.finish()
            count += removed.count
            size += removed.bytes
        return Removed(count, size)

    def _pragma(self, name: str) -> int:
        return int(self._writer.execute(f"pragma {name}").fetchone()[0])

    def _catch_up(self, filters: Sequence[Filter]) -> bool:
        """Indexes what is new if that is searched. False when it took too long, and something is left."""
        if not any(wanted.terms for wanted in filters):
            return True
        self._committing.settle()
        until = time.monotonic() + CATCH_UP_S
        while self._words.indexed < self._newest.head:
            if time.monotonic() > until or not self._index_step(True):
                return self._words.indexed >= self._newest.head
        return True

    def _index_step(self, pause: bool) -> bool:
        """False when nothing is left to do for now."""
        if not pause and self._words.waits(self._newest.head):
            return False  # who writes much has the lock nearly always, and the log is to be emptied meanwhile
        with self._committing.lock:
            self._committing.settle_first()  # what enters the tables within a step is indexed in the next
            if not (at_once := self._room.indexable(LARGE_STEP)):
                return False
            return self._words.step(self._newest.head, self._committing.count, pause=pause, at_once=at_once)

    def _empty_log(self, patient: bool) -> bool:
        """False when somebody still reads what is in it. Not beside a checkpoint of the upkeep: SQLite waits
        for no other one and leaves the log alone."""
        if not self._committing.checkpointing.acquire(blocking=patient):
            return False
        try:
            self._writer.execute(f"pragma busy_timeout = {BUSY_TIMEOUT_MS if patient else 0}")
            (row,) = self._writer.execute("pragma wal_checkpoint(truncate)").fetchall()
            return not int(row[0])
        finally:
            self._writer.execute(f"pragma busy_timeout = {BUSY_TIMEOUT_MS}")
            self._committing.checkpointing.release()

    def _checkpoint(self) -> None:
        try:
            with self._committing.checkpointing:
                self._upkeep_connection.execute("pragma wal_checkpoint(passive)").fetchall()
        except DatabaseErrors as error:
            raise translate(error, self._path) from error

    def _open(self, cache_kib: int, *, readonly: bool) -> Connection:
        connection: Connection = open_database(self._path, self._key, readonly=readonly)
        connection.execute(f"pragma cache_size = -{cache_kib}")
        return connection
