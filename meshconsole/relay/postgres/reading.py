"""The reading half of the store. Every question is one statement, or a few for what walks over much."""

from __future__ import annotations

import time
from itertools import chain
from typing import TYPE_CHECKING, Any

from meshconsole.core.errors import MeshconsoleError, Refused
from meshconsole.relay.filter import Filter
from meshconsole.relay.hyperloglog import registers_of
from meshconsole.relay.keys import created_at_of
from meshconsole.relay.postgres.errors import is_interrupt
from meshconsole.relay.postgres.following import LOG_BYTES, rows_behind
from meshconsole.relay.postgres.queries import DOWNWARDS, NOTHING, UPWARDS, Queries, Query, Span
from meshconsole.relay.postgres.rows import names, numbers
from meshconsole.relay.store import Answer, Item, Page, Selection, Tally, answered, within_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from meshconsole.relay.keys import KeyedHash
    from meshconsole.relay.postgres.connecting import Connection
    from meshconsole.relay.postgres.pool import Pool
    from meshconsole.relay.store import FeedRow

PIECE = 5000
"""So many events are looked at in one statement by what walks over everything."""

COUNT_BUDGET_S = 2.0
AUTHOR_OF = "substr(b.raw, 84, 64)"
"""Where the canonical form has the author (relay/event.py): {"id":"64 digits","pubkey":"64 digits"."""

_HEAD = Query("(select -1 as filter, head_seq as key, 0::real as rank from mc_state)")


class ReadingHalf:
    """Readers are in autocommit mode: a statement sees one snapshot."""

    def __init__(self, readers: Pool, hashes: KeyedHash, clock: Callable[[], float]) -> None:
        self._readers = readers
        self._hashes = hashes
        self._clock = clock

    def known(self, ids: Collection[str]) -> set[str]:
        rows = self._read(Query("select id from mc_events where id = any(%s::bytea[])", (names(ids),)))
        return {row[0].hex() for row in rows}

    def settled(self, ids: Collection[str]) -> set[str]:
        sql = (
            "select id from mc_events where id = any(%s::bytea[])"
            " union select id from mc_refused where id = any(%s::bytea[])"
        )
        return {row[0].hex() for row in self._read(Query(sql, (names(ids), names(ids))))}

    def select(self, filters: Sequence[Filter], cap: int) -> Selection:
        queries = self._queries()
        limits = [cap if wanted.limit is None else min(cap, wanted.limit) for wanted in filters]
        parts = [_HEAD]
        for number, (wanted, limit) in enumerate(zip(filters, limits, strict=True)):
            query = queries.ranked(wanted, limit + 1)
            if query is not NOTHING:
                sql = f"(select {number} as filter, key, rank from ({query.sql}) found)"
                parts.append(Query(sql, query.parameters))
        ranked: list[list[tuple[float, int]]] = [[] for _ in filters]
        head = 0
        for number, key, rank in self._read(_all_of(parts)):
            if number < 0:
                head = key
            else:
                ranked[number].append((rank, key))
        best = [list(dict.fromkeys(key for _, key in sorted(rows, reverse=True))) for rows in ranked]
        sought = [keys[: limit + 1] for keys, limit in zip(best, limits, strict=True)]
        found, complete = within_limits(sought, limits)
        if len(found) == 1:
            return Selection(found[0], head, complete)
        if any(wanted.terms for wanted in filters):
            return Selection(list(dict.fromkeys(chain(*found))), head, complete)
        return Selection(sorted(set(chain(*found)), reverse=True), head, complete)

    def fetch(self, keys: Sequence[int]) -> list[bytes]:
        if not keys:
            return []
        sql = "select key, raw from mc_bodies where key = any(%s::bigint[])"
        bodies = dict(self._read(Query(sql, (numbers(keys),))))
        return [bodies[key] for key in keys if key in bodies]

    def answer(self, filters: Sequence[Filter], cap: int, size: int) -> Answer:
        return answered(self.select(filters, cap), self.fetch, size)

    def query(self, filters: Sequence[Filter], limit: int) -> list[bytes]:
        return self.fetch(self.select(filters, limit).keys)

    def get(self, ids: Sequence[str]) -> list[bytes]:
        """Newest first. Expired events are left out."""
        return self.query([Filter(ids=frozenset(ids))], len(ids))

    def tally(self, filters: Sequence[Filter], cap: int) -> Tally:
        count = 0
        until = time.monotonic() + COUNT_BUDGET_S
        try:
            for rows in self._pieces(filters, "select count(*), min(key) from ({}) found", span=DOWNWARDS):
                count += int(rows[0][0])
                if count > cap:
                    return Tally(cap, complete=False)
                if time.monotonic() > until:
                    return Tally(count, complete=False)
        except MeshconsoleError as error:
            if not is_interrupt(error.__cause__):
                raise
            return Tally(count, complete=False)
        return Tally(count, complete=True)

    def registers(self, wanted: Filter, offset: int) -> bytes:
        first: dict[int, int] = {}
        sql = (
            "select e.author, min(e.key), max(max(e.key)) over ()"
            " from mc_events e join ({}) found on found.key = e.key group by e.author"
        )
        for rows in self._pieces([wanted], sql):
            for author, key, _ in rows:
                first.setdefault(author, key)
        pubkeys: list[bytes] = []
        keys = list(first.values())
        for start in range(0, len(keys), PIECE):
            asked = f"select {AUTHOR_OF} from mc_bodies b where key = any(%s::bigint[])"
            rows = self._read(Query(asked, (numbers(keys[start : start + PIECE]),)))
            pubkeys += [bytes.fromhex(row[0].decode()) for row in rows]
        return registers_of(pubkeys, offset)

    def items(self, wanted: Filter, cap: int) -> list[Item]:
        found: list[Item] = []
        sql = "select e.id, e.key from mc_events e join ({}) found on found.key = e.key order by e.key"
        for rows in self._pieces([wanted], sql):
            found += [Item(created_at_of(key), name) for name, key in rows]
            if len(found) > cap:
                raise Refused("blocked", f"more than {cap} events match; ask for less")
        return sorted(found)

    def scan(self, filters: Sequence[Filter], after: int | None, count: int) -> Page:
        sql = (
            "select raw, key from (select b.raw, b.key, sum(length(b.raw)) over (order by b.key)"
            " - length(b.raw) as before from mc_bodies b join ({}) found on found.key = b.key) page"
            f" where before < {LOG_BYTES} order by key"
        )
        span = UPWARDS if after is None else UPWARDS._replace(low=after + 1)
        for rows in self._pieces(filters, sql, span=span, piece=count + 1):
            raws = [raw for raw, _ in rows[:count]]
            is_last = len(rows) <= count and sum(map(len, raws)) < LOG_BYTES
            return Page(raws, None if is_last else rows[len(raws) - 1][1])
        return Page([], None)

    def feed(self, after_seq: int, limit: int) -> list[FeedRow]:
        return self._readers.run(
            lambda connection: rows_behind(connection, after_seq, int(self._clock()), limit)
        )

    def _queries(self) -> Queries:
        return Queries(self._hashes, int(self._clock()))

    def _pieces(
        self,
        filters: Sequence[Filter],
        sql: str,
        *,
        span: Span = UPWARDS,
        piece: int = PIECE,
        spared: Collection[str] = (),
    ) -> Iterator[list[tuple[Any, ...]]]:
        """The answers to `sql`, asked of each piece of all that matches, in the braces' place. The last
        column of its last row is the piece's last key, null at the end."""
        while True:
            query = self._queries().union(filters, piece, span, spared)
            rows = self._read(Query(sql.format(query.sql), query.parameters))
            if not rows or rows[-1][-1] is None:
                return
            yield rows
            last = rows[-1][-1]
            span = span._replace(low=last + 1) if span.upwards else span._replace(high=last - 1)

    def _read(self, query: Query) -> list[tuple[Any, ...]]:
        def read(connection: Connection) -> list[tuple[Any, ...]]:
            return connection.execute(query.sql.encode(), query.parameters, binary=True).fetchall()

        return self._readers.run(read)


def _all_of(parts: Sequence[Query]) -> Query:
    sql = " union all ".join(part.sql for part in parts)
    return Query(sql, tuple(chain(*(part.parameters for part in parts))))
