"""What was asked to be pinned, by the token that asked. Blocking."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from meshconsole.edge.tables import Tables

_TABLES = (
    "CREATE TABLE IF NOT EXISTS edge_pins (id TEXT PRIMARY KEY, owner TEXT NOT NULL, cid TEXT NOT NULL,"
    " name TEXT NOT NULL, origins TEXT NOT NULL, meta TEXT NOT NULL, made INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS edge_pins_owner ON edge_pins (owner, made)",
)
_COLUMNS = "id, owner, cid, name, origins, meta, made"


class PinRequest(msgspec.Struct, frozen=True):
    """`made` is in microseconds since the epoch and different for each."""

    id: str
    owner: str
    cid: str
    name: str = ""
    origins: tuple[str, ...] = ()
    meta: dict[str, str] = {}
    made: int = 0


class PinBook:
    """Raises Unavailable (disk full, busy), CorruptData, Fatal from every method."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        tables.make(_TABLES)

    def put(self, request: PinRequest) -> PinRequest:
        """In the place of one with the same id. As it is kept: with a time that is later than all before."""
        with self._tables.writing() as conn:
            (last,) = conn.execute("SELECT coalesce(max(made), 0) FROM edge_pins").fetchone()
            kept = msgspec.structs.replace(request, made=max(request.made, last + 1))
            row = (kept.id, kept.owner, kept.cid, kept.name, json.dumps(kept.origins), json.dumps(kept.meta))
            conn.execute("INSERT OR REPLACE INTO edge_pins VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, kept.made))
        return kept

    def get(self, owner: str, request_id: str) -> PinRequest | None:
        rows = self._tables.read(
            f"SELECT {_COLUMNS} FROM edge_pins WHERE owner = ? AND id = ?", (owner, request_id)
        )
        return _request(rows[0]) if rows else None

    def all(self, owner: str = "") -> list[PinRequest]:
        """The newest first; of one owner, or of all."""
        where, values = ("WHERE owner = ?", (owner,)) if owner else ("", ())
        rows = self._tables.read(f"SELECT {_COLUMNS} FROM edge_pins {where} ORDER BY made DESC", values)
        return [_request(row) for row in rows]

    def count(self, owner: str) -> int:
        return int(self._tables.read("SELECT count(*) FROM edge_pins WHERE owner = ?", (owner,))[0][0])

    def drop(self, owner: str, request_id: str, cid: str) -> bool:
        """Whether no other request of this owner wants the CID."""
        with self._tables.writing() as conn:
            conn.execute("DELETE FROM edge_pins WHERE owner = ? AND id = ?", (owner, request_id))
            left = conn.execute(
                "SELECT 1 FROM edge_pins WHERE owner = ? AND cid = ? LIMIT 1", (owner, cid)
            ).fetchone()
            return left is None


def _request(row: tuple[str, str, str, str, str, str, int]) -> PinRequest:
    request_id, owner, cid, name, origins, meta, made = row
    return PinRequest(request_id, owner, cid, name, tuple(json.loads(origins)), json.loads(meta), made)
