"""The tables in PostgreSQL, and the migrations that make them. They run when the store is opened.

mc_state      one row: log id, secret of the hashes, newest seq, events held and their bytes. Whoever
              writes locks it first (docs/decisions), so that seqs become visible in their order.
mc_events     one narrow row per event; what queries walk. `key` lies by time (relay/keys.py), `place`
              is the hashed address of a replaceable or addressable event, `tags` are the hashes of all
              its indexed tags
              (its index of authors alone is over `author # 0`, which is the same number: so the planner
              cannot take it for what belongs to the index of authors and kinds)
mc_bodies     the event's canonical bytes, and its words for searching (NIP-50), under the same key
mc_tags       (hash of letter and value, key, kind): single-letter tags
mc_deletions  what authors deleted (NIP-09) and until when they vanished (NIP-62)
mc_refused    ids that were refused or removed for good
mc_version    how far the migrations have come
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from psycopg import errors

from meshconsole.core.errors import Fatal

if TYPE_CHECKING:
    from meshconsole.relay.postgres.connecting import Connection

LOCK = 0x6D65_7368_636F_6E73
"""An advisory lock's number, "meshcons": one process at a time makes tables."""

_FIRST = """
create table mc_state (
    one boolean primary key default true check (one),
    log_id text not null,
    secret bytea not null,
    head_seq bigint not null default 0,
    events bigint not null default 0,
    bytes bigint not null default 0
);
create table mc_events (
    key bigint primary key,
    id bytea not null unique,
    author bigint not null,
    kind integer not null,
    seq bigint not null unique,
    size integer not null,
    place bigint,
    expires bigint,
    tags bigint[] not null
);
create index mc_events_author_kind on mc_events (author, kind, key);
create index mc_events_author on mc_events ((author # 0), key);
create index mc_events_kind on mc_events (kind, key);
create unique index mc_events_place on mc_events (place) where place is not null;
create index mc_events_expires on mc_events (expires) where expires is not null;
create table mc_bodies (
    key bigint primary key,
    raw bytea not null,
    words tsvector
);
create index mc_bodies_words on mc_bodies using gin (words);
create table mc_tags (
    hash bigint not null,
    key bigint not null,
    kind integer not null,
    primary key (hash, key)
);
create table mc_deletions (hash bigint primary key, until bigint not null);
create table mc_refused (id bytea primary key, at bigint not null);
create index mc_refused_at on mc_refused (at);
alter table mc_state set (fillfactor = 10);
"""

MIGRATIONS: tuple[str, ...] = (_FIRST,)
"""Each is applied once, in this order, for ever: what is here is never changed, only added to."""

TABLES = ("mc_state", "mc_events", "mc_bodies", "mc_tags", "mc_deletions", "mc_refused")


def prepare(connection: Connection) -> None:
    """Brings the tables to the newest form. The connection is in autocommit mode.

    Any number of processes may do this at once. Raises Fatal for tables of a newer meshconsole and where
    rights are missing, and what the library raises.
    """
    if _version(connection) == len(MIGRATIONS):
        return
    # Before the transaction, not in it: a transaction that waited would still remember that the tables
    # were not there when it began.
    connection.execute("select pg_advisory_lock(%s)", (LOCK,))
    try:
        with connection.transaction():
            _migrate(connection, _version(connection))
    except errors.InsufficientPrivilege as error:
        raise no_right_to_make_tables() from error
    except errors.InvalidSchemaName as error:
        raise no_schema() from error
    finally:
        connection.execute("select pg_advisory_unlock(%s)", (LOCK,))


def no_right_to_make_tables() -> Fatal:
    return Fatal(
        "The PostgreSQL user of relay.store may not make tables.",
        hint="Make it the database's owner, or: grant create on schema public to ...",
    )


def no_schema() -> Fatal:
    return Fatal(
        "The PostgreSQL database has no schema that the user of relay.store may make tables in.",
        hint="Make one (create schema), grant usage on it, or correct search_path.",
    )


def _version(connection: Connection) -> int:
    """How many migrations were applied. Raises Fatal when there are more than this program knows."""
    if connection.execute("select to_regclass('mc_version')").fetchone() == (None,):
        return 0
    row = connection.execute("select max(number) from mc_version").fetchone()
    number = int(row[0] or 0) if row else 0
    if number > len(MIGRATIONS):
        raise Fatal(
            "The tables in PostgreSQL were made by a newer meshconsole.",
            hint="Bring every process on this database to the same version.",
        )
    return number


def _migrate(connection: Connection, done: int) -> None:
    if not done:
        connection.execute(
            "create table mc_version (number integer primary key, applied timestamptz not null default now())"
        )
    for number, statements in enumerate(MIGRATIONS[done:], done + 1):
        connection.execute(statements.encode())
        connection.execute("insert into mc_version (number) values (%s)", (number,))
    connection.execute(
        "insert into mc_state (log_id, secret) values (%s, %s) on conflict do nothing",
        (secrets.token_hex(16), secrets.token_bytes(32)),
    )
