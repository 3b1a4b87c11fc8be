"""The storage quota: bytes of the stores together, reserved before they are written, never above the limit.

Some of it is kept back for what a database takes on the way (its write-ahead log), so that the owner's figure
is not passed, and some of the disk, which others fill too.
"""

from __future__ import annotations

import os
import shutil
import threading
from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MEGABYTE = 1_000_000
DISK_RESERVE_BYTES = 32 * MEGABYTE
"""Left free on the disk: a database that fills its disk cannot even delete."""

RESERVE_FILES = 1000
"""Left free as well: each block is a file, and a disk can run out of room for files before it is full."""

HEADROOM_BYTES = 4 * MEGABYTE
"""Kept back from the quota for the write-ahead log, which a checkpoint empties; at most an eighth of it."""

NOTES_BYTES = 16 * MEGABYTE
"""Kept back from blocks, so that files never leave no room for notes; at most a sixty-fourth of the quota.
Of the disk twice as much, for write-ahead logs."""


class Share:
    """One room's part of the storage quota. Safe to use from any thread.

    What is reserved stays counted until two measurements have been made after it: the first of them
    may have come before the write. A room that keeps an exact count itself says so.
    """

    def __init__(self, quota: StorageQuota, *, on_disk: bool = True, for_notes: bool = True) -> None:
        """`on_disk` False: these bytes are on another disk than the home's, which says itself when it is
        full. `for_notes` False: they leave NOTES_BYTES to those of the other share."""
        self._quota = quota
        self._on_disk = on_disk
        self._for_notes = for_notes
        self._measured = 0
        self._before = 0
        self._since = 0

    @property
    def used_bytes(self) -> int:
        return self._measured + self._before + self._since

    def measured(self, used_bytes: int, *, exact: bool = False) -> None:
        with self._quota.lock:
            self._measured = used_bytes
            self._before, self._since = (0, 0) if exact else (self._since, 0)

    def reserve(self, count: int) -> None:
        """Before `count` bytes are written. Raises Refused("restricted", ...)."""
        with self._quota.lock:
            self._quota.check(count, on_disk=self._on_disk, for_notes=self._for_notes)
            self._since += count

    def excess_bytes(self) -> int:
        return self._quota.excess_bytes

    def ran_out(self, sentence: str) -> None:
        self._quota.refusing = sentence

    def release(self, count: int) -> None:
        """After bytes were deleted, or when reserved ones were not written after all."""
        with self._quota.lock:
            fresh = min(count, self._since)
            older = min(count - fresh, self._before)
            self._since -= fresh
            self._before -= older
            self._measured = max(0, self._measured - (count - fresh - older))


def free_on(folder: Path) -> int:
    """Bytes that this user may still write on the folder's disk."""
    return shutil.disk_usage(folder).free


def files_free_on(folder: Path) -> int | None:
    """Files that this user may still make on the folder's disk; None where any number is possible."""
    status = os.statvfs(folder)
    return status.f_favail if status.f_files else None


class StorageQuota:
    """Bytes of events, blocks and audit log together, never above the limit."""

    def __init__(
        self,
        folder: Path,
        limit_bytes: int,
        disk_free: Callable[[Path], int] = free_on,
        files_free: Callable[[Path], int | None] = files_free_on,
        *,
        blocks_on_disk: bool = True,
    ) -> None:
        self._folder = folder
        self._disk_free = disk_free
        self._files_free = files_free
        self.disk_free_files = files_free(folder)
        self.limit_bytes = limit_bytes
        self.lock = threading.RLock()
        self.events = Share(self)
        self.blocks = Share(self, on_disk=blocks_on_disk, for_notes=False)
        self._blocks_on_disk = blocks_on_disk
        self.other_bytes = 0
        """Of the audit log and the node's own: both are written whatever is left, and shorten themselves."""
        self.disk_free_bytes = disk_free(folder)
        self.refusing = ""
        """Why something is refused, as far as is known."""
        self.is_rolling = False
        """When it is full the oldest events make room for new ones: that nothing is free refuses no event."""

    @property
    def used_bytes(self) -> int:
        return self.events.used_bytes + self.blocks.used_bytes + self.other_bytes

    def room(self) -> int:
        """Bytes of blocks that may still be written."""
        room = self._allowed_bytes - self._notes_bytes - self.used_bytes
        if self._blocks_on_disk:
            room = min(room, self.disk_free_bytes - DISK_RESERVE_BYTES - 2 * NOTES_BYTES)
        return max(0, room)

    @property
    def excess_bytes(self) -> int:
        return max(0, self.used_bytes - self._allowed_bytes)

    @property
    def _allowed_bytes(self) -> int:
        return self.limit_bytes - min(HEADROOM_BYTES, self.limit_bytes // 8)

    @property
    def _notes_bytes(self) -> int:
        return min(NOTES_BYTES, self.limit_bytes // 64)

    def fullness(self) -> float:
        """What is used of what may be written, 1.0 for all."""
        return self.used_bytes / max(1, self._allowed_bytes)

    def look_at_disk(self) -> None:
        """Asks the file system what is free, and whether anything at all may be written."""
        self.disk_free_bytes = self._disk_free(self._folder)
        self.disk_free_files = self._files_free(self._folder)
        with self.lock:
            if self.is_rolling:
                self.refusing = self._why_not_on_disk(1) or ""
                return
            blocks = self._why_not(1, on_disk=self._blocks_on_disk, for_notes=False)
            self.refusing = self._why_not(1) or blocks or ""

    def check(self, count: int, *, on_disk: bool = True, for_notes: bool = True) -> None:
        """Raises Refused when `count` more bytes may not be written. Whoever writes notes may be able to make
        room, and says so if not."""
        reason = self._why_not(count, on_disk=on_disk, for_notes=for_notes)
        if reason is not None:
            self.look_at_disk()  # somebody may have made room since it was measured
            reason = self._why_not(count, on_disk=on_disk, for_notes=for_notes)
        if reason is not None:
            if not for_notes:
                self.refusing = reason
            raise Refused("restricted", reason)

    def _why_not(self, count: int, *, on_disk: bool = True, for_notes: bool = True) -> str | None:
        kept_back = 0 if for_notes else self._notes_bytes
        if self.used_bytes + count > self._allowed_bytes - kept_back:
            limit, but = self.limit_bytes // MEGABYTE, " but for notes" if kept_back else ""
            return (
                f"storage quota of {limit} MB is full{but}; raise limits.max_storage_mb or delete something"
            )
        return self._why_not_on_disk(count, for_notes=for_notes) if on_disk else None

    def _why_not_on_disk(self, count: int, *, for_notes: bool = True) -> str | None:
        reserve = DISK_RESERVE_BYTES + (0 if for_notes else 2 * NOTES_BYTES)
        if self.disk_free_bytes - count < reserve:
            return f"the disk is full: {reserve // MEGABYTE} MB must stay free; make room on it"
        if self.disk_free_files is not None and self.disk_free_files < RESERVE_FILES:
            return "the disk has no room for more files (inodes); delete some on it"
        return None
