"""A copy of a database that others write to meanwhile."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from meshconsole.crypto.database import SqlcipherError, open_database
from meshconsole.relay import backup as backup_module
from meshconsole.relay.sqlite import SqliteEventStore
from meshconsole.relay.upkeep import Upkeep
from tests.relay.making import KEY, NOW, TAG_KEY, unsigned

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_log_that_another_room_empties_brings_no_older_pages_back(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Upkeep, "_run", lambda upkeep: None)
    monkeypatch.setattr(backup_module, "STEP_BYTES", 64 << 10)
    store = SqliteEventStore(database, KEY, TAG_KEY)
    events = [unsigned(content=f"{n} " + "x" * 500, created_at=NOW + n) for n in range(200)]
    for start in range(0, 200, 20):
        store.add(events[start : start + 20])
    log = database.with_name("node.db-wal")
    assert log.stat().st_size > 2 * (64 << 10)
    store._writer.execute("pragma wal_checkpoint(passive)").fetchall()
    other = open_database(database, KEY)
    other.execute("pragma busy_timeout = 0")
    read = os.pread
    tries = 0

    def empties(descriptor: int, size: int, at: int) -> bytes:
        nonlocal tries
        piece = read(descriptor, size, at)
        if os.path.samestat(os.fstat(descriptor), log.stat()):
            tries += 1
            with contextlib.suppress(SqlcipherError):
                other.execute("pragma wal_checkpoint(truncate)").fetchall()
        return piece

    with monkeypatch.context() as busy:
        busy.setattr(os, "pread", empties)
        store.backup(tmp_path / "copy.db")
    assert tries
    copy = SqliteEventStore(tmp_path / "copy.db", KEY, TAG_KEY)
    assert copy._writer.execute("pragma integrity_check").fetchone() == ("ok",)
    assert copy.known({event.id for event in events}) == {event.id for event in events}
    copy.close()
    other.close()
    store.close()


def test_what_is_acknowledged_while_the_main_file_is_copied_is_in_the_copy(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cursor beyond it may be: then no peer would ever be asked for it again."""
    monkeypatch.setattr(Upkeep, "_run", lambda upkeep: None)
    store = SqliteEventStore(database, KEY, TAG_KEY)
    events = [unsigned(content=str(n), created_at=NOW + n) for n in range(2)]
    store.add(events[:1])
    heard: list[int] = []

    def progress(done: int, total: int) -> None:
        if not heard:
            store.add(events[1:])
        heard.append(done)

    store.backup(tmp_path / "copy.db", progress)
    copy = SqliteEventStore(tmp_path / "copy.db", KEY, TAG_KEY)
    assert copy.known({event.id for event in events}) == {event.id for event in events}
    copy.close()
    store.close()
