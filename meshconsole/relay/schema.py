"""The event store's tables and how they came to be. Migrations run when the store is opened.

events       one narrow row per event, clustered by time (see keys.py); what queries walk. short_id
             and rest are the id: its first 8 bytes as an integer, and the other 24
bodies       the event's canonical bytes, sent verbatim, under the same key
tags         (hash of letter and value, kind, key): single-letter tags
addresses    newest version of each replaceable or addressable event
deletions    what authors deleted (NIP-09) and until when they vanished (NIP-62), known before or after
             the event itself
refused      ids that were refused or removed for good, so that no peer is asked for them again
expirations  events that end (NIP-40); few, so that queries may look here each time
authors      public keys as small integers
words        full-text index of what can be searched (searching.py), by second or seq, and length; contents
             are not kept twice
relay_state  log_id, head_seq; indexed_seq and merged_seq: up to where `words` has come, and was merged
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

from meshconsole.core.errors import Fatal
from meshconsole.crypto.database import raw_file
from meshconsole.crypto.private_file import sync_folder

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from meshconsole.relay.dbapi import Connection

log = logging.getLogger(__name__)

MIGRATIONS = (
    "first_tables",
    "refused_ids",
    "tags_by_kind",
    "words",
    "kinds_by_seq",
    "words_by_length",
    "words_by_second",
)
"""By name, in order. A database that has had all of them is opened as it is, and no migration is loaded."""


def prepare(connection: Connection, path: Path) -> None:
    """Brings an open database to the newest form; one that holds something is copied before. Raises Fatal
    when a newer program has written it, and what the database library raises."""
    applied = _applied(connection)
    if newer := sorted(applied - set(MIGRATIONS)):
        kept = ", ".join(sorted(copy.name for copy in copies(path)))
        raise Fatal(
            f"{path.name} was written by a newer meshconsole ({', '.join(newer)}).",
            hint="Install that version again"
            + (
                f", or go back to the copy that it made: {kept} (docs/operator.md, Upgrades)."
                if kept
                else "."
            ),
        )
    if len(applied) == len(MIGRATIONS):
        return
    if applied:
        _keep_copy(connection, path, MIGRATIONS[len(applied)])
    from sqlite_utils import Database

    from meshconsole.relay.migrations import migrations

    migrations.apply(Database(cast("sqlite3.Connection", connection)))


def copies(path: Path) -> list[Path]:
    """What migrations have left of a database as it was before them."""
    return list(path.parent.glob(f"{path.name}.before-*"))


def _applied(connection: Connection) -> set[str]:
    known = "select count(*) from sqlite_master where type = 'table' and name = '_sqlite_migrations'"
    if not connection.execute(known).fetchall()[0][0]:
        return set()
    rows = connection.execute("select name from _sqlite_migrations where migration_set = 'relay'")
    return {str(name) for (name,) in rows.fetchall()}


def _keep_copy(connection: Connection, path: Path, migration: str) -> None:
    """The file as it is now, still encrypted, named after the migration that comes. An older copy goes when
    the new one is complete: one way back is enough, and each is as large as the database."""
    from meshconsole.relay.backup import copy_pages

    connection.execute("pragma wal_checkpoint(truncate)").fetchall()
    copy = path.with_name(f"{path.name}.before-{migration}")
    older = [other for other in copies(path) if other != copy]
    partial = path.with_name(f".{copy.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        copy_pages(raw_file(path), partial, 1, None)
        partial.rename(copy)
        sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise Fatal(
            f"{path.name} must be brought up to date, and cannot be copied before: {error.strerror}.",
            hint="Free as much space as it takes; nothing was changed.",
        ) from error
    for other in older:
        other.unlink(missing_ok=True)
    log.warning("%s is brought up to date; as it was before it is kept in %s", path.name, copy.name)
