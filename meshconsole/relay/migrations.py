"""The event store's migrations, each applied once and in order (sqlite-utils).

Imported only when there is something to apply: sqlite-utils costs a node 9 MB of memory.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from sqlite_utils.migrations import Migrations

if TYPE_CHECKING:
    from sqlite_utils import Database
    from sqlite_utils.db import Table

migrations = Migrations("relay")


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


@migrations()
def refused_ids(db: Database) -> None:
    _create(db, "refused", {"short_id": int, "at": int}, pk="short_id")


@migrations()
def tags_by_kind(db: Database) -> None:
    """Events know their whole id without a look at their bytes; tags lead to one kind at a time."""
    # sqlite-utils can copy neither a table into another order of columns nor part of a value.
    db.execute("alter table events add column rest blob not null default x''")
    db.execute(
        "update events set rest = unhex(cast(substr("
        "(select raw from bodies where bodies.key = events.key), 24, 48) as text))"
    )
    db.execute(
        "create table tags_by_kind (hash integer not null, kind integer not null, key integer not null,"
        " primary key (hash, kind, key)) without rowid"
    )
    db.execute("insert into tags_by_kind select hash, kind, key from tags order by hash, kind, key")
    db.execute("drop table tags")
    db.execute("alter table tags_by_kind rename to tags")


@migrations()
def words(db: Database) -> None:
    """What is there already is indexed afterwards, in steps, like everything new."""
    _create_words(db)
    db.table("relay_state").insert({"name": "indexed_seq", "value": "0"})


@migrations()
def kinds_by_seq(db: Database) -> None:
    """Who follows the log, or searches, learns an event's kind from the index, and needs no row of it."""
    db.table("events").create_index(["seq", "kind"], unique=True)
    db.execute("drop index idx_events_seq")


@migrations()
def words_by_length(db: Database) -> None:
    """Rows of the index tell how long each text is, so that a search need not look that up, and its pieces
    fit a page."""
    _index_anew(db)


@migrations()
def words_by_second(db: Database) -> None:
    """They tell where the event is, too."""
    _index_anew(db)


def _index_anew(db: Database) -> None:
    """Afterwards, in steps and in pauses."""
    state = db.table("relay_state")
    if state.get("indexed_seq")["value"] != "0":
        db.execute("drop table words")
        _create_words(db)
        state.update("indexed_seq", {"value": "0"})
        state.delete_where("name = 'merged_seq'")
    # A piece of FTS5's default size is longer than an encrypted page has room for, and takes two.
    db.execute("insert into words (words, rank) values ('pgsz', 3900)")


def _create_words(db: Database) -> None:
    db.execute(
        "create virtual table words using fts5 (content, content = '', contentless_delete = 1,"
        " detail = none, tokenize = 'unicode61 remove_diacritics 2')"
    )


def _create(db: Database, name: str, columns: dict[str, Any], *, pk: str) -> Table:
    table = db.table(name)
    table.create(columns, pk=pk, not_null=set(columns) - {pk})
    return table
