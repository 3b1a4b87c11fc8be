"""A copy of a database in use, page by page, still encrypted.

A read transaction keeps the main file from running ahead of what the log holds: a checkpoint copies
no further than the oldest reader has come. Main file first, log second, is then what a power cut would
have left, and opening the copy makes it whole (SQLite's WAL documentation, "Checkpointing").

Where the main file held everything when the reader began, the log may begin anew under it. A copy of the
log that began before that and ended after it would bring older pages back: nobody writes while it is made.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused
from meshconsole.crypto.database import DatabaseErrors, open_database, raw_file, translate
from meshconsole.crypto.private_file import sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from meshconsole.relay.dbapi import Connection

STEP_BYTES = 1 << 20


def copy_database(
    path: Path,
    key: bytes,
    reader: Connection,
    destination: Path,
    progress: Callable[[int, int], None] | None,
    alone: Callable[[], AbstractContextManager[object]],
) -> None:
    """`reader` is in a read transaction; within `alone` nobody writes. Raises Refused when there is something
    at `destination`."""
    if destination.exists():
        raise Refused("invalid", f"{destination} exists; a backup does not overwrite")
    if not destination.parent.is_dir():
        raise Refused("invalid", f"{destination.parent} is not a folder")
    reader.execute("select count(*) from sqlite_master").fetchone()  # the transaction begins here
    partial = destination.with_name(destination.name + ".partial")
    try:
        _remove(partial)
        page_bytes = int(reader.execute("pragma page_size").fetchone()[0])
        copy_pages(raw_file(path), partial, page_bytes, progress)
        log = path.with_name(path.name + "-wal")
        with alone(), contextlib.suppress(FileNotFoundError), log.open("rb") as file:
            _copy(file.fileno(), partial.with_name(partial.name + "-wal"), lambda done: None)
        copy = open_database(partial, key)  # which makes the log durable before it is taken over
        copy.execute("pragma wal_checkpoint(truncate)")
        copy.close()
        os.rename(partial, destination)
        sync_folder(destination.parent)
    except (*DatabaseErrors, OSError) as error:
        raise translate(error, destination) from error
    finally:
        _remove(partial)


def copy_pages(
    source: int, target: Path, page_bytes: int, progress: Callable[[int, int], None] | None
) -> None:
    """All of a file's bytes, durably, to one that is not there yet. Raises OSError."""
    size = os.fstat(source).st_size

    def told(done: int) -> None:
        if progress is not None:
            progress(done // page_bytes, max(done, size) // page_bytes)

    _copy(source, target, told)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _copy(source: int, target: Path, told: Callable[[int], None]) -> None:
    done = 0
    descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while piece := os.pread(source, STEP_BYTES, done):
            file.write(piece)
            done += len(piece)
            told(done)


def _remove(partial: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        partial.with_name(partial.name + suffix).unlink(missing_ok=True)
