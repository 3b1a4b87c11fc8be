"""Finding out what nothing keeps, on a connection of its own: nobody else waits for it.

A walk over all links takes a tenth of a second for 100,000 blocks. It sees the index as it was when the
walk began; so what it finds are candidates, and `Index.forget_unkept` looks at each once more, from below,
before it is removed.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from meshconsole.content.store.blockstore import PAGE_BYTES
from meshconsole.crypto.database import DatabaseErrors, open_database, translate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FOOTPRINT = f"(size + {PAGE_BYTES - 1}) / {PAGE_BYTES} * {PAGE_BYTES}"

BELOW = """
WITH RECURSIVE below(id) AS (
    {start}
    UNION SELECT links.child FROM links JOIN below ON links.parent = below.id
)
"""

MAX_CANDIDATES = 4096

_GIVEN = "SELECT id FROM blocks JOIN temp.given USING (multihash)"

_GARBAGE = (
    BELOW.format(start=f"SELECT block FROM roots WHERE pinned OR wanted UNION {_GIVEN}")
    + f"SELECT multihash, size, {FOOTPRINT} FROM blocks INDEXED BY blocks_used"
    " WHERE present AND id NOT IN below ORDER BY used"
)


class Marking:
    """Raises Unavailable, CorruptData, Fatal from every method. Each opens the index anew and closes it:
    it is needed rarely, and an open one takes 2 MB."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._key = key

    def garbage(self, needed_bytes: int, held: Sequence[bytes]) -> list[tuple[bytes, int]]:
        """(multihash, size) of blocks that nothing keeps, least recently used first, until they make up
        `needed_bytes` or are very many. What is below a block in `held` is kept too."""
        chosen: list[tuple[bytes, int]] = []
        with self._reading(held) as conn:
            rows = conn.execute(_GARBAGE)
            for multihash, size, pages in rows:
                if needed_bytes <= 0 or len(chosen) == MAX_CANDIDATES:
                    break
                chosen.append((multihash, size))
                needed_bytes -= pages
            rows.close()
        return chosen

    def below(self, tops: Sequence[bytes]) -> list[tuple[bytes, int]]:
        """(multihash, size) of those of the blocks `tops`, and of those below them, that are here. Parents
        before children, so that whoever removes them one by one never finds a parent left."""
        with self._reading(tops) as conn:
            rows = conn.execute(
                BELOW.format(start=_GIVEN)
                + "SELECT multihash, size FROM below CROSS JOIN blocks USING (id) WHERE present"
            )
            return [(multihash, size) for multihash, size in rows]

    def pinned_bytes(self) -> int:
        """Bytes on the disk of what pinned roots keep."""
        with self._reading(()) as conn:
            (pinned,) = conn.execute(
                BELOW.format(start="SELECT block FROM roots WHERE pinned")
                + f"SELECT coalesce(sum({FOOTPRINT}), 0) FROM blocks WHERE present AND id IN below"
            ).fetchone()
        return int(pinned)

    @contextmanager
    def _reading(self, given: Sequence[bytes]) -> Iterator[Any]:
        conn = open_database(self._path, self._key, readonly=True)
        try:
            conn.execute("CREATE TEMP TABLE given (multihash BLOB PRIMARY KEY) WITHOUT ROWID")
            conn.executemany("INSERT OR IGNORE INTO temp.given VALUES (?)", ((each,) for each in given))
            yield conn
        except DatabaseErrors as error:
            raise translate(error, self._path) from error
        finally:
            conn.close()
