"""The tables of the index, and how those of earlier versions become these."""

from __future__ import annotations

from typing import Any

from meshconsole.content.store.roots import OWNER
from meshconsole.core.errors import Fatal

SCHEMA_VERSION = 2


def prepare(conn: Any) -> bool:  # noqa: ANN401
    """Makes or upgrades the tables. True if there were none. Raises Fatal for those of a newer version."""
    (version,) = conn.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise Fatal(
            "The index of the blocks was written by a newer meshconsole.",
            hint="Install that version again, or move index.db away: it is made anew from the blocks.",
        )
    is_new = not conn.execute("SELECT count(*) FROM sqlite_master WHERE name = 'roots'").fetchone()[0]
    if is_new:
        _create_tables(conn)
    if version < SCHEMA_VERSION:
        conn.execute("BEGIN IMMEDIATE")
        try:
            if not is_new:
                _upgrade_1(conn)
            conn.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        except BaseException:
            conn.execute("ROLLBACK")
            raise
        conn.execute("COMMIT")
    return is_new


def _create_tables(conn: Any) -> None:  # noqa: ANN401
    from sqlite_utils import Database  # only here: it costs a node 9 MB of memory

    db = Database(conn)
    db.table("blocks").create(
        {"id": int, "multihash": bytes, "size": int, "present": int, "used": float},
        pk="id",
        not_null={"multihash", "size", "present", "used"},
        if_not_exists=True,
    )
    db.table("blocks").create_index(["multihash"], unique=True, if_not_exists=True)
    db.table("links").create({"parent": int, "child": int}, pk=("parent", "child"), if_not_exists=True)
    db.table("links").create_index(["child"], if_not_exists=True)
    db.table("roots").create(
        {
            "cid": str,
            "block": int,
            "name": str,
            "pinned": int,
            "wanted": int,
            "total_bytes": int,
            "added_at": float,
            "paused": int,
        },
        pk="cid",
        not_null={"block", "name", "pinned", "wanted", "added_at", "paused"},
        defaults={"paused": 0},
        if_not_exists=True,
    )
    db.table("roots").create_index(["block"], if_not_exists=True)
    _create_pins(conn)


def _create_pins(conn: Any) -> None:  # noqa: ANN401
    conn.execute(
        "CREATE TABLE IF NOT EXISTS pins (cid TEXT NOT NULL, owner TEXT NOT NULL,"
        " min_replicas INTEGER NOT NULL, max_replicas INTEGER NOT NULL, expires_at REAL,"
        " PRIMARY KEY (cid, owner)) WITHOUT ROWID"
    )
    # Finding garbage, least recently used first, then ends when there is enough of it.
    conn.execute("CREATE INDEX IF NOT EXISTS blocks_used ON blocks (used) WHERE present")


def _upgrade_1(conn: Any) -> None:  # noqa: ANN401
    """Version 1 knew one pin per root and no pause."""
    conn.execute("ALTER TABLE roots ADD COLUMN paused INTEGER NOT NULL DEFAULT 0")
    _create_pins(conn)
    conn.execute("INSERT INTO pins SELECT cid, ?, 0, 0, NULL FROM roots WHERE pinned", (OWNER,))
