"""What is known about blocks: which are here, what they link to, which files they make up.

Blocking; one thread at a time. Only `roots` (what the owner pinned or asked to fetch) is original here:
blocks and links are found again in the flat files if the database is lost.

A root is a CID that somebody asked for. Pinned roots and roots being fetched keep everything below
them; every other block may be removed when the quota presses, the least recently used first.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from meshconsole.content.store.index_schema import prepare
from meshconsole.content.store.marking import BELOW, FOOTPRINT
from meshconsole.content.store.roots import ABSENT, Pin, Presence, Root
from meshconsole.crypto.database import DatabaseErrors, open_database, translate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_MENTION = "INSERT INTO blocks (multihash, size, present, used) VALUES (?, 0, 0, 0) ON CONFLICT DO NOTHING"
"""A row for a block that something links to, whether it is here or not."""

_PUT_ROOT = (
    "INSERT OR REPLACE INTO roots (cid, block, name, pinned, wanted, total_bytes, added_at, paused)"
    " SELECT ?, id, ?, ?, ?, ?, ?, ? FROM blocks WHERE multihash = ?"
)

_MARK_MISSING = "UPDATE blocks SET present = 0 WHERE multihash IN (SELECT multihash FROM temp.given)"

_ABOVE = """
WITH RECURSIVE above(id) AS (
    SELECT id FROM blocks JOIN temp.given USING (multihash)
    UNION SELECT links.parent FROM links JOIN above ON links.child = above.id
)
"""

_ROOTS_ABOVE = _ABOVE + "SELECT cid FROM roots WHERE block IN above"
_ROOTS_ABOVE_ONE = _ROOTS_ABOVE.replace("JOIN temp.given USING (multihash)", "WHERE multihash = ?")

_KEEPERS = (
    _ABOVE + "SELECT 1 FROM roots WHERE (pinned OR wanted) AND block IN above"
    " UNION ALL SELECT 1 FROM blocks JOIN temp.held USING (multihash) WHERE id IN above LIMIT 1"
)
"""Whether anything keeps one of the given blocks. Above a block there is little, below a root much."""


class Entry(msgspec.Struct, frozen=True):
    """A block that is on the disk, and the multihashes it links to."""

    multihash: bytes
    size: int
    children: tuple[bytes, ...] = ()


class Differences(msgspec.Struct, frozen=True):
    """What the files have and the index lacks, and files whose size is not what was written."""

    unknown: tuple[tuple[bytes, int], ...]
    suspect: tuple[bytes, ...]
    lost: int


class Index:
    """Raises Unavailable (disk full, busy), CorruptData, Fatal from every method."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._conn: Any = open_database(path, key)
        try:
            with self._translated():
                self.is_new = prepare(self._conn)
                for table in ("given", "held"):
                    self._conn.execute(
                        f"CREATE TEMP TABLE {table} (multihash BLOB PRIMARY KEY) WITHOUT ROWID"
                    )
        except BaseException:
            self._conn.close()
            raise

    def close(self) -> None:
        self._conn.close()

    def record(self, entries: Iterable[Entry], now: float) -> None:
        """The blocks are on the disk and synced."""
        with self._writing() as conn:
            for entry in entries:
                (parent,) = conn.execute(
                    "INSERT INTO blocks (multihash, size, present, used) VALUES (?, ?, 1, ?)"
                    " ON CONFLICT (multihash) DO UPDATE"
                    " SET size = excluded.size, present = 1, used = excluded.used RETURNING id",
                    (entry.multihash, entry.size, now),
                ).fetchone()
                children = [(child,) for child in entry.children]
                conn.executemany(_MENTION, children)
                conn.executemany(
                    f"INSERT INTO links (parent, child) SELECT {parent}, id FROM blocks WHERE multihash = ?"
                    " ON CONFLICT DO NOTHING",
                    children,
                )

    def lose(self, multihashes: Sequence[bytes]) -> list[str]:
        """The blocks are gone but not given up: what they link to stays kept. Returns the roots above."""
        with self._writing() as conn:
            self._give(conn, multihashes)
            conn.execute(_MARK_MISSING)
            return [cid for (cid,) in conn.execute(_ROOTS_ABOVE)]

    def roots_above(self, multihash: bytes) -> list[str]:
        """The roots that this block is in, or is."""
        with self._translated():
            return [cid for (cid,) in self._conn.execute(_ROOTS_ABOVE_ONE, (multihash,))]

    def forget_unkept(
        self, candidates: Sequence[bytes], held: Sequence[bytes]
    ) -> tuple[list[bytes], list[str]]:
        """Of the candidates, those that nothing keeps, neither a root nor a block in `held`, and the roots
        above them, which are not whole any more. These blocks are as good as removed.
        """
        with self._writing() as conn:
            self._give(conn, held, "held")
            self._give(conn, candidates)
            if conn.execute(_KEEPERS).fetchone() is not None:
                candidates = [each for each in candidates if not self._is_kept(conn, each)]
                self._give(conn, candidates)
            roots = [cid for (cid,) in conn.execute(_ROOTS_ABOVE)]
            conn.execute(_MARK_MISSING)
            conn.execute(
                "DELETE FROM links WHERE parent IN (SELECT id FROM blocks JOIN temp.given USING (multihash))"
            )
            return list(candidates), roots

    def touch(self, used: Iterable[tuple[bytes, float]]) -> None:
        """When the blocks were last read."""
        with self._writing() as conn:
            conn.executemany(
                "UPDATE blocks SET used = ? WHERE multihash = ?", ((at, multihash) for multihash, at in used)
            )

    def sizes(self, multihashes: Sequence[bytes]) -> dict[bytes, int]:
        """Of those that are here."""
        with self._writing() as conn:
            self._give(conn, multihashes)
            rows = conn.execute(
                "SELECT multihash, size FROM blocks JOIN temp.given USING (multihash) WHERE present"
            )
            return dict(rows.fetchall())

    def put_root(self, root: Root, multihash: bytes) -> None:
        row = (root.cid, root.name, root.pinned, root.wanted, root.total_bytes, root.added_at)
        with self._writing() as conn:
            conn.execute(_MENTION, (multihash,))
            conn.execute(_PUT_ROOT, (*row, root.paused, multihash))
            conn.execute("DELETE FROM pins WHERE cid = ?", (root.cid,))
            conn.executemany(
                "INSERT INTO pins VALUES (?, ?, ?, ?, ?)",
                [
                    (root.cid, pin.owner, pin.min_replicas, pin.max_replicas, pin.expires_at)
                    for pin in root.pins
                ],
            )

    def drop_root(self, cid: str) -> None:
        with self._writing() as conn:
            conn.execute("DELETE FROM roots WHERE cid = ?", (cid,))
            conn.execute("DELETE FROM pins WHERE cid = ?", (cid,))

    def roots(self) -> list[Root]:
        with self._translated():
            rows = self._conn.execute(
                "SELECT cid, name, wanted, total_bytes, added_at, paused FROM roots ORDER BY added_at, cid"
            ).fetchall()
            pins: dict[str, list[Pin]] = {}
            for cid, *pin in self._conn.execute(
                "SELECT cid, owner, min_replicas, max_replicas, expires_at FROM pins ORDER BY cid, owner"
            ):
                pins.setdefault(cid, []).append(Pin(*pin))
        return [
            Root(cid, name, bool(want), total, at, tuple(pins.get(cid, ())), bool(paused))
            for cid, name, want, total, at, paused in rows
        ]

    def presence(self, cid: str) -> Presence:
        """Of a root; ABSENT for a CID that is none."""
        with self._translated():
            (found, missing, size) = self._conn.execute(
                BELOW.format(start="SELECT block FROM roots WHERE cid = ?")
                + "SELECT count(*), sum(NOT present), sum(CASE WHEN present THEN size ELSE 0 END)"
                " FROM blocks WHERE id IN below",
                (cid,),
            ).fetchone()
        if not found:
            return ABSENT
        return Presence(size, size if not missing else None, not missing)

    def stored(self) -> tuple[int, int]:
        """Bytes on the disk, in whole pages, and number of the blocks that are here."""
        with self._translated():
            stored, blocks = self._conn.execute(
                f"SELECT coalesce(sum({FOOTPRINT}), 0), count(*) FROM blocks WHERE present"
            ).fetchone()
        return stored, blocks

    def last_used(self) -> float:
        """The newest time that any block was used at; 0.0 if there is none."""
        with self._translated():
            (last,) = self._conn.execute("SELECT coalesce(max(used), 0.0) FROM blocks").fetchone()
        return float(last)

    def page(self, after: int, limit: int) -> tuple[list[bytes], int]:
        """Some blocks that are here, and where to go on; none at the end. For walking over all."""
        with self._translated():
            rows = self._conn.execute(
                "SELECT id, multihash FROM blocks WHERE present AND id > ? ORDER BY id LIMIT ?",
                (after, limit),
            ).fetchall()
        return [multihash for _, multihash in rows], rows[-1][0] if rows else after

    def compare(self, listing: Iterable[tuple[bytes, int]]) -> Differences:
        """Compares the index with the files, and marks blocks without a file as missing."""
        with self._writing() as conn:
            conn.execute("CREATE TEMP TABLE files (multihash BLOB PRIMARY KEY, size INTEGER) WITHOUT ROWID")
            conn.executemany("INSERT OR IGNORE INTO files VALUES (?, ?)", listing)
            unknown = conn.execute(
                "SELECT multihash, size FROM files WHERE NOT EXISTS"
                " (SELECT 1 FROM blocks WHERE present AND blocks.multihash = files.multihash)"
            ).fetchall()
            suspect = conn.execute(
                "SELECT multihash FROM files JOIN blocks USING (multihash)"
                " WHERE present AND files.size != blocks.size"
            ).fetchall()
            lost = conn.execute(
                "UPDATE blocks SET present = 0"
                " WHERE present AND multihash NOT IN (SELECT multihash FROM files)"
            ).rowcount
            conn.execute(
                "DELETE FROM blocks WHERE NOT present AND id NOT IN (SELECT child FROM links)"
                " AND id NOT IN (SELECT block FROM roots) AND id NOT IN (SELECT parent FROM links)"
            )
            conn.execute("DROP TABLE files")
        return Differences(tuple(unknown), tuple(row[0] for row in suspect), lost)

    def parentless(self) -> list[bytes]:
        """Blocks that are here and that nothing links to: whole files, if the links are complete."""
        with self._translated():
            rows = self._conn.execute(
                "SELECT multihash FROM blocks WHERE present AND id NOT IN (SELECT child FROM links)"
            ).fetchall()
        return [multihash for (multihash,) in rows]

    def _is_kept(self, conn: Any, multihash: bytes) -> bool:  # noqa: ANN401
        self._give(conn, [multihash])
        return conn.execute(_KEEPERS).fetchone() is not None

    def _give(self, conn: Any, multihashes: Sequence[bytes], table: str = "given") -> None:  # noqa: ANN401
        """Many values for one statement, without a limit on their number."""
        conn.execute(f"DELETE FROM temp.{table}")
        conn.executemany(f"INSERT OR IGNORE INTO temp.{table} VALUES (?)", ((each,) for each in multihashes))

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        with self._translated():
            self._conn.execute("BEGIN IMMEDIATE")
            try:
                yield self._conn
            except BaseException:
                self._conn.execute("ROLLBACK")
                raise
            self._conn.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DatabaseErrors as error:
            raise translate(error, self._path) from error
