"""The event store on SQLCipher: one writer with group commit, readers on their own connections."""

from __future__ import annotations

import contextlib
import threading
import time
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from meshconsole.core.errors import Fatal, MeshconsoleError, Refused, Unavailable
from meshconsole.core.event import decode_event
from meshconsole.core.kinds import CONTROL_KINDS
from meshconsole.core.verdict import refuse
from meshconsole.crypto.database import DatabaseErrors, is_interrupt, open_database, translate
from meshconsole.relay import schema, sweeping
from meshconsole.relay.authors import Authors
from meshconsole.relay.backup import copy_database
from meshconsole.relay.event import address
from meshconsole.relay.filter import Filter
from meshconsole.relay.hot import HotEvents
from meshconsole.relay.keys import MAX_KEY, KeyedHash, created_at_of
from meshconsole.relay.known import known_ids, settled_ids
from meshconsole.relay.memory import CACHES, Caches
from meshconsole.relay.readers import PromptReader, Readers
from meshconsole.relay.reading import Reading, bodies, is_stretch, stretch
from meshconsole.relay.retention import is_versioned
from meshconsole.relay.room import Room, evict
from meshconsole.relay.store import (
    Answer,
    Entry,
    EvictionClass,
    FeedRow,
    Item,
    Page,
    Quota,
    Removed,
    Selection,
    StoreUsage,
    Tally,
    Written,
    answered,
    as_entry,
    checkpoints,
    within_limits,
)
from meshconsole.relay.sweeping import sized
from meshconsole.relay.upkeep import Upkeep
from meshconsole.relay.walks import Span, beyond
from meshconsole.relay.writing import Writing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from meshconsole.core.event import Event
    from meshconsole.core.verdict import Verdict
    from meshconsole.relay.dbapi import Connection

PROMPT_BUDGET_S = 0.002
"""So long the event loop may wait for an answer; what takes longer is left to a thread."""

UPKEEP_CACHE_KIB = 64
LOG_BYTES = 32 << 20
"""So much the log may take. A commit empties it from half of that on; mostly upkeep has done so before.
That half stays a file when it is empty: a commit that makes the file longer costs the file system a commit
of its own, and takes four times as long."""

QUERY_BUDGET_S = 2.0
"""A query that takes longer is broken off: it would keep others from theirs."""

PURGE_AFTER_S = 86_400
"""Expired events are kept this long, unserved: a clock that jumps must not destroy anything at once."""

PURGE_AT_ONCE = 500
UPWARDS = Span(0, MAX_KEY, upwards=True)

PIECE = 2000
"""So many rows are looked at in one read transaction by what walks over everything."""

STEP = 500
"""So many events are removed or indexed in one write transaction by what does so with many."""

MAX_REFUSED = 500_000
"""Refused ids that are remembered: about 12 MB."""

MAX_UNINDEXED = 50_000
"""More events than these do not wait for a pause to be indexed."""

CATCH_UP_S = 1.0
"""A search waits so long for what was not indexed yet."""

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
        self._caches = caches
        self._readers = Readers(self._open_reader)
        self._prompt = PromptReader(lambda: self._open(self._caches.prompt_kib, readonly=True))
        self._hot = HotEvents(caches.hot_kib << 10)
        self._writer = open_database(path, key)
        try:
            self._writer.execute(f"pragma cache_size = -{caches.writer_kib}")
            self._room = Room(
                self._writer,
                path,
                quota,
                log_bytes,
                may_go=may_go or tuple,
                oldest=self._evictable,
                remove=self._remove_at_once,
                empty_log=self._empty_log,
            )
            schema.prepare(self._writer, path)
            state = dict(self._writer.execute("select name, value from relay_state").fetchall())
            self.log_id: str = state["log_id"]
            self._head = int(state["head_seq"])
            self._count = int(self._writer.execute("select count(*) from events").fetchone()[0])
            self._indexed = int(state["indexed_seq"])
            self._next_expiry = self._earliest_expiry()
        except DatabaseErrors as error:
            self._writer.close()
            raise translate(error, path) from error
        except Fatal:
            self._writer.close()
            raise
        self._checkpointing = threading.Lock()
        self._upkeep_connection = self._open(UPKEEP_CACHE_KIB, readonly=False)
        self._upkeep = Upkeep(self._checkpoint, self._index_step)
        self._upkeep.wrote(1)

    def set_caches(self, caches: Caches) -> None:
        self._caches = caches
        self._hot.resize(caches.hot_kib << 10)
        self._prompt.renew()
        self._readers.renew()
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
        return self._head

    def write(self, batch: Sequence[Entry]) -> list[Written]:
        """Never raises for a full disk, a full quota or damaged pages: the verdicts say it."""
        if not batch:
            return []
        with self._write_lock:
            reserved = 0
            try:
                reserved = self._room.reserve(batch)
                return self._commit(batch)
            except Refused as refused:
                verdict = refuse(_code(refused), refused.sentence)
            except MeshconsoleError as error:
                self._room.release(reserved)
                verdict = refuse("error", str(error))
            return [Written(verdict, 0)] * len(batch)

    def add(self, batch: Sequence[Entry | Event]) -> list[Verdict]:
        return [written.verdict for written in self.write([as_entry(item) for item in batch])]

    def known(self, ids: Collection[str]) -> set[str]:
        asked = list(ids)
        found: set[str] = set()
        for start in range(0, len(asked), PIECE):
            with self._reading() as connection:
                found |= known_ids(connection, asked[start : start + PIECE])
        return found

    def settled(self, ids: Collection[str]) -> set[str]:
        with self._reading() as connection:
            return settled_ids(connection, ids)

    def select(self, filters: Sequence[Filter], cap: int) -> Selection:
        caught_up = self._catch_up(filters)
        with self._reading() as connection:
            return self._select(connection, filters, cap, caught_up=caught_up)

    def answer(self, filters: Sequence[Filter], cap: int, size: int) -> Answer:
        caught_up = self._catch_up(filters)
        with self._reading() as connection:
            selection = self._select(connection, filters, cap, caught_up=caught_up)
            read = stretch if all(map(is_stretch, filters)) else bodies
            return answered(selection, partial(read, connection), size)

    def answer_now(self, filters: Sequence[Filter], cap: int, size: int) -> Answer | None:
        if any(wanted.search for wanted in filters):
            return None
        mark = self._hot.mark

        def question(connection: Connection) -> Answer:
            kept = partial(self._hot.raws, mark=mark, read=partial(bodies, connection))
            selection = self._select(connection, filters, cap, caught_up=True, raws=kept)
            # What lies together on few pages would only drive others out of memory.
            fetch = partial(stretch, connection) if all(map(is_stretch, filters)) else kept
            return answered(selection, fetch, size)

        try:
            return self._prompt.ask(question, PROMPT_BUDGET_S)
        except (MeshconsoleError, *DatabaseErrors):
            return None  # whatever it is, a reader with more patience will say it

    def fetch(self, keys: Sequence[int]) -> list[bytes]:
        with self._reading() as connection:
            return bodies(connection, keys)

    def query(self, filters: Sequence[Filter], limit: int) -> list[bytes]:
        return self.fetch(self.select(filters, limit).keys)

    def get(self, ids: Sequence[str]) -> list[bytes]:
        """Newest first. Expired events are left out."""
        return self.query([Filter(ids=frozenset(ids))], len(ids))

    def tally(self, filters: Sequence[Filter], cap: int) -> Tally:
        count = 0
        complete = self._catch_up(filters)
        try:
            with self._reading() as connection:
                for keys in self._reader(connection).pieces(filters, PIECE):
                    count += len(keys)
                    if count > cap:
                        return Tally(cap, complete=False)
        except Unavailable as error:
            if not is_interrupt(error.__cause__):
                raise
            return Tally(count, complete=False)
        return Tally(count, complete)

    def registers(self, wanted: Filter, offset: int) -> bytes:
        return sweeping.registers(self._walk([wanted]), offset)

    def items(self, wanted: Filter, cap: int) -> list[Item]:
        return sweeping.items(self._walk([wanted]), cap)

    def scan(self, filters: Sequence[Filter], after: int | None, count: int) -> Page:
        return sweeping.page(self._walk(filters, after), after, count)

    def delete(self, filters: Sequence[Filter], *, dry_run: bool, limit: int = 1000) -> Removed:
        filters = [replace(wanted, hidden=wanted.hidden | CONTROL_KINDS) for wanted in filters]
        if dry_run:
            sizes = [
                size for connection, keys in self._walk(filters) for _, _, size in sized(connection, keys)
            ]
            return Removed(len(sizes), sum(sizes))
        self._catch_up(filters)
        with self._reading() as connection:
            keys = self._reader(connection).union(filters, limit, UPWARDS)
        return self._remove(keys)

    def retire(self, ids: Collection[str]) -> Removed:
        with self._reading() as connection:
            keys = self._reader(connection).union(checkpoints(ids), len(ids), UPWARDS)
        return self._remove(keys)

    def evict(
        self, classes: Sequence[EvictionClass], need_bytes: int, *, dry_run: bool
    ) -> list[tuple[str, Removed]]:
        def remove(chosen: dict[int, int]) -> Removed:
            return Removed(len(chosen), sum(chosen.values())) if dry_run else self._remove(list(chosen))

        return evict(classes, need_bytes, self._evictable, remove)

    def feed(self, after_seq: int, limit: int) -> list[FeedRow]:
        rows: list[FeedRow] = []
        size = 0
        with self._reading() as connection:
            alive = self._reader(connection).alive("e")
            cursor = connection.execute(
                "select e.seq, e.kind, b.raw from events e join bodies b on b.key = e.key"
                f" where e.seq > ?{alive} order by e.seq limit +?",
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
        return StoreUsage(self._room.taken_bytes(), self._count)

    def purge_expired(self) -> int:
        self._forget_refused()
        before = int(self._clock()) - PURGE_AFTER_S
        with self._write_lock:
            if self._next_expiry is None or self._next_expiry > before:
                return 0
            with self._transaction() as writing:
                rows = self._writer.execute(
                    "select x.key, b.raw from expirations x join bodies b on b.key = x.key"
                    " where x.expires <= ? limit +?",
                    (before, PURGE_AT_ONCE),
                ).fetchall()
                for key, raw in rows:
                    event = decode_event(raw)
                    if is_versioned(event.kind):
                        # An older version that still goes round must not take the place.
                        writing.forbid(self._hashes.deleted_address(address(event)), created_at_of(key))
                writing.remove([key for key, _ in rows])
                writing.finish()
            self._next_expiry = self._earliest_expiry()
            return len(rows)

    def _forget_refused(self) -> None:
        """Of more refused ids than may be remembered, those go that were refused first."""
        with self._reading() as connection:
            count = int(connection.execute("select count(*) from refused").fetchone()[0])
            if count <= MAX_REFUSED:
                return
            (until,) = connection.execute(
                "select at from refused order by at limit 1 offset ?", (count - MAX_REFUSED * 9 // 10,)
            ).fetchone()
        gone = 1
        while gone:
            with self._write_lock, self._transaction():
                oldest = "select short_id from refused where at < ? limit +?"
                self._writer.execute(f"delete from refused where short_id in ({oldest})", (until, PIECE))
                gone = int(self._writer.execute("select changes()").fetchone()[0])

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
        connection = self._open_reader()
        try:
            connection.execute("begin")
            copy_database(self._path, self._key, connection, destination, progress)
        finally:
            connection.close()

    def close(self) -> None:
        self._upkeep.stop()
        with self._write_lock:
            self._readers.close()
            self._prompt.close()
            self._upkeep_connection.close()
            self._writer.close()

    def _select(
        self,
        connection: Connection,
        filters: Sequence[Filter],
        cap: int,
        *,
        caught_up: bool,
        raws: Callable[[Sequence[int]], list[bytes]] | None = None,
    ) -> Selection:
        (head,) = connection.execute("select value from relay_state where name = 'head_seq'").fetchone()
        reading = self._reader(connection, raws)
        limits = [cap if wanted.limit is None else min(cap, wanted.limit) for wanted in filters]
        sought = [reading.ranked(wanted, limit + 1) for wanted, limit in zip(filters, limits, strict=True)]
        found, complete = within_limits(sought, limits)
        if not caught_up:
            complete = False
        if len(found) == 1:
            return Selection(found[0], int(head), complete)
        if any(wanted.terms for wanted in filters):
            return Selection(list(dict.fromkeys(chain(*found))), int(head), complete)
        return Selection(sorted(set(chain(*found)), reverse=True), int(head), complete)

    def _commit(self, batch: Sequence[Entry]) -> list[Written]:
        with self._transaction() as writing:
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

    def _evictable(self, each: EvictionClass) -> Iterator[list[tuple[int, int]]]:
        """Row keys and sizes of a class's events, oldest first."""
        wanted = replace(each.wanted, hidden=each.wanted.hidden | CONTROL_KINDS)
        for connection, keys in self._walk([wanted], piece=STEP):
            spared = {self._authors.number(connection, pubkey) for pubkey in each.spared}
            yield [(key, size) for key, author, size in sized(connection, keys) if author not in spared]

    @contextlib.contextmanager
    def _transaction(self, *, is_upkeep: bool = False) -> Iterator[Writing]:
        """Durable when it ends. Raises the errors of ours; then nothing was written. The upkeep's own
        writing is no end of the pause that it waits for."""
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
        if writing.gone:
            self._hot.forget(writing.gone)
        if not is_upkeep:
            self._upkeep.wrote(writing.added + writing.removed)
        self._authors.remember(writing.new_authors)
        self._head = writing.head
        self._count += writing.added - writing.removed
        if writing.expires is not None:
            self._next_expiry = min(writing.expires, self._next_expiry or writing.expires)

    def _pragma(self, name: str) -> int:
        return int(self._writer.execute(f"pragma {name}").fetchone()[0])

    def _earliest_expiry(self) -> int | None:
        value: int | None = self._writer.execute("select min(expires) from expirations").fetchone()[0]
        return value

    def _reader(
        self, connection: Connection, raws: Callable[[Sequence[int]], list[bytes]] | None = None
    ) -> Reading:
        now = int(self._clock())
        expiring = self._next_expiry is not None and self._next_expiry <= now
        return Reading(connection, self._hashes, self._authors, now=now, expiring=expiring, raws=raws)

    def _walk(
        self, filters: Sequence[Filter], after: int | None = None, piece: int = PIECE
    ) -> Iterator[tuple[Connection, list[int]]]:
        """All that matches any of the filters, oldest first, each piece in a read transaction of its own."""
        self._catch_up(filters)
        span = UPWARDS if after is None else beyond(after, UPWARDS)
        while True:
            with self._reading() as connection:
                keys = self._reader(connection).union(filters, piece, span)
                if not keys:
                    return
                yield connection, keys
            span = beyond(keys[-1], span)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A connection in one read transaction with a time budget."""
        try:
            with self._readers.reading(QUERY_BUDGET_S) as connection:
                yield connection
        except DatabaseErrors as error:
            raise translate(error, self._path) from error

    def _catch_up(self, filters: Sequence[Filter]) -> bool:
        """Indexes what is new if that is searched. False when it took too long, and something is left."""
        if not any(wanted.terms for wanted in filters):
            return True
        until = time.monotonic() + CATCH_UP_S
        while self._indexed < self._head:
            if time.monotonic() > until:
                return False
            self._index_step(True)
        return True

    def _index_step(self, pause: bool) -> bool:
        """False when nothing is left to do for now."""
        with self._write_lock:
            left = self._head - self._indexed
            if left <= 0 or not (pause or left > MAX_UNINDEXED):
                return False
            with self._transaction(is_upkeep=True) as writing:
                reached = writing.index(self._indexed, STEP)
            self._indexed = reached
            return True

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

    def _open_reader(self) -> Connection:
        return self._open(self._caches.reader_kib, readonly=True)


def _code(refused: Refused) -> Any:  # noqa: ANN401 - one of Verdict's codes
    return refused.code
