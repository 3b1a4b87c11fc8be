"""What is known about blocks: which are here, what they link to, which files they make up.

Blocking; one thread at a time. Only `roots` (what the owner pinned or asked to fetch) is original here:
blocks and links are found again in the flat files if the database is lost.

A root is a CID that somebody asked for. Pinned roots and roots being fetched keep everything below
them; every other block may be removed when the quota presses, the least recently used first.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshconsole.content.blockstore import PAGE_BYTES
from meshconsole.core.errors import Fatal
from meshconsole.crypto.database import DatabaseErrors, open_database, translate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

SCHEMA_VERSION = 1

_FOOTPRINT = f"(size + {PAGE_BYTES - 1}) / {PAGE_BYTES} * {PAGE_BYTES}"

_BELOW = """
WITH RECURSIVE below(id) AS (
    {start}
    UNION SELECT links.child FROM links JOIN below ON links.parent = below.id
)
"""

_GARBAGE = (
    _BELOW.format(
        start="SELECT block FROM roots WHERE pinned OR wanted"
        " UNION SELECT id FROM blocks JOIN temp.given USING (multihash)"
    )
    + f"SELECT multihash, size, {_FOOTPRINT} FROM blocks WHERE present AND id NOT IN below ORDER BY used, id"
)

_MENTION = "INSERT INTO blocks (multihash, size, present, used) VALUES (?, 0, 0, 0) ON CONFLICT DO NOTHING"
"""A row for a block that something links to, whether it is here or not."""

_MARK_MISSING = "UPDATE blocks SET present = 0 WHERE multihash IN (SELECT multihash FROM temp.given)"

_ABOVE = """
WITH RECURSIVE above(id) AS (
    SELECT id FROM blocks JOIN temp.given USING (multihash)
    UNION SELECT links.parent FROM links JOIN above ON links.child = above.id
)
SELECT cid FROM roots WHERE block IN above
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A block that is on the disk, and the multihashes it links to."""

    multihash: bytes
    size: int
    children: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Root:
    """`total_bytes` is a claim until the root is whole. `cid` is the text form."""

    cid: str
    name: str
    pinned: bool
    wanted: bool
    total_bytes: int | None
    added_at: float


@dataclass(frozen=True, slots=True)
class Presence:
    """How much of what is below a root is here. `bytes` are those of its distinct blocks.

    `total_bytes` is None while inner blocks are missing that would tell.
    """

    bytes: int
    total_bytes: int | None
    complete: bool


ABSENT = Presence(0, None, False)


@dataclass(frozen=True, slots=True)
class Differences:
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
                self.is_new = not self._has_tables()
                self._check_version()
                self._make_schema()
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
            conn.execute(
                "UPDATE blocks SET present = 0 WHERE multihash IN (SELECT multihash FROM temp.given)"
            )
            return [cid for (cid,) in conn.execute(_ABOVE)]

    def forget(self, multihashes: Sequence[bytes]) -> list[str]:
        """The blocks were removed. Returns the roots above them, which are not whole any more."""
        with self._writing() as conn:
            self._give(conn, multihashes)
            roots = [cid for (cid,) in conn.execute(_ABOVE)]
            conn.execute(
                "UPDATE blocks SET present = 0 WHERE multihash IN (SELECT multihash FROM temp.given)"
            )
            conn.execute(
                "DELETE FROM links WHERE parent IN (SELECT id FROM blocks JOIN temp.given USING (multihash))"
            )
            return roots

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
        with self._writing() as conn:
            conn.execute(_MENTION, (multihash,))
            conn.execute(
                "INSERT OR REPLACE INTO roots (cid, block, name, pinned, wanted, total_bytes, added_at)"
                " SELECT ?, id, ?, ?, ?, ?, ? FROM blocks WHERE multihash = ?",
                (root.cid, root.name, root.pinned, root.wanted, root.total_bytes, root.added_at, multihash),
            )

    def drop_root(self, cid: str) -> None:
        with self._writing() as conn:
            conn.execute("DELETE FROM roots WHERE cid = ?", (cid,))

    def roots(self) -> list[Root]:
        with self._translated():
            rows = self._conn.execute(
                "SELECT cid, name, pinned, wanted, total_bytes, added_at FROM roots ORDER BY added_at, cid"
            ).fetchall()
        return [Root(cid, name, bool(pin), bool(want), total, at) for cid, name, pin, want, total, at in rows]

    def presence(self, cid: str) -> Presence:
        """Of a root; ABSENT for a CID that is none."""
        with self._translated():
            (found, missing, size) = self._conn.execute(
                _BELOW.format(start="SELECT block FROM roots WHERE cid = ?")
                + "SELECT count(*), sum(NOT present), sum(CASE WHEN present THEN size ELSE 0 END)"
                " FROM blocks WHERE id IN below",
                (cid,),
            ).fetchone()
        if not found:
            return ABSENT
        return Presence(size, size if not missing else None, not missing)

    def garbage(self, needed_bytes: int, held: Sequence[bytes]) -> list[tuple[bytes, int]]:
        """(multihash, size) of blocks that nothing keeps, least recently used first, until they make
        up `needed_bytes`. What is below a block in `held` is kept too.
        """
        with self._writing() as conn:
            self._give(conn, held)
            rows = conn.execute(_GARBAGE)
            chosen: list[tuple[bytes, int]] = []
            for multihash, size, pages in rows:
                if needed_bytes <= 0:
                    break
                chosen.append((multihash, size))
                needed_bytes -= pages
            rows.close()
            return chosen

    def garbage_below(self, tops: Sequence[bytes], held: Sequence[bytes]) -> list[tuple[bytes, int]]:
        """Of the blocks `tops` and those below them, the ones that nothing keeps."""
        with self._writing() as conn:
            self._give(conn, tops)
            below = _BELOW.format(start="SELECT id FROM blocks JOIN temp.given USING (multihash)")
            candidates = {
                multihash
                for (multihash,) in conn.execute(below + "SELECT multihash FROM blocks WHERE id IN below")
            }
            self._give(conn, held)
            return [(mh, size) for mh, size, _ in conn.execute(_GARBAGE) if mh in candidates]

    def stored(self) -> tuple[int, int]:
        """Bytes on the disk, in whole pages, and number of the blocks that are here."""
        with self._translated():
            stored, blocks = self._conn.execute(
                f"SELECT coalesce(sum({_FOOTPRINT}), 0), count(*) FROM blocks WHERE present"
            ).fetchone()
        return stored, blocks

    def pinned_bytes(self) -> int:
        """Bytes on the disk of what pinned roots keep."""
        with self._translated():
            (pinned,) = self._conn.execute(
                _BELOW.format(start="SELECT block FROM roots WHERE pinned")
                + f"SELECT coalesce(sum({_FOOTPRINT}), 0) FROM blocks WHERE present AND id IN below"
            ).fetchone()
        return int(pinned)

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

    def _check_version(self) -> None:
        (version,) = self._conn.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise Fatal(
                "The index of the blocks was written by a newer meshconsole.",
                hint="Install that version again, or move index.db away: it is made anew from the blocks.",
            )

    def _make_schema(self) -> None:
        self._conn.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        if not self._has_tables():
            self._create_tables()
        self._conn.execute("CREATE TEMP TABLE given (multihash BLOB PRIMARY KEY) WITHOUT ROWID")

    def _has_tables(self) -> bool:
        found = self._conn.execute("SELECT count(*) FROM sqlite_master WHERE name = 'roots'").fetchone()
        return bool(found[0])

    def _create_tables(self) -> None:
        from sqlite_utils import Database  # only here: it costs a node 9 MB of memory

        db = Database(self._conn)
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
            },
            pk="cid",
            not_null={"block", "name", "pinned", "wanted", "added_at"},
            if_not_exists=True,
        )
        db.table("roots").create_index(["block"], if_not_exists=True)

    def _give(self, conn: Any, multihashes: Sequence[bytes]) -> None:  # noqa: ANN401
        """Many values for one statement, without a limit on their number."""
        conn.execute("DELETE FROM temp.given")
        conn.executemany("INSERT OR IGNORE INTO temp.given VALUES (?)", ((each,) for each in multihashes))

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
