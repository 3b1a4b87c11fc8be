"""The event store's tables and how they came to be. Migrations run when the store is opened.

events       one narrow row per event, clustered by time (see keys.py); what queries walk
bodies       the event's canonical bytes, sent verbatim, under the same key
tags         (hash of letter and value, key, kind): single-letter tags
addresses    newest version of each replaceable or addressable event
deletions    what authors deleted (NIP-09), known before or after the event itself
expirations  events that end (NIP-40); few, so that queries may look here each time
authors      public keys as small integers
relay_state  log_id and head_seq
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, cast

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

if TYPE_CHECKING:
    import sqlite3

    from sqlite_utils.db import Table

    from meshconsole.relay.dbapi import Connection

migrations = Migrations("relay")


def prepare(connection: Connection) -> None:
    """Brings an open database to the newest form. Raises what the database library raises."""
    migrations.apply(Database(cast("sqlite3.Connection", connection)))


@migrations()
def first_tables(db: Database) -> None:
    events = _create(
        db, "events", {"key": int, "short_id": int, "author": int, "kind": int, "seq": int}, pk="key"
    )
    events.create_index(["short_id"])
    events.create_index(["author", "kind"])
    events.create_index(["kind"])
    events.create_index(["seq"], unique=True)
    _create(db, "bodies", {"key": int, "raw": bytes}, pk="key")
    # sqlite-utils cannot write WITHOUT ROWID; a second B-tree for each tag would cost a third more.
    db.execute(
        "create table tags (hash integer not null, key integer not null, kind integer not null,"
        " primary key (hash, key)) without rowid"
    )
    _create(db, "addresses", {"hash": int, "key": int}, pk="hash")
    _create(db, "deletions", {"hash": int, "until": int}, pk="hash")
    _create(db, "expirations", {"key": int, "expires": int}, pk="key").create_index(["expires"])
    _create(db, "authors", {"author": int, "pubkey": bytes}, pk="author").create_index(
        ["pubkey"], unique=True
    )
    state = _create(db, "relay_state", {"name": str, "value": str}, pk="name")
    state.insert({"name": "log_id", "value": secrets.token_hex(16)})
    state.insert({"name": "head_seq", "value": "0"})


def _create(db: Database, name: str, columns: dict[str, Any], *, pk: str) -> Table:
    table = db.table(name)
    table.create(columns, pk=pk, not_null=set(columns) - {pk})
    return table
