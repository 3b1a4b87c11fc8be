"""How filters become walks over the store's indexes.

Every index keeps its row keys in order of time within each *place*: a tag's value and kind, an author
and kind, a kind. A filter that names one place is answered by one walk along it. One that names more is
answered by a single statement that walks all of them at once: SQLite's recursion takes the next row
from an ordered queue, and each row that leaves the queue puts its successor of the same place into it.
So a filter costs one seek for each place and each row it yields, however much there is, and never a
sort. Where no kinds are named, the places are found by one seek for each kind that there is.

Whatever is found comes in a single row: between two rows the interpreter's lock is given up and taken
again, which costs more than the row when other threads want it too.

Only narrow rows are touched here; the events' bytes are fetched afterwards, in slices that fit the
connection. Walks lead downwards, newest first, for those who ask, and upwards for those who want
everything piece by piece.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from meshconsole.core.event import decode_event
from meshconsole.core.kinds import GATED_KINDS
from meshconsole.relay.filter import Filter, matches
from meshconsole.relay.keys import MAX_KEY, KeyedHash, key_range, short_id
from meshconsole.relay.searching import SEARCHABLE, match_expression

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from meshconsole.relay.dbapi import Connection
    from meshconsole.relay.writing import Authors

FEW_KINDS = 8
"""More kinds than these are looked up among those that a place really has."""

FEW_IDS = 32
"""So many events are looked at at once for their ids."""

FEW_EVENTS = 2000
"""A tag value with fewer events is walked along whatever else a filter asks for."""

CANDIDATES = 2000
"""So many of the newest events that hold the words are put in order of relevance."""


class Span(NamedTuple):
    """Row keys from `low` to `high`, both included, in the direction of the walk."""

    low: int
    high: int
    upwards: bool = False

    @property
    def order(self) -> str:
        return "asc" if self.upwards else "desc"


EVERYTHING = Span(0, MAX_KEY)
_ANYTHING = Filter()


_BODIES = (
    "select cast(group_concat(b.raw, x'0a') as blob)"
    " from json_each(?) k cross join bodies b on b.key = k.value"
)
"""Canonical events hold no line break: JSON escapes them."""


class Walk(NamedTuple):
    """`places` is a statement that yields the places as columns a and b; `at` says which rows of `table`
    x lie at place {p}; `more` are conditions on what is found there."""

    table: str
    at: str
    places: str
    place_lists: tuple[str, ...]
    more: str = ""
    place: tuple[int, int] | None = None
    """The only place, where that is known without looking."""


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

    def ranked(self, wanted: Filter, limit: int) -> list[int]:
        """At most `limit` row keys of matching events: newest first, those of a search best first."""
        if not wanted.terms or wanted.ids is not None:
            return self.keys(wanted, limit)
        if limit <= 0 or wanted.impossible:
            return []
        found = self._search(wanted, EVERYTHING, "e.key, bm25(words) as score")
        sql = f"select key from ({found} order by words.rowid desc limit ?) order by score, key desc limit ?"
        return self._first_column(sql, (match_expression(wanted.terms), CANDIDATES, limit))

    def keys(self, wanted: Filter, limit: int, span: Span = EVERYTHING) -> list[int]:
        """At most `limit` row keys of matching events within `span`, in its direction."""
        if limit <= 0 or wanted.impossible:
            return []
        low, high = key_range(wanted.since, wanted.until)
        span = Span(max(low, span.low), min(high, span.high), span.upwards)
        if wanted.ids is not None:
            if wanted.terms:
                among = SEARCHABLE if wanted.kinds is None else SEARCHABLE & wanted.kinds
                wanted = replace(wanted, kinds=among)
            return self._by_ids(wanted, limit, span)
        if wanted.terms:
            found = self._search(wanted, span, "e.key")
            sql = f"{found} order by +e.key {span.order} limit ?"
            return self._first_column(sql, (match_expression(wanted.terms), limit))
        parts = _ungated(wanted)
        if len(parts) == 1:
            return self._walked(parts[0], limit, span)
        both = {key for part in parts for key in self._walked(part, limit, span)}
        return sorted(both, reverse=not span.upwards)[:limit]

    def union(self, filters: Sequence[Filter], limit: int, span: Span = EVERYTHING) -> list[int]:
        """Like `keys`, of what matches any of the filters."""
        found = {key for wanted in filters for key in self.keys(wanted, limit, span)}
        return sorted(found, reverse=not span.upwards)[:limit]

    def pieces(self, filters: Sequence[Filter], size: int, span: Span = EVERYTHING) -> Iterator[list[int]]:
        """All that matches any of the filters, `size` keys at a time."""
        while keys := self.union(filters, size, span):
            yield keys
            span = beyond(keys[-1], span)

    def alive(self, table: str) -> str:
        """NIP-40: what has expired is not served, whether it was purged yet or not."""
        if not self._expiring:
            return ""
        return (
            f" and not exists (select 1 from expirations q where q.key = {table}.key"
            f" and q.expires <= {self._now})"
        )

    def _by_ids(self, wanted: Filter, limit: int, span: Span) -> list[int]:
        """The index leads to the events' bytes, which are read soon after anyway; what else there is to
        know stands in them, and not on a third page."""
        shorts = sorted({short_id(event_id) for event_id in wanted.ids or ()})
        sql = (
            "select group_concat(e.key), cast(group_concat(b.raw, x'0a') as blob) from json_each(?) k"
            " cross join events e on e.short_id = k.value cross join bodies b on b.key = e.key"
            f" where e.key between ? and ?{self.alive('e')}"
        )
        found: list[int] = []
        for start in range(0, len(shorts), FEW_IDS):
            given = (_json(shorts[start : start + FEW_IDS]), span.low, span.high)
            keys, raws = self._db.execute(sql, given).fetchone()
            if keys is not None:
                events = zip(keys.split(","), raws.split(b"\n"), strict=True)
                found += [int(key) for key, raw in events if matches(wanted, decode_event(raw))]
        return sorted(found, reverse=not span.upwards)[:limit]

    def _search(self, wanted: Filter, span: Span, columns: str) -> str:
        """A statement for the events that hold the words; its parameter is the expression."""
        low, high = key_range(wanted.since, wanted.until)
        more = f" and e.key between {max(low, span.low)} and {min(high, span.high)}" + self.alive("e")
        more += self._conditions(wanted, "e")
        for letter, values in wanted.tags:
            more += self._has_tag(letter, values, "e")
        # A cross join keeps the order of the tables: the words lead.
        tables = "words cross join events e on e.seq = words.rowid"
        return f"select {columns} from {tables} where words match ?{more}"

    def _conditions(self, wanted: Filter, table: str) -> str:
        more = "" if wanted.kinds is None else f" and {table}.kind in ({_numbers(wanted.kinds)})"
        more += _not_in(f"{table}.kind", wanted)
        if wanted.authors is not None:
            more += f" and {table}.author in ({_numbers(self._author_numbers(wanted.authors))})"
        return more

    def _has_tag(self, letter: str, values: frozenset[str], table: str) -> str:
        hashes = _numbers(self._hashes.tag(letter, value) for value in values)
        return (
            f" and exists (select 1 from tags g where g.hash in ({hashes}) and g.kind = {table}.kind"
            f" and g.key = {table}.key)"
        )

    def _walked(self, wanted: Filter, limit: int, span: Span) -> list[int]:
        if wanted.tags:
            walk = self._along_tags(wanted)
        elif wanted.authors is not None:
            walk = self._along_authors(wanted)
        elif wanted.kinds is not None:
            kinds = list(wanted.kinds - wanted.hidden)
            places = "select value, 0 from json_each(?)"
            place = (kinds[0], 0) if len(kinds) == 1 else None
            walk = Walk("events", "x.kind = {p}.a", places, (_json(kinds),), self.alive("x"), place)
        else:
            sql = (
                f"select key from events x where key between ? and ?{_not_in('kind', wanted)}"
                f"{self.alive('x')} order by key {span.order} limit ?"
            )
            return self._first_column(sql, (span.low, span.high, limit))
        return self._follow(walk, limit, span)

    def _along_tags(self, wanted: Filter) -> Walk:
        """Along the tag with the fewest values; or along the authors, where the tag is on too much."""
        first, *others = sorted(wanted.tags, key=lambda pair: len(pair[1]))
        if wanted.authors is not None and self._is_common(*first):
            walk = self._along_authors(wanted)
            return walk._replace(more=walk.more + "".join(self._has_tag(*tag, "x") for tag in wanted.tags))
        more = self.alive("x") + "".join(self._has_tag(*tag, "x") for tag in others)
        if wanted.authors is not None:
            authors = _numbers(self._author_numbers(wanted.authors))
            more += f" and (select e.author from events e where e.key = x.key) in ({authors})"
        hashes = [self._hashes.tag(first[0], value) for value in first[1]]
        return _walk("tags", "hash", hashes, wanted, more)

    def _along_authors(self, wanted: Filter) -> Walk:
        authors = self._author_numbers(wanted.authors or frozenset())
        return _walk("events", "author", authors, wanted, self.alive("x"))

    def _follow(self, walk: Walk, limit: int, span: Span) -> list[int]:
        places = [walk.place] if walk.place else self._db.execute(walk.places, walk.place_lists).fetchmany(2)
        if not places:
            return []
        if len(places) == 1:
            at = walk.at.format(p="p").replace("p.a", "?").replace("p.b", "?")
            given = places[0][: at.count("?")]
            sql = (
                f"select x.key from {walk.table} x where {at} and x.key between ? and ?{walk.more}"
                f" order by x.key {span.order} limit ?"
            )
            return self._first_column(sql, (*given, span.low, span.high, limit))
        beyond_it = "w.key + 1 and ?" if span.upwards else "? and w.key - 1"
        end = span.high if span.upwards else span.low
        step = (
            f"(select x.key from {walk.table} x where {{at}} and x.key between {{between}}{walk.more}"
            f" order by x.key {span.order} limit 1)"
        )
        first = step.format(at=walk.at.format(p="p"), between="? and ?")
        following = step.format(at=walk.at.format(p="w"), between=beyond_it)
        sql = (
            f"with recursive places(a, b) as ({walk.places}), walk(key, a, b) as ("
            f"select {first}, a, b from places p union all"
            f" select {following}, a, b from walk w where w.key is not null order by 1 {span.order})"
            " select distinct key from walk where key is not null limit ?"
        )
        return self._first_column(sql, (*walk.place_lists, span.low, span.high, end, limit))

    def _is_common(self, letter: str, values: frozenset[str]) -> bool:
        hashes = _numbers(self._hashes.tag(letter, value) for value in values)
        sql = f"select count(*) from (select 1 from tags where hash in ({hashes}) limit {FEW_EVENTS})"
        return int(self._db.execute(sql).fetchone()[0]) == FEW_EVENTS

    def _author_numbers(self, pubkeys: frozenset[str]) -> list[int]:
        numbers = (self._authors.number(self._db, pubkey) for pubkey in pubkeys)
        return sorted(number for number in numbers if number is not None)

    def _first_column(self, sql: str, parameters: Sequence[int | str]) -> list[int]:
        (found,) = self._db.execute(f"select group_concat(key) from ({sql}) found", parameters).fetchone()
        return [] if found is None else list(map(int, found.split(",")))


def bodies(connection: Connection, keys: Sequence[int]) -> list[bytes]:
    """The events with these keys, in their order; those that are gone are left out."""
    (found,) = connection.execute(_BODIES, (_json(keys),)).fetchone()
    return [] if found is None else found.split(b"\n")


def beyond(key: int, span: Span) -> Span:
    """What is left of a span after `key`."""
    return span._replace(low=key + 1) if span.upwards else span._replace(high=key - 1)


def _walk(table: str, column: str, values: list[int], wanted: Filter, more: str) -> Walk:
    """Along the kinds of each value of an index over (column, kind)."""
    at = f"x.{column} = {{p}}.a and x.kind = {{p}}.b"
    hidden = _not_in("b", wanted)
    if wanted.kinds is not None and len(wanted.kinds) <= FEW_KINDS:
        kinds = list(wanted.kinds - wanted.hidden)
        places = "select a.value as a, b.value as b from json_each(?) a, json_each(?) b"
        place = (values[0], kinds[0]) if len(values) == len(kinds) == 1 else None
        return Walk(table, at, places, (_json(values), _json(kinds)), more, place)
    next_kind = f"(select min(kind) from {table} where {column} = {{a}} and kind > {{b}})"
    among = "" if wanted.kinds is None else f" and b in ({_numbers(wanted.kinds)})"
    places = (
        "select a, b from (with recursive kinds(a, b) as ("
        f"select value, {next_kind.format(a='value', b='-1')} from json_each(?) union all"
        f" select a, {next_kind.format(a='kinds.a', b='kinds.b')} from kinds where b is not null)"
        f" select a, b from kinds) where b is not null{among}{hidden}"
    )
    return Walk(table, at, places, (_json(values),), more)


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


def _numbers(values: Iterable[int]) -> str:
    """Integers need no escaping."""
    return ",".join(map(str, values))


def _json(values: Iterable[int]) -> str:
    return f"[{_numbers(values)}]"


def _not_in(column: str, wanted: Filter) -> str:
    if not wanted.hidden or (wanted.kinds is not None and not wanted.kinds & wanted.hidden):
        return ""
    return f" and {column} not in ({_numbers(sorted(wanted.hidden))})"
