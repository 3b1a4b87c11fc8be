"""The one connection that writes to the tables: a transaction at a time, each durable when it ends.

A few events that come alone are acknowledged once the journal holds them. They enter the tables before
anything else is done there, and before anybody reads: see `settle`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING

from meshconsole.core.errors import MeshconsoleError
from meshconsole.crypto.database import DatabaseErrors, translate
from meshconsole.relay.ahead import ENOUGH, Ahead, may_wait
from meshconsole.relay.promptness import Promptness
from meshconsole.relay.upkeep import MUCH
from meshconsole.relay.writing import KeyTaken, Writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence, Set
    from pathlib import Path

    from meshconsole.relay.authors import Authors
    from meshconsole.relay.dbapi import Connection
    from meshconsole.relay.keys import KeyedHash
    from meshconsole.relay.newest import Newest
    from meshconsole.relay.store import Entry, Written
    from meshconsole.relay.upkeep import Upkeep

log = logging.getLogger(__name__)

AT_ONCE = 4
"""So many that are ahead the event loop may bring into the tables: each takes 0.2 ms of the processor among
100,000 others."""

TRY_AGAIN_S = 1.0
"""After what is ahead found no way into the tables, those who read do not try it for so long."""

LOOK_AGAIN_S = 0.005
"""Whoever waits for somebody else to bring in what is ahead looks that often."""


class Committing:
    """`gone` hears of the row keys of removed events when their commit is over. Whoever calls `take`,
    `changing` or `remove_at_once` holds `lock`, which a thread may take twice. Before anything else `start`
    is called."""

    def __init__(
        self,
        connection: Connection,
        path: Path,
        hashes: KeyedHash,
        authors: Authors,
        newest: Newest,
        ahead: Ahead,
        *,
        clock: Callable[[], float],
        gone: Callable[[Sequence[int]], None],
    ) -> None:
        """Reads from the tables what is to be known of them."""
        self.lock = threading.RLock()
        self.checkpointing = threading.Lock()
        """Held while the log is emptied: a commit beside it waits for the disk twice."""
        self._connection = connection
        self._path = path
        self._hashes = hashes
        self._authors = authors
        self._newest = newest
        self._ahead = ahead
        self._clock = clock
        self._gone = gone
        self._disk = Promptness()
        self._upkeep: Upkeep | None = None
        self._settle_not_before = 0.0
        """0 unless what is ahead found no way into the tables."""
        self._held = int(self._one("select count(*) from events") or 0) + len(ahead)
        self._any_deletions = bool(self._one("select exists (select 1 from deletions)"))
        self._next_expiry = self._one("select min(expires) from expirations")

    def start(self, upkeep: Upkeep) -> None:
        """`upkeep` hears of what was written."""
        self._upkeep = upkeep
        self.settle()

    @property
    def head_seq(self) -> int:
        # Not the sum: while what was ahead is in the tables already, it would count twice.
        return max(self._newest.head, self._ahead.head)

    @property
    def ids_ahead(self) -> Set[str]:
        return self._ahead.ids

    @property
    def count(self) -> int:
        return self._held

    def is_expiring(self, now: int) -> bool:
        return self._next_expiry is not None and self._next_expiry <= now

    @property
    def is_prompt(self) -> bool:
        """The disk has been quick, and nobody keeps it busy: the event loop may wait for a commit."""
        return self._disk.is_prompt and not self.checkpointing.locked()

    def take(self, batch: Sequence[Entry], *, at_once: bool = False) -> list[Written]:
        """All of the batch, durably, and `at_once` into the tables. Raises errors of ours; then nothing of it
        was taken."""
        with self._watched(len(batch)):
            return (None if at_once else self._take_ahead(batch)) or self._commit(batch)

    def take_now(self, batch: Sequence[Entry]) -> list[Written] | None:
        """The same; None where it would bring many into the tables that are ahead of them."""
        with self._watched(len(batch)):
            written = self._take_ahead(batch)
            if written is None and len(self._ahead) <= AT_ONCE:
                return self._commit(batch)
            return written

    def settle(self) -> bool:
        """Brings into the tables what is ahead of them. Where that fails, which False says, it stays ahead,
        durable, and the tables are read as they are."""
        awaited = self._ahead.entries
        while self._is_due(awaited):
            # Whoever has the lock brings them in first, and may then go on with something else for minutes.
            if self.lock.acquire(timeout=LOOK_AGAIN_S):
                try:
                    if self._is_due(awaited):
                        self._try_to_settle()
                finally:
                    self.lock.release()
        return not self._settle_not_before

    def settle_now(self) -> bool:
        """The same, if that takes little time and waits for nobody. Whether nothing is ahead now."""
        if not self._ahead:
            return True
        if len(self._ahead) > AT_ONCE or not self.is_prompt or not self.lock.acquire(blocking=False):
            return False
        try:
            with self._watched(len(self._ahead)):
                self.settle()
        finally:
            self.lock.release()
        return not self._ahead

    @contextlib.contextmanager
    def changing(self, *, is_upkeep: bool = False) -> Iterator[Writing]:
        """A transaction on tables that hold all that was acknowledged. Raises errors of ours; then nothing
        was written. The upkeep's own writing is no end of the pause that it waits for."""
        self.settle_first()
        with self._transaction(is_upkeep=is_upkeep) as writing:
            yield writing

    def remove_at_once(self, keys: Sequence[int]) -> None:
        with self.changing() as writing:
            writing.remove(keys)
            writing.finish()

    def purge(self, before: int, count: int) -> int:
        """Removes at most `count` events that expired by then. Returns how many."""
        if not self.is_expiring(before):
            return 0
        with self.changing() as writing:
            purged = writing.purge(before, count)
        self._next_expiry = self._one("select min(expires) from expirations")
        return purged

    def settle_first(self) -> None:
        """As `settle`, for whoever is going to write. Raises errors of ours."""
        if self._ahead:
            self._commit([])

    def close(self) -> None:
        """What finds no way into the tables now waits in the journal for the next start."""
        self.settle()
        self._ahead.close()

    @contextlib.contextmanager
    def _watched(self, events: int) -> Iterator[None]:
        """How long the disk takes for so many."""
        began = time.perf_counter()
        try:
            yield
        except MeshconsoleError:
            self._disk.failed()
            raise
        self._disk.committed(events, time.perf_counter() - began)

    def _is_due(self, awaited: Sequence[Entry]) -> bool:
        """These are still ahead, and it is time to bring them in."""
        is_ahead = bool(awaited) and awaited is self._ahead.entries
        return is_ahead and time.monotonic() >= self._settle_not_before

    def _try_to_settle(self) -> None:
        try:
            self._commit([])
        except MeshconsoleError as error:
            self._disk.failed()
            self._settle_not_before = time.monotonic() + TRY_AGAIN_S
            log.warning("%d acknowledged events stay in the journal for now: %s", len(self._ahead), error)

    def _take_ahead(self, batch: Sequence[Entry]) -> list[Written] | None:
        """A few events go into the journal, and later into the tables with others. Not while those before
        them find no way there: nobody could find these either."""
        if self._settle_not_before or not may_wait(batch):
            return None
        try:
            verdicts = self._new_writing().foresee(batch, self._ahead.ids)
        except DatabaseErrors as error:
            raise translate(error, self._path) from error
        if verdicts is None:
            return None
        before = len(self._ahead)
        written = self._ahead.take(batch, verdicts, self._newest.head)
        self._held += len(self._ahead) - before
        if written is not None and self._upkeep is not None:
            self._upkeep.took_ahead(enough=len(self._ahead) >= ENOUGH)
        return written

    def _commit(self, batch: Sequence[Entry]) -> list[Written]:
        """What is ahead of the tables goes first."""
        ahead = len(self._ahead)
        written = self._run([*self._ahead.entries, *batch], ahead)
        self._settle_not_before = 0.0
        for verdict, _ in written[:ahead]:
            if not verdict.accepted:
                log.error("an acknowledged event is not taken into the tables: %s", verdict.message)
        self._ahead.settled()
        return written[ahead:]

    def _run(self, batch: Sequence[Entry], counted: int) -> list[Written]:
        with contextlib.suppress(KeyTaken), self._transaction(counted=counted) as writing:
            return writing.run(batch)
        with self._transaction(counted=counted) as writing:
            writing.look_up_keys(batch)
            return writing.run(batch)

    @contextlib.contextmanager
    def _transaction(self, *, is_upkeep: bool = False, counted: int = 0) -> Iterator[Writing]:
        """`counted`: so many of what it adds are held already."""
        self._newest.begin()
        try:
            self._connection.execute("begin immediate")
            writing = self._new_writing()
            yield writing
            self._connection.execute("commit")
        except BaseException as error:
            self._newest.end(None)
            with contextlib.suppress(*DatabaseErrors):
                self._connection.execute("rollback")
            if isinstance(error, DatabaseErrors):
                self._tell_upkeep(MUCH)  # what found no room may find some in an empty log
                raise translate(error, self._path) from error
            raise
        if writing.gone:
            self._gone(writing.gone)
        if not is_upkeep:
            self._tell_upkeep(writing.added + writing.removed)
        self._any_deletions = writing.any_deletions
        self._authors.remember(writing.new_authors)
        self._newest.end(writing.head)
        self._held += writing.added - writing.removed - counted
        if writing.expires is not None:
            self._next_expiry = min(writing.expires, self._next_expiry or writing.expires)

    def _new_writing(self) -> Writing:
        return Writing(
            self._connection,
            self._hashes,
            self._authors,
            self._newest,
            int(self._clock()),
            any_deletions=self._any_deletions,
        )

    def _tell_upkeep(self, events: int) -> None:
        if self._upkeep is not None:
            self._upkeep.wrote(events)

    def _one(self, sql: str) -> int | None:
        value: int | None = self._connection.execute(sql).fetchone()[0]
        return value
