"""The index of words follows the log, and is merged into one piece now and then.

It grows by pieces, and a search asks each of them. FTS5 merges four of about one size whenever there are
so many, which leaves ten to sixteen of a million events: a seventh of what a search costs. So where a
quarter of all events is new since the last time, all pieces become one, a few pages with each step in a
pause. In the long run that writes the index five times more often than once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshconsole.relay.keys import ID_BITS, created_at_of
from meshconsole.relay.questions import STEP
from meshconsole.relay.searching import SEARCHABLE, row_by_second, row_by_seq

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from meshconsole.relay.dbapi import Connection

MAX_UNINDEXED = 100_000
"""More events than these do not wait for a pause to be indexed, and whoever writes waits for that. So many
are what a search can wait for on a fast machine."""

MANY = 10 * STEP
LARGE_STEP = 4 * STEP
"""So much is indexed in one transaction where MANY wait: each has a commit of its own."""

MERGED_PART = 4
FEW_NEW = 10 * STEP
"""Fewer events than these are never merged for their own sake."""

MERGED_PAGES = 64
"""So much of the index is written in one transaction."""

_IN_ITS_SECOND = (
    f"select count(*) from (select 1 from events o where o.key between (e.key >> {ID_BITS} << {ID_BITS})"
    f" and (e.key | {(1 << ID_BITS) - 1}) limit 2)"
)
"""How many events there are in an event's second, two for more."""


class Words:
    """Used by whoever holds the store's lock for writing. `transaction` begins one on `connection`."""

    def __init__(
        self,
        connection: Connection,
        state: Mapping[str, str],
        transaction: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.indexed = int(state["indexed_seq"])
        """Up to where in the log events can be found."""
        self._db = connection
        self._merged = int(state.get("merged_seq", "0"))
        self._is_merging = False
        self._transaction = transaction

    def waits(self, head: int) -> bool:
        """Nothing is to be done before a pause. May be asked without the lock."""
        return head - self.indexed <= MAX_UNINDEXED

    def step(self, head: int, held: int, *, pause: bool, at_once: int = LARGE_STEP) -> bool:
        """A little of what is to be done, with so many events held: `at_once` of them at most. False when
        nothing is left for now."""
        if not pause and self.waits(head):
            return False
        left = head - self.indexed
        if left <= 0:
            return self._merge_step(held)
        with self._transaction():
            reached = self._index(head, min(LARGE_STEP if left > MANY else STEP, at_once))
            self._db.execute("update relay_state set value = ? where name = 'indexed_seq'", (str(reached),))
        self.indexed = reached
        return True

    def _index(self, head: int, count: int) -> int:
        """Makes the next events searchable. Returns up to which place in the log."""
        rows = self._db.execute(
            f"select e.seq, e.key, e.kind, b.raw, ({_IN_ITS_SECOND})"
            " from events e join bodies b on b.key = e.key where e.seq > ? order by e.seq limit +?",
            (self.indexed, count),
        ).fetchall()
        texts: list[tuple[int, str]] = []
        for seq, key, kind, raw, in_its_second in rows:
            if kind in SEARCHABLE:
                content = _content(raw).content
                if in_its_second == 1:
                    texts.append((row_by_second(created_at_of(key), content), content))
                else:
                    texts.append((row_by_seq(seq, content), content))
        # What comes out of order would begin a piece of its own.
        self._db.executemany("insert into words (rowid, content) values (?, ?)", sorted(texts))
        return int(rows[-1][0]) if len(rows) == count else head

    def _merge_step(self, held: int) -> bool:
        if not self._is_merging and self.indexed - self._merged <= max(FEW_NEW, held // MERGED_PART):
            return False
        with self._transaction():
            is_more = self._merge()
            if not is_more:
                row = ("merged_seq", str(self.indexed))
                self._db.execute("insert or replace into relay_state (name, value) values (?, ?)", row)
        self._is_merging = is_more
        if not is_more:
            self._merged = self.indexed
        return is_more

    def _merge(self) -> bool:
        """False when nothing was left to merge."""
        changes = "select total_changes()"
        (before,) = self._db.execute(changes).fetchone()
        # https://sqlite.org/fts5.html#the_merge_command: what is negative begins with all pieces there are.
        pages = MERGED_PAGES if self._is_merging else -MERGED_PAGES
        self._db.execute("insert into words (words, rank) values ('merge', ?)", (pages,))
        (after,) = self._db.execute(changes).fetchone()
        return int(after - before) >= 2


class _Content(msgspec.Struct, gc=False):
    content: str


_content = msgspec.json.Decoder(_Content).decode
