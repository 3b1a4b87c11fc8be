"""The event store on PostgreSQL: `EventStore` and `SharedStore`.

Any number of processes may use one database; they see one log with one `log_id`. One connection
writes, up to MAX_READERS read, one listens. What is at rest is the operator's to encrypt.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg
from msgspec.structs import replace

from meshconsole.core.errors import MeshconsoleError, Refused
from meshconsole.core.event import decode_event
from meshconsole.core.kinds import CONTROL_KINDS
from meshconsole.core.verdict import refuse
from meshconsole.relay.event import address
from meshconsole.relay.keys import KeyedHash, created_at_of
from meshconsole.relay.postgres import schema
from meshconsole.relay.postgres.connecting import (
    LISTENER,
    READER,
    WRITER,
    Server,
    insist_on_durability,
    server_in_words,
)
from meshconsole.relay.postgres.errors import is_lost, translate
from meshconsole.relay.postgres.following import Course, Following, rows_behind
from meshconsole.relay.postgres.plan import segments
from meshconsole.relay.postgres.pool import Pool
from meshconsole.relay.postgres.queries import Query
from meshconsole.relay.postgres.reading import PIECE, ReadingHalf
from meshconsole.relay.postgres.writing import State, Writing, disk_bytes, look
from meshconsole.relay.retention import is_versioned
from meshconsole.relay.store import (
    MeasuredQuota,
    NoQuota,
    Quota,
    Removed,
    StoreUsage,
    Written,
    as_entry,
    checkpoints,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from meshconsole.core.event import Event
    from meshconsole.core.verdict import Verdict
    from meshconsole.relay.filter import Filter
    from meshconsole.relay.postgres.connecting import Connection
    from meshconsole.relay.store import Entry, EvictionClass, FeedRow

MAX_READERS = 4
PURGE_AFTER_S = 86_400
"""Expired events are kept this long, unserved: a clock that jumps must not destroy anything at once."""

STEP = 500
"""So many events are removed in one turn by what removes many."""

MAX_REFUSED = 1_000_000
"""Ids of refused events that are remembered, about; the oldest are forgotten first."""


class PostgresEventStore(ReadingHalf):
    """`url` is `relay.store`'s. Raises errors of ours when the server cannot be used."""

    def __init__(
        self,
        url: str,
        *,
        quota: Quota | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._server = Server(url)
        self._quota = quota or NoQuota()
        self._write_lock = threading.Lock()
        self._following: Following | None = None
        connection = self._server.connect(WRITER)
        try:
            schema.prepare(connection)
            row = connection.execute(
                "select log_id, secret, head_seq, events, bytes from mc_state"
            ).fetchall()[0]
            insist_on_durability(connection)
            self.description = server_in_words(connection)
            self._disk_bytes = disk_bytes(connection)
            connection.autocommit = False
        except psycopg.Error as error:
            connection.close()
            raise translate(error) from error
        except BaseException:
            connection.close()
            raise
        self.log_id: str = row[0]
        self._writer: Connection | None = connection
        self._state = State(*row[2:])
        self._channel = f"mc_{self.log_id[:16]}"
        self._course = Course(self._state.head)
        readers = Pool(lambda: self._server.connect(READER), MAX_READERS)
        super().__init__(readers, KeyedHash(row[1]), clock)

    @property
    def head_seq(self) -> int:
        """Up to here everything has been delivered in this process."""
        return self._course.position

    # --- writing -----------------------------------------------------------------------------------

    def write(self, batch: Sequence[Entry]) -> list[Written]:
        """Never raises for a server that is away, or a full disk or quota: the verdicts say it."""
        if not batch:
            return []
        with self._write_lock:
            reserved = 0
            try:
                reserved = self._reserve(batch)
                return self._store(batch)
            except Refused as refused:
                verdict = refuse(_code(refused), refused.sentence)
            except MeshconsoleError as error:
                self._quota.release(reserved)
                verdict = refuse("error", str(error))
            return [Written(verdict, 0)] * len(batch)

    def add(self, batch: Sequence[Entry | Event]) -> list[Verdict]:
        return [written.verdict for written in self.write([as_entry(item) for item in batch])]

    def delete(self, filters: Sequence[Filter], *, dry_run: bool, limit: int = 1000) -> Removed:
        filters = [replace(wanted, hidden=wanted.hidden | CONTROL_KINDS) for wanted in filters]
        if dry_run:
            sizes = [size for page in self._sized(filters, PIECE) for _, size in page]
            return Removed(len(sizes), sum(sizes))
        page = next(self._sized(filters, limit), [])
        return self._remove([key for key, _ in page])

    def retire(self, ids: Collection[str]) -> Removed:
        count = size = 0
        for page in self._sized(checkpoints(ids), STEP):
            removed = self._remove([key for key, _ in page])
            count, size = count + removed.count, size + removed.bytes
        return Removed(count, size)

    def evict(
        self, classes: Sequence[EvictionClass], need_bytes: int, *, dry_run: bool
    ) -> list[tuple[str, Removed]]:
        done: list[tuple[str, Removed]] = []
        doomed: set[int] = set()
        for each in classes:
            removed = Removed(0, 0)
            wanted = replace(each.wanted, hidden=each.wanted.hidden | CONTROL_KINDS)
            for page in self._sized([wanted], STEP, each.spared):
                if removed.bytes >= need_bytes:
                    break
                chosen: dict[int, int] = {}
                for key, size in page:
                    if removed.bytes + sum(chosen.values()) >= need_bytes:
                        break
                    if key not in doomed:
                        chosen[key] = size
                doomed.update(chosen)
                gone = Removed(len(chosen), sum(chosen.values())) if dry_run else self._remove(list(chosen))
                removed = Removed(removed.count + gone.count, removed.bytes + gone.bytes)
            need_bytes -= removed.bytes
            done.append((each.name, removed))
        return done

    def purge_expired(self) -> int:
        """Also forgets the oldest refused ids, when there are too many."""
        before = int(self._clock()) - PURGE_AFTER_S
        due = (
            "select e.key, b.raw from mc_events e join mc_bodies b on b.key = e.key"
            " where e.expires <= %s::bigint limit %s::bigint"
        )
        rows = self._read(Query(due, (str(before), str(STEP))))
        if not rows:
            self._forget_refused()
            return 0
        with self._write_lock, self._turn() as writing:
            versions = [(key, decode_event(raw)) for key, raw in rows]
            # An older version that still goes round must not take the place.
            writing.forbid(
                {
                    self._hashes.deleted_address(address(event)): created_at_of(key)
                    for key, event in versions
                    if is_versioned(event.kind)
                }
            )
            return writing.remove([key for key, _ in rows]).count

    def _store(self, batch: Sequence[Entry]) -> list[Written]:
        parts = list(segments(batch))
        with self._turn(parts[0]) as writing:
            return [written for part in parts for written in writing.run(part)]

    def _remove(self, keys: Sequence[int]) -> Removed:
        """In turns short enough that other writers never wait long for one."""
        count = size = 0
        for start in range(0, len(keys), STEP):
            with self._write_lock, self._turn() as writing:
                removed = writing.remove(keys[start : start + STEP])
            count += removed.count
            size += removed.bytes
        return Removed(count, size)

    @contextlib.contextmanager
    def _turn(self, first: Sequence[Entry] = ()) -> Iterator[Writing]:
        """A write transaction, durable when it ends. Raises errors of ours; then nothing was written, or
        it is not known whether it was: in that case it is heard later like another process's.

        What others wrote since this process last looked is handed on before this turn's own. The caller
        holds the write lock.
        """
        connection, writing = self._begin(first)
        try:
            with self._course.lock:
                self._hand_on_others(connection, writing.state.head)
                yield writing
                self._state = writing.commit(self._channel)
                self._course.hand_on((), self._state.head)
        except BaseException as error:
            self._abandon(connection)
            if isinstance(error, psycopg.Error):
                raise translate(error) from error
            raise

    def _begin(self, first: Sequence[Entry]) -> tuple[Connection, Writing]:
        """Takes the turn; on a new connection if the old one was lost meanwhile."""
        while True:
            is_new = self._writer is None
            connection = self._writer = self._writer or self._connect_writer()
            writing = Writing(connection, self._hashes, now=int(self._clock()))
            try:
                writing.begin(first)
            except psycopg.Error as error:
                lost = is_lost(error, connection)
                self._abandon(connection)
                if is_new or not lost:
                    raise translate(error) from error
            else:
                return connection, writing

    def _connect_writer(self) -> Connection:
        connection = self._server.connect(WRITER, autocommit=False)
        try:
            insist_on_durability(connection)
            connection.commit()
        except psycopg.Error as error:
            connection.close()
            raise translate(error) from error
        return connection

    def _abandon(self, connection: Connection) -> None:
        """Undoes what was not committed; gives the connection up when even that fails."""
        try:
            connection.rollback()
        except psycopg.Error:
            connection.close()
        if connection.closed:
            self._writer = None

    def _hand_on_others(self, connection: Connection, head: int) -> None:
        while self._course.is_followed and self._course.position < head:
            rows = rows_behind(connection, self._course.position, int(self._clock()))
            self._course.hand_on(rows, rows[-1].seq if rows else head)

    def _sized(
        self, filters: Sequence[Filter], piece: int, spared: Collection[str] = ()
    ) -> Iterator[list[tuple[int, int]]]:
        """Row keys and sizes of all that matches, oldest first, in pieces."""
        sql = "select e.size, e.key from mc_events e join ({}) found on found.key = e.key order by e.key"
        for rows in self._pieces(filters, sql, piece=piece, spared=spared):
            yield [(key, size) for size, key in rows]

    def _reserve(self, batch: Sequence[Entry]) -> int:
        """Promises the quota more than the batch can take, as the embedded store does.

        What makes the team goes in even when the quota is full: a captured device must be removable.
        """
        if all(entry.event.kind in CONTROL_KINDS for entry in batch):
            return 0
        needed = sum(2 * len(entry.raw) + 512 + 64 * len(entry.event.tags) for entry in batch)
        try:
            self._quota.reserve(needed)
        except Refused as refused:
            # Room that deletions made is used again without the tables growing.
            if self._disk_bytes - 3 * self._state.bytes - 1024 * self._state.events < needed:
                if isinstance(self._quota, MeasuredQuota):
                    self._quota.ran_out(refused.sentence)
                raise
            return 0
        return needed

    # --- figures and upkeep ------------------------------------------------------------------------

    def count(self) -> int:
        return int(self._read(Query("select events from mc_state"))[0][0])

    def usage(self) -> StoreUsage:
        """Of the tables in PostgreSQL, as they were when last looked at: this never waits for the server
        while the store is followed."""
        if self._following is None:
            self._disk_bytes, self._state = self._readers.run(look)
        return StoreUsage(self._disk_bytes, self._state.events)

    def vacuum(self) -> None:
        """PostgreSQL's own, which makes room for what comes and gives back what is free at the end."""
        tables = ", ".join(schema.TABLES)
        connection = self._server.connect({})
        try:
            connection.execute(f"vacuum (analyze) {tables}".encode())
        except psycopg.Error as error:
            raise translate(error) from error
        finally:
            connection.close()

    def vacuum_step(self, max_pages: int) -> int:
        """Nothing to do here: PostgreSQL does it in the background."""
        return 0

    def backup(self, destination: Path, progress: Callable[[int, int], None] | None = None) -> None:
        raise Refused(
            "unsupported",
            "the events are in PostgreSQL, which has better ways to copy them than a node",
            hint="Use pg_dump or pg_basebackup; see docs/operator.md.",
        )

    def close(self) -> None:
        self.unfollow()
        with self._write_lock:
            self._readers.close()
            if self._writer is not None:
                self._writer.close()

    def _forget_refused(self) -> None:
        cut = f"select at from mc_refused order by at desc offset {MAX_REFUSED} limit 1"
        rows = self._read(Query(cut))
        if rows:
            with self._write_lock, self._turn() as writing:
                writing.forget_refused(int(rows[0][0]))

    # --- other processes ---------------------------------------------------------------------------

    def follow(self, heard: Callable[[Sequence[FeedRow]], None]) -> None:
        self._course.follow(heard)
        self._following = Following(
            lambda: self._server.connect(LISTENER),
            self._course,
            self._channel,
            self._looked,
            lambda: int(self._clock()),
        )

    def unfollow(self) -> None:
        if self._following is not None:
            self._following.stop()
            self._following = None
        self._course.follow(None)

    def pass_on(self, raw: bytes) -> None:
        if self._following is not None:
            self._following.pass_on(raw[7:71].decode(), raw)

    def _looked(self, connection: Connection) -> None:
        self._disk_bytes, state = look(connection)
        if self._write_lock.acquire(blocking=False):  # else a newer one is about to come
            self._state = state
            self._write_lock.release()


def _code(refused: Refused) -> Any:  # noqa: ANN401 - one of Verdict's codes
    return refused.code
