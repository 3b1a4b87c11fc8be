"""Room for what is written: the quota, and what goes when it is full.

Pages that deletions freed are used again without the file growing, so a full quota refuses only what does
not fit into them. Then the oldest events of the classes that may go make room, a bounded number for each
write.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused
from meshconsole.core.kinds import CONTROL_KINDS
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


class Room:
    """`database` is the writer's connection; whoever calls holds the lock on writing. `oldest` gives row keys
    and sizes of a class's events, a step of them at a time; `remove` removes events in one transaction;
    `settle` brings into the file what was promised room and is not there yet; `empty_log` waits until nothing
    is left in the log."""

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
        empty_log: Callable[[], None],
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

    def reserve(self, batch: Sequence[Entry]) -> int:
        """Promises the quota more than the batch can take: rows, index entries, half-full pages. Raises
        Refused. Returns what is to be released if nothing is written.

        What makes the team goes in even when the quota is full: a captured device must be removable.
        """
        if self.log_bytes != self._set_log_bytes:
            self._limit_log()
        if all(entry.event.kind in CONTROL_KINDS for entry in batch):
            return 0
        if self._is_log_long():
            self._shorten_log()
        needed = _most(batch)
        try:
            self._promise_with_log(needed, self._promise)
        except Refused:
            if self._free_bytes() < needed:
                self._make(needed)
            if self._free_bytes() < needed:
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

    def _is_log_long(self) -> bool:
        """A commit that finds the upkeep's checkpoint under way, or an old reader, does not empty the log: a
        few such in a row would take it beyond what the quota was promised."""
        return self._has_quota and self.log_bytes > 0 and self.file_bytes("-wal") > self.log_bytes * 5 // 8

    def _shorten_log(self) -> None:
        try:
            self._empty_log()
        except DatabaseErrors as error:
            raise translate(error, self._path) from error

    def _promise_with_log(self, needed: int, promise: Callable[[int], None]) -> None:
        """The log may grow to its full size before it is emptied."""
        log = max(0, self.log_bytes - self.file_bytes("-wal")) if self._has_quota else 0
        promise(needed + log)
        self._quota.release(log)

    def _promise(self, count: int) -> None:
        """Of several writes since the last measurement the quota knows but what they were promised, which is
        more than they took. Nobody else writes now, so what they took can be told."""
        try:
            self._quota.reserve(count)
        except Refused:
            if not isinstance(self._quota, MeasuredQuota):
                raise
            self._settle()  # or its promise would be forgotten
            self._quota.measured(self.taken_bytes(), exact=True)
            self._quota.reserve(count)

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
            self._remove(keys)

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


def _up_to(size: int, found: Sequence[tuple[int, int]]) -> Iterator[int]:
    """The first row keys whose events have so many bytes together."""
    for key, each in found:
        if size <= 0:
            return
        size -= each
        yield key
