"""How filters become walks over the store's indexes.

A filter is answered by *walks*: statements that each yield row keys in order from one place of one
index (a tag value, an author's kind, a kind, the whole time line). Walks are merged as far as the
limit needs and no further, so a filter with ten authors costs ten seeks and not a sort of all they
ever wrote. Where there would be too many walks, one statement sorts instead. Only narrow rows are
touched here; the events' bytes are fetched afterwards, in slices that fit the connection.

Walks lead downwards, newest first, for those who ask, and upwards for those who want everything
piece by piece.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from meshconsole.core.event import decode_event
from meshconsole.core.kinds import GATED_KINDS
from meshconsole.relay.filter import matches
from meshconsole.relay.keys import MAX_KEY, KeyedHash, key_range, short_id
from meshconsole.relay.writing import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from meshconsole.relay.dbapi import Connection
    from meshconsole.relay.filter import Filter
    from meshconsole.relay.writing import Authors

MAX_WALKS = 64
MAX_KINDS_OF_AUTHOR = 32
FEW_EVENTS = 1000
"""Index entries that are sorted sooner than they are walked."""


class Span(NamedTuple):
    """Row keys from `low` to `high`, both included, in the direction of the walk."""

    low: int
    high: int
    upwards: bool = False

    @property
    def order(self) -> str:
        return "asc" if self.upwards else "desc"


EVERYTHING = Span(0, MAX_KEY)


class Walk(NamedTuple):
    """A statement that yields row keys in order."""

    sql: str
    parameters: tuple[int, ...]


class Reading:
    """Answers filters on one connection, inside one read transaction."""

    def __init__(
        self, connection: Connection, hashes: KeyedHash, authors: Authors, *, now: int, expiring: bool
    ) -> None:
        self._db = connection
        self._hashes = hashes
        self._authors = authors
        self._now = now
        self._expiring = expiring
        """Whether any stored event may have expired by now; usually none has."""

    def keys(self, wanted: Filter, limit: int, span: Span = EVERYTHING) -> list[int]:
        """At most `limit` row keys of matching events within `span`, in its direction."""
        if limit <= 0 or wanted.impossible:
            return []
        low, high = key_range(wanted.since, wanted.until)
        span = Span(max(low, span.low), min(high, span.high), span.upwards)
        if wanted.ids is not None:
            return self._by_ids(wanted, limit, span)
        if wanted.search:
            return self._searched(wanted, limit, span)
        walks = [walk for part in _ungated(wanted) for walk in self._walks(part, limit, span)]
        if len(walks) == 1:
            return [row[0] for row in self._db.execute(*walks[0])]
        cursors = [self._db.execute(*walk) for walk in walks]
        found: list[int] = []
        last = -1
        for (key,) in heapq.merge(*cursors, reverse=not span.upwards):
            if key != last:  # an event may be on several walks
                found.append(key)
                last = key
                if len(found) == limit:
                    break
        for cursor in cursors:
            cursor.close()
        return found

    def _by_ids(self, wanted: Filter, limit: int, span: Span) -> list[int]:
        found: list[int] = []
        ids = sorted(wanted.ids or ())
        for start in range(0, len(ids), CHUNK):
            numbers = ",".join(str(short_id(event_id)) for event_id in ids[start : start + CHUNK])
            rows = self._db.execute(
                "select e.key, b.raw from events e join bodies b on b.key = e.key"
                f" where e.short_id in ({numbers}) and e.key between ? and ?{self.alive('e')}",
                (span.low, span.high),
            )
            found.extend(key for key, raw in rows if matches(wanted, decode_event(raw)))
        return sorted(found, reverse=not span.upwards)[:limit]

    def _searched(self, wanted: Filter, limit: int, span: Span) -> list[int]:
        found: list[int] = []
        for keys in self.pieces([replace(wanted, search="")], CHUNK, span):
            for key in keys:
                (raw,) = self._db.execute("select raw from bodies where key = ?", (key,)).fetchone()
                if matches(wanted, decode_event(raw)):
                    found.append(key)
                    if len(found) == limit:
                        return found
        return found

    def union(self, filters: Sequence[Filter], limit: int, span: Span = EVERYTHING) -> list[int]:
        """Like `keys`, of what matches any of the filters."""
        found = {key for wanted in filters for key in self.keys(wanted, limit, span)}
        return sorted(found, reverse=not span.upwards)[:limit]

    def pieces(self, filters: Sequence[Filter], size: int, span: Span = EVERYTHING) -> Iterator[list[int]]:
        """All that matches any of the filters, `size` keys at a time."""
        while keys := self.union(filters, size, span):
            yield keys
            span = beyond(keys[-1], span)

    def _walks(self, wanted: Filter, limit: int, span: Span) -> list[Walk]:
        if wanted.tags:
            return self._tag_walks(wanted, span, limit)
        if wanted.authors is not None:
            return self._author_walks(wanted, span, limit)
        if wanted.kinds is not None:
            return self._kind_walks(sorted(wanted.kinds - wanted.hidden), span, limit)
        more = _not_in("kind", wanted) + self.alive("e")
        sql = f"select key from events e where key between ? and ?{more} order by key {span.order} limit ?"
        return [Walk(sql, (span.low, span.high, limit))]

    def _tag_walks(self, wanted: Filter, span: Span, limit: int) -> list[Walk]:
        """Walks along the tag with the fewest values; the other conditions are tested on each row."""
        first, *others = sorted(wanted.tags, key=lambda pair: len(pair[1]))
        more = _not_in("t.kind", wanted) + self.alive("t")
        if wanted.kinds is not None:
            more += f" and t.kind in ({_numbers(wanted.kinds)})"
        for letter, values in others:
            hashes = _numbers(self._hashes.tag(letter, value) for value in values)
            more += f" and exists (select 1 from tags x where x.hash in ({hashes}) and x.key = t.key)"
        if wanted.authors is not None:
            authors = self._author_numbers(wanted.authors)
            if not authors:
                return []
            more += f" and (select e.author from events e where e.key = t.key) in ({_numbers(authors)})"
        hashed = [self._hashes.tag(first[0], value) for value in first[1]]
        if len(hashed) > MAX_WALKS:
            sql = (
                f"select distinct t.key from tags t where t.hash in ({_numbers(hashed)})"
                f" and t.key between ? and ?{more} order by t.key {span.order} limit ?"
            )
            return [Walk(sql, (span.low, span.high, limit))]
        sql = (
            f"select t.key from tags t where t.hash = ? and t.key between ? and ?{more}"
            f" order by t.key {span.order} limit ?"
        )
        return [Walk(sql, (value, span.low, span.high, limit)) for value in hashed]

    def _author_walks(self, wanted: Filter, span: Span, limit: int) -> list[Walk]:
        authors = self._author_numbers(wanted.authors or ())
        if (len(authors) > 1 or wanted.kinds is None) and self._wrote_little(authors):
            return [self._sorted_authors(wanted, authors, span, limit)]
        pairs: list[tuple[int, int]] = []
        for author in authors:
            kinds = self._kinds_of(author) if wanted.kinds is None else sorted(wanted.kinds)
            pairs += ((author, kind) for kind in kinds if kind not in wanted.hidden)
            if len(kinds) > MAX_KINDS_OF_AUTHOR or len(pairs) > MAX_WALKS:
                return [self._sorted_authors(wanted, authors, span, limit)]
        alive = self.alive("e")
        sql = (
            f"select key from events e where author = ? and kind = ? and key between ? and ?{alive}"
            f" order by key {span.order} limit ?"
        )
        return [Walk(sql, (author, kind, span.low, span.high, limit)) for author, kind in pairs]

    def _sorted_authors(self, wanted: Filter, authors: Sequence[int], span: Span, limit: int) -> Walk:
        more = _not_in("kind", wanted) + self.alive("e")
        if wanted.kinds is not None:
            more += f" and kind in ({_numbers(wanted.kinds)})"
        # The plus keeps SQLite from walking the whole time line instead of the index of authors.
        sql = (
            f"select key from events e where author in ({_numbers(authors)}) and key between ? and ?{more}"
            f" order by +key {span.order} limit ?"
        )
        return Walk(sql, (span.low, span.high, limit))

    def _kind_walks(self, kinds: Sequence[int], span: Span, limit: int) -> list[Walk]:
        alive = self.alive("e")
        if len(kinds) > MAX_WALKS:
            sql = (
                f"select key from events e where kind in ({_numbers(kinds)}) and key between ? and ?"
                f"{alive} order by +key {span.order} limit ?"
            )
            return [Walk(sql, (span.low, span.high, limit))]
        sql = (
            f"select key from events e where kind = ? and key between ? and ?{alive}"
            f" order by key {span.order} limit ?"
        )
        return [Walk(sql, (kind, span.low, span.high, limit)) for kind in kinds]

    def _wrote_little(self, authors: Sequence[int]) -> bool:
        """Sorting what these authors wrote costs less than a walk for each of their kinds."""
        row = self._db.execute(
            f"select count(*) from (select 1 from events where author in ({_numbers(authors)}) limit ?)",
            (FEW_EVENTS + 1,),
        ).fetchone()
        return int(row[0]) <= FEW_EVENTS

    def _kinds_of(self, author: int) -> list[int]:
        """The author's kinds, by one seek each; stops one beyond what is useful."""
        kinds: list[int] = []
        kind = -1
        while len(kinds) <= MAX_KINDS_OF_AUTHOR:
            row = self._db.execute(
                "select min(kind) from events where author = ? and kind > ?", (author, kind)
            ).fetchone()
            if row[0] is None:
                break
            kind = row[0]
            kinds.append(kind)
        return kinds

    def _author_numbers(self, pubkeys: frozenset[str] | tuple[()]) -> list[int]:
        numbers = (self._authors.number(self._db, pubkey) for pubkey in pubkeys)
        return sorted(number for number in numbers if number is not None)

    def alive(self, table: str) -> str:
        """NIP-40: what has expired is not served, whether it was purged yet or not."""
        if not self._expiring:
            return ""
        return (
            f" and not exists (select 1 from expirations q where q.key = {table}.key"
            f" and q.expires <= {self._now})"
        )


def beyond(key: int, span: Span) -> Span:
    """What is left of a span after `key`."""
    return span._replace(low=key + 1) if span.upwards else span._replace(high=key - 1)


def _ungated(wanted: Filter) -> list[Filter]:
    """Filters without `addressed` that match together what `wanted` does.

    Those whom wrapped messages are for have an index of their own; testing each row would walk past
    all that is for others.
    """
    if wanted.addressed is None or (wanted.kinds is not None and not wanted.kinds & GATED_KINDS):
        return [wanted]
    kinds = GATED_KINDS - wanted.hidden if wanted.kinds is None else wanted.kinds & GATED_KINDS
    gated = replace(wanted, kinds=kinds, tags=(*wanted.tags, ("p", wanted.addressed)), addressed=None)
    others = replace(wanted, hidden=wanted.hidden | GATED_KINDS, addressed=None)
    return [part for part in (others, gated) if not part.impossible]


def _numbers(values: Iterator[int] | frozenset[int] | Sequence[int]) -> str:
    """Integers need no escaping."""
    return ",".join(map(str, values))


def _not_in(column: str, wanted: Filter) -> str:
    if not wanted.hidden or (wanted.kinds is not None and not wanted.kinds & wanted.hidden):
        return ""
    return f" and {column} not in ({_numbers(sorted(wanted.hidden))})"
