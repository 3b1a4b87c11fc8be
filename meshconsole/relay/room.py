"""Room for what is written: the quota, and what goes when it is full.

Pages that deletions freed are used again without the file growing, so a full quota refuses only what does
not fit into them. Then the oldest events of the classes that may go make room, a bounded number for each
write.

The log counts too. It is emptied from half of its length on, so one commit may add the other half to it; near
the limit what would add more is done in parts. Whoever still reads what is in the log keeps it from being
emptied, a backup for minutes. Nobody waits for that as long as the quota has room for a longer log.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused, Unavailable
from meshconsole.core.kinds import CONTROL_KINDS, DELETION
from meshconsole.crypto.database import DatabaseErrors, translate
from meshconsole.relay.store import MeasuredQuota, NoQuota, Removed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from meshconsole.relay.dbapi import Connection
    from meshconsole.relay.store import Entry, EvictionClass, Quota

EVICTION_STEPS = 8
"""So often a write removes a step of events at most to make room for itself."""

EVICTION_MARGIN_BYTES = 256 << 10
"""Room is made for some writes more than the one that needs it."""

SPARE_BYTES = 2 << 20
"""A commit may add so much more to the log than is promised: the governor keeps more than that back."""

STOCK_BYTES = 64 << 10
"""So much is left free, because to remove events takes pages before it gives some."""

LOG_BYTES_EACH = 16 << 10
"""An event adds no more to the log when it comes, but for its tags: a page of each of four indexes, where
those of no two events lie together."""

LOG_BYTES_GONE = 32 << 10
"""And when it goes: those of its words and tags as well."""

VACUUM_PAGES = 256
LOG_BYTES_WORDS = 2 << 10
"""And when it becomes searchable."""

PAGE_IN_LOG = 4096 + 24
MOVED_PAGES = 3
"""Pages that are written to give one back: its content elsewhere, who refers to it, and the map of both."""


class Room:
    """`database` is the writer's connection; whoever calls holds the lock on writing. `oldest` gives row keys
    and sizes of a class's events, a step of them at a time; `remove` removes events in one transaction;
    `settle` brings into the file what was promised room and is not there yet; `empty_log` leaves nothing in
    the log, and waits for those who read it if it is told to: False when somebody still does."""

    def __init__(
        self,
        database: Connection,
        path: Path,
        quota: Quota | None,
        log_bytes: int,
        *,
        may_go: Callable[[], Sequence[EvictionClass]],
        oldest: Callable[[EvictionClass], Iterator[list[tuple[int, int]]]],
        remove: Callable[[Sequence[int]], None],
        settle: Callable[[], None],
        empty_log: Callable[[bool], bool],
    ) -> None:
        self._database = database
        self._path = path
        self.journal = path.with_name(f"{path.name}.journal")
        self._has_quota = quota is not None
        self._quota = quota or NoQuota()
        self.log_bytes = log_bytes
        self._set_log_bytes = -1
        self._may_go = may_go
        self._oldest = oldest
        self._remove = remove
        self._settle = settle
        self._empty_log = empty_log

    def parts(self, batch: Sequence[Entry]) -> list[Sequence[Entry]]:
        """What is to be committed at once: all of it, unless the quota lacks the room for a log of that."""
        growth = [_log_growth(entry) for entry in batch]
        if len(batch) == 1 or not self._spare_log or self._has_room(_most(batch) + sum(growth)):
            return [batch]
        parts: list[Sequence[Entry]] = []
        first = size = 0
        for number, each in enumerate(growth):
            if number > first and size + each > self._spare_log:
                parts.append(batch[first:number])
                first, size = number, 0
            size += each
        return [*parts, batch[first:]]

    def reserve(self, batch: Sequence[Entry]) -> int:
        """Promises the quota more than the batch can take: rows, index entries, half-full pages. Raises
        Refused. Returns what is to be released if nothing is written.

        What makes the team goes in even when the quota is full: a captured device must be removable.
        """
        if self.log_bytes != self._set_log_bytes:
            self._limit_log()
        if all(entry.event.kind in CONTROL_KINDS for entry in batch):
            return 0
        self._keep_log_short()
        needed = _most(batch)
        try:
            self._promise_with_log(needed, self._promise)
        except Refused as refused:
            if self._free_bytes() < needed + STOCK_BYTES:
                self._make(needed)
            if self._free_bytes() < needed or not self._keep_log_short(patient=True):
                if isinstance(self._quota, MeasuredQuota):
                    self._quota.ran_out(refused.sentence)
                raise
            return 0
        return needed

    def reserve_now(self, batch: Sequence[Entry]) -> int | None:
        """As `reserve`, but None where what is taken is to be measured or room to be made before, or the log
        to be emptied."""
        if self.log_bytes != self._set_log_bytes or self._is_log_long():
            return None
        needed = _most(batch)
        try:
            self._promise_with_log(needed, self._quota.reserve)
        except Refused:
            return None
        return needed

    def removable(self, most: int) -> int:
        """How many events, of `most`, are to be removed in one transaction."""
        return max(1, min(most, self._spare_log // LOG_BYTES_GONE)) if self._spare_log else most

    def indexable(self, most: int) -> int:
        """How many events, of `most`, are to be made searchable at once. 0 while somebody keeps the log from
        being emptied, and it may not be longer: that can wait."""
        if not (self._keep_log_short() or self._has_room(self._spare_log)):
            return 0
        return max(1, min(most, self._spare_log // LOG_BYTES_WORDS)) if self._spare_log else most

    def allow_log(self) -> None:
        """Before anything but an event is written: the log is short, or may be longer. Raises Unavailable."""
        if self._keep_log_short() or self._has_room(self._spare_log) or self._keep_log_short(patient=True):
            return
        raise Unavailable(
            "The database's log cannot be emptied now: something reads it, a backup perhaps.",
            hint="Try again when that is done.",
        )

    def give_back(self) -> bool:
        """One small step down to a quota that is less than what is taken: free pages go back to the disk, and
        if there are none, events that may go make some. False when nothing is left to do, or can be done."""
        if not self._excess():
            return False
        if not self._shorten_log(patient=False):
            return True  # somebody reads what is in it: again in a moment
        excess = self._excess()
        if excess and not self._free_bytes() and excess < self.taken_bytes():
            self._make(0)
        if not excess or not self._free_bytes():
            return False
        self.vacuum(VACUUM_PAGES)
        return True

    def vacuum(self, max_pages: int) -> int:
        """Gives free pages back. Returns how many."""
        if self._spare_log:
            self.allow_log()
            max_pages = min(max_pages, max(1, self._spare_log // (MOVED_PAGES * PAGE_IN_LOG)))
        try:
            before = self._pragma("freelist_count")
            # Each row that this statement yields is a page given back.
            self._database.execute(f"pragma incremental_vacuum({max(0, max_pages)})").fetchall()
            return before - self._pragma("freelist_count")
        except DatabaseErrors as error:
            raise translate(error, self._path) from error

    def _excess(self) -> int:
        """Bytes beyond the quota."""
        if not isinstance(self._quota, MeasuredQuota):
            return 0
        self._quota.measured(self.taken_bytes(), exact=True)
        return self._quota.excess_bytes()

    def _has_room(self, count: int) -> bool:
        try:
            self._promise(count)
        except Refused:
            return False
        self._quota.release(count)
        return True

    @property
    def _spare_log(self) -> int:
        """What a commit may add to a log that is not long yet, near the limit."""
        return min(self.log_bytes, self._promised_log + SPARE_BYTES) if self._has_quota else 0

    @property
    def _promised_log(self) -> int:
        return self.log_bytes * 3 // 8

    def _is_log_long(self) -> bool:
        """A commit that finds the upkeep's checkpoint under way, or an old reader, does not empty the log: a
        few such in a row would take it beyond what the quota was promised."""
        return self._has_quota and self.log_bytes > 0 and self.file_bytes("-wal") > self.log_bytes * 5 // 8

    def _keep_log_short(self, *, patient: bool = False) -> bool:
        """False when it is long and somebody still reads what is in it."""
        return not self._is_log_long() or self._shorten_log(patient=patient)

    def _shorten_log(self, *, patient: bool) -> bool:
        try:
            return self._empty_log(patient)
        except DatabaseErrors as error:
            raise translate(error, self._path) from error

    def _promise_with_log(self, needed: int, promise: Callable[[int], None]) -> None:
        """The log may grow to its full size before it is emptied, and by a commit while it cannot be."""
        left = max(self._promised_log, self.log_bytes - self.file_bytes("-wal"))
        log = left if self._has_quota else 0
        promise(needed + log)
        self._quota.release(log)

    def _promise(self, count: int) -> None:
        """Of several writes since the last measurement the quota knows but what they were promised, which is
        more than they took. Nobody else writes now, so what they took can be told. What the log holds beyond
        the end of the database's file will lengthen that, and the log keeps its own length."""
        coming = self._coming_bytes() if self._has_quota else 0
        try:
            self._quota.reserve(count + coming)
        except Refused:
            if not isinstance(self._quota, MeasuredQuota):
                raise
            self._settle()  # or its promise would be forgotten
            self._quota.measured(self.taken_bytes(), exact=True)
            self._quota.reserve(count + coming)
        self._quota.release(coming)

    def _coming_bytes(self) -> int:
        try:
            pages = self._pragma("page_count") * self._pragma("page_size")
        except DatabaseErrors as error:
            raise translate(error, self._path) from error
        return max(0, pages - self.file_bytes(""))

    def _limit_log(self) -> None:
        """The last commit before it is emptied may take the log's other half."""
        half = self.log_bytes // 2
        try:
            self._database.execute(f"pragma journal_size_limit = {half}")
            self._database.execute(f"pragma wal_autocheckpoint = {max(1, half // self._pragma('page_size'))}")
        except DatabaseErrors as error:
            raise translate(error, self._path) from error
        self._set_log_bytes = self.log_bytes

    def release(self, count: int) -> None:
        self._quota.release(count)

    def taken_bytes(self) -> int:
        """By the files, log and journal included."""
        return sum(map(self.file_bytes, ("", "-wal", "-shm", ".journal")))

    def file_bytes(self, suffix: str) -> int:
        try:
            return os.stat(f"{self._path}{suffix}").st_size
        except FileNotFoundError:
            return 0

    def _make(self, needed: int) -> None:
        """Evicts a bounded number of events, until as many bytes of pages are free."""
        classes = list(self._may_go())
        for _ in range(EVICTION_STEPS):
            room = needed + EVICTION_MARGIN_BYTES - self._free_bytes()
            keys: list[int] = []
            while classes and not keys:
                keys = next((list(_up_to(room, found)) for found in self._oldest(classes[0]) if found), [])
                if not keys:
                    classes.pop(0)
            if room <= 0 or not keys:
                return
            at_once = self.removable(len(keys))
            for start in range(0, len(keys), at_once):
                if not self._keep_log_short(patient=True):
                    return
                self._remove(keys[start : start + at_once])

    def _free_bytes(self) -> int:
        try:
            return self._pragma("freelist_count") * self._pragma("page_size")
        except DatabaseErrors as error:
            raise translate(error, self._path) from error

    def _pragma(self, name: str) -> int:
        return int(self._database.execute(f"pragma {name}").fetchone()[0])


def evict(
    classes: Sequence[EvictionClass],
    need_bytes: int,
    oldest: Callable[[EvictionClass], Iterator[list[tuple[int, int]]]],
    remove: Callable[[dict[int, int]], Removed],
) -> list[tuple[str, Removed]]:
    """`EventStore.evict`. `remove` is given row keys and sizes; it may only count them."""
    done: list[tuple[str, Removed]] = []
    doomed: set[int] = set()
    for each in classes:
        removed = Removed(0, 0)
        for keys in oldest(each):
            chosen: dict[int, int] = {}
            for key, size in keys:
                if removed.bytes + sum(chosen.values()) >= need_bytes:
                    break
                if key not in doomed:
                    chosen[key] = size
            gone = remove(chosen)
            doomed.update(chosen)
            removed = Removed(removed.count + gone.count, removed.bytes + gone.bytes)
            if removed.bytes >= need_bytes:
                break
        need_bytes -= removed.bytes
        done.append((each.name, removed))
    return done


def _most(batch: Sequence[Entry]) -> int:
    """More bytes than the batch can take."""
    return sum(2 * len(entry.raw) + 512 + 64 * len(entry.event.tags) for entry in batch)


def _log_growth(entry: Entry) -> int:
    """More bytes than an event adds to the log. Each tag may be on a page of its own, and each that a
    deletion names takes out an event."""
    each = LOG_BYTES_GONE if entry.event.kind == DELETION else PAGE_IN_LOG
    return LOG_BYTES_EACH + len(entry.raw) + each * len(entry.event.tags)


def _up_to(size: int, found: Sequence[tuple[int, int]]) -> Iterator[int]:
    """The first row keys whose events have so many bytes together."""
    for key, each in found:
        if size <= 0:
            return
        size -= each
        yield key
