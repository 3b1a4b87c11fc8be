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
words        full-text index of what can be searched (searching.py), by seq; contents are not kept twice
relay_state  log_id, head_seq, and indexed_seq: up to where `words` has come
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import sqlite3

    from meshconsole.relay.dbapi import Connection

NEWEST = "words"
"""The last migration; a database that has had it is opened as it is."""


def prepare(connection: Connection) -> None:
    """Brings an open database to the newest form. Raises what the database library raises."""
    if not _is_current(connection):
        from sqlite_utils import Database

        from meshconsole.relay.migrations import migrations

        migrations.apply(Database(cast("sqlite3.Connection", connection)))


def _is_current(connection: Connection) -> bool:
    known = "select count(*) from sqlite_master where type = 'table' and name = '_sqlite_migrations'"
    if not connection.execute(known).fetchall()[0][0]:
        return False
    applied = "select count(*) from _sqlite_migrations where migration_set = 'relay' and name = ?"
    return bool(connection.execute(applied, (NEWEST,)).fetchall()[0][0])
