"""Which file of the store has which SHA-256, and which keys uploaded it. Blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import Refused

if TYPE_CHECKING:
    from meshconsole.edge.tables import Tables

_TABLES = (
    "CREATE TABLE IF NOT EXISTS edge_blobs (sha256 BLOB PRIMARY KEY, cid TEXT NOT NULL,"
    " size INTEGER NOT NULL, type TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS edge_owners (owner BLOB NOT NULL, sha256 BLOB NOT NULL, at INTEGER NOT NULL,"
    " PRIMARY KEY (owner, sha256)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS edge_owners_sha256 ON edge_owners (sha256)",
)
_BLOB = "SELECT hex(sha256), cid, size, type, at FROM edge_owners JOIN edge_blobs USING (sha256)"

_BYTES_OF = "SELECT coalesce(sum(size), 0) FROM edge_owners JOIN edge_blobs USING (sha256) WHERE owner = ?"


class Blob(msgspec.Struct, frozen=True):
    """`sha256` is 64 hex digits, `cid` that of the file that holds its bytes, `type` its media type."""

    sha256: str
    cid: str
    size: int
    type: str
    uploaded: int = 0


class Book:
    """Raises Unavailable (disk full, busy), CorruptData, Fatal from every method."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        tables.make(_TABLES)

    def put_blob(self, blob: Blob, owner: str, most: int = 0) -> bool:
        """Whether it is new. One that its owner has uploaded before keeps its date. Raises Refused where it
        is one too many for `most` bytes of this owner; 0 is no limit."""
        sha256 = bytes.fromhex(blob.sha256)
        with self._tables.writing() as conn:
            is_new = conn.execute("SELECT 1 FROM edge_blobs WHERE sha256 = ?", (sha256,)).fetchone() is None
            conn.execute(
                "INSERT INTO edge_blobs VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (sha256, blob.cid, blob.size, blob.type),
            )
            put = conn.execute(
                "INSERT INTO edge_owners VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (bytes.fromhex(owner), sha256, blob.uploaded),
            )
            if most and put.rowcount:
                # Here, because others of the same key may have come since the upload began.
                (used,) = conn.execute(_BYTES_OF, (bytes.fromhex(owner),)).fetchone()
                if used > most:
                    raise Refused("quota", f"This key may have {most} bytes here (edge.key_mb).")
        return is_new

    def blob(self, sha256: str) -> Blob | None:
        """`uploaded` is when it came first."""
        rows = self._tables.read(f"{_BLOB} WHERE sha256 = ? ORDER BY at LIMIT 1", (bytes.fromhex(sha256),))
        return _blob(rows[0]) if rows else None

    def owners(self, sha256: str) -> list[str]:
        rows = self._tables.read(
            "SELECT hex(owner) FROM edge_owners WHERE sha256 = ?", (bytes.fromhex(sha256),)
        )
        return [owner.lower() for (owner,) in rows]

    def blobs_of(
        self, owner: str, *, since: int = 0, until: int = 1 << 62, cursor: str = "", limit: int = 1000
    ) -> list[Blob]:
        """Newest first, those after the blob `cursor` in this order."""
        where = "WHERE owner = ? AND at BETWEEN ? AND ?"
        values: list[object] = [bytes.fromhex(owner), since, until]
        if cursor:
            after = self._tables.read(
                "SELECT at, sha256 FROM edge_owners WHERE owner = ? AND sha256 = ?",
                (bytes.fromhex(owner), bytes.fromhex(cursor)),
            )
            if not after:
                return []
            where += " AND (at, sha256) < (?, ?)"
            values += after[0]
        rows = self._tables.read(f"{_BLOB} {where} ORDER BY at DESC, sha256 DESC LIMIT ?", (*values, limit))
        return [_blob(row) for row in rows]

    def bytes_of(self, owner: str) -> int:
        """What this key has here, whether others have it too."""
        return int(self._tables.read(_BYTES_OF, (bytes.fromhex(owner),))[0][0])

    def drop_blob(self, sha256: str, owner: str) -> bool:
        """Whether nobody has it any more."""
        with self._tables.writing() as conn:
            given = bytes.fromhex(sha256)
            conn.execute(
                "DELETE FROM edge_owners WHERE owner = ? AND sha256 = ?", (bytes.fromhex(owner), given)
            )
            left = conn.execute("SELECT 1 FROM edge_owners WHERE sha256 = ? LIMIT 1", (given,)).fetchone()
            if left is None:
                conn.execute("DELETE FROM edge_blobs WHERE sha256 = ?", (given,))
            return left is None

    def blob_pins(self) -> set[tuple[str, str]]:
        """CID and owner of every blob."""
        rows = self._tables.read("SELECT cid, hex(owner) FROM edge_owners JOIN edge_blobs USING (sha256)", ())
        return {(cid, owner.lower()) for cid, owner in rows}

    def counts(self) -> tuple[int, int]:
        """Blobs, and their bytes."""
        count, size = self._tables.read("SELECT count(*), coalesce(sum(size), 0) FROM edge_blobs", ())[0]
        return int(count), int(size)


def _blob(row: tuple[str, str, int, str, int]) -> Blob:
    sha256, cid, size, media_type, at = row
    return Blob(sha256.lower(), cid, size, media_type, at)
