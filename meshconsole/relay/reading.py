"""How filters become walks over the store's indexes (walks.py).

A filter that names neither ids nor words is answered by walks along its tags, its authors or its kinds;
only narrow rows are touched then, and the events' bytes are fetched afterwards, in slices that fit the
connection. Walks lead downwards, newest first, for those who ask, and upwards for those who want
everything piece by piece.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from meshconsole.core.event import decode_event
from meshconsole.core.kinds import GATED_KINDS
from meshconsole.relay.filter import Filter, matches
from meshconsole.relay.keys import KeyedHash, key_range, short_id
from meshconsole.relay.searching import BY_SEQ, SEARCHABLE, match_expression
from meshconsole.relay.seeking import (
    CANDIDATES,
    KEY_OF_ROW,
    LENGTH_OF_ROW,
    SEQ_OF_ROW,
    Seeking,
    has_rows_by_seq,
    rows_of,
)
from meshconsole.relay.walks import (
    EVERYTHING,
    FEW_KINDS,
    Memory,
    Span,
    Walk,
    beyond,
    first_column,
    follow,
    integers,
    json_list,
    kinds_of,
    numbers,
    pairs,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from meshconsole.relay.authors import Authors
    from meshconsole.relay.dbapi import Connection

FEW_IDS = 32
"""So many events are looked at at once for their ids."""

ID = slice(7, 71)
"""Where canonical events have their id."""

FEW_EVENTS = 2000
"""A tag value with fewer events is walked along whatever else a filter asks for."""

FEW_TAGS = 64
"""So many events with a tag's value are few."""

_BODIES = (
    "select cast(group_concat(b.raw, x'0a') as blob)"
    " from json_each(?) k cross join bodies b on b.key = k.value"
)
"""Canonical events hold no line break: JSON escapes them."""


_STRETCH = (
    "select count(*), cast(group_concat(raw, x'0a') as blob)"
    " from (select raw from bodies where key between ? and ? order by key desc)"
)


_ANY = (
    "select exists (select 1 from json_each(?) k"
    " cross join events e on e.kind = k.value where e.key between ? and ?)"
)
_NEWEST = "select raw from bodies where key between ? and ? order by key desc limit +?"
_AT = "select key from bodies where key between ? and ? order by key desc limit 1 offset +?"

MANY_ROWS = 64
"""So many rows are taken before their size is looked at."""


class Reading:
    """Answers filters on one connection, inside one read transaction. `raws` gives the events with row
    keys that were found in it."""

    def __init__(
        self,
        connection: Connection,
        hashes: KeyedHash,
        authors: Authors,
        *,
        now: int,
        expiring: bool,
        raws: Callable[[Sequence[int]], list[bytes]] | None = None,
        memory: Memory | None = None,
    ) -> None:
        self._db = connection
        self._hashes = hashes
        self._authors = authors
        self._now = now
        self._raws = raws or partial(bodies, connection)
        self.seen: dict[int, bytes] = {}
        """Some of the events that a search has found, which need not be read again."""
        self._memory = memory
        self._expiring = expiring
        """Whether any stored event may have expired by now; usually none has."""

    def ranked(self, wanted: Filter, limit: int) -> list[int]:
        """At most `limit` row keys of matching events: newest first, those of a search best first."""
        if not wanted.search or not wanted.terms or wanted.ids is not None:
            return self.keys(wanted, limit)
        if limit <= 0 or wanted.impossible:
            return []
        seeking = Seeking(self._db, self._raws, self.alive("k"))
        keys = seeking.best(wanted, limit, partial(self._by_seq, wanted))
        self.seen = seeking.seen
        return keys

    def keys(self, wanted: Filter, limit: int, span: Span = EVERYTHING) -> list[int]:
        """At most `limit` row keys of matching events within `span`, in its direction."""
        if limit <= 0 or wanted.impossible:
            return []
        low, high = key_range(wanted.since, wanted.until)
        span = Span(max(low, span.low), min(high, span.high), span.upwards)
        if wanted.ids is not None:
            if wanted.search and wanted.terms:
                among = SEARCHABLE if wanted.kinds is None else SEARCHABLE & wanted.kinds
                wanted = replace(wanted, kinds=among)
            return self._by_ids(wanted, limit, span)
        if wanted.search and wanted.terms:
            return self._holding(wanted, limit, span)
        parts = _ungated(wanted)
        if len(parts) == 1:
            return self._walked(parts[0], limit, span)
        both = {key for part in parts for key in self._walked(part, limit, span)}
        return sorted(both, reverse=not span.upwards)[:limit]

    def union(self, filters: Sequence[Filter], limit: int, span: Span = EVERYTHING) -> list[int]:
        """Like `keys`, of what matches any of the filters."""
        found = {key for wanted in filters for key in self.keys(wanted, limit, span)}
        return sorted(found, reverse=not span.upwards)[:limit]

    def stretch(self, wanted: Filter, limit: int, size: int) -> tuple[list[bytes], list[int]] | None:
        """The newest `limit` of all there is in a time: events of about `size` bytes, from page after page,
        and the keys of the others. None where some of what is there is not to be given."""
        low, high = key_range(wanted.since, wanted.until)
        hidden = wanted.hidden if wanted.addressed is None else wanted.hidden | GATED_KINDS
        between = (low, high)
        if self._expiring or (hidden and self._db.execute(_ANY, (json_list(hidden), *between)).fetchone()[0]):
            return None
        cursor = self._db.execute(_NEWEST, (*between, limit))
        raws: list[bytes] = []
        room = size
        while room > 0 and (rows := cursor.fetchmany(MANY_ROWS)):
            found = [raw for (raw,) in rows]
            raws += found
            room -= sum(map(len, found))
        cursor.close()
        if room > 0:
            return raws, []
        (last,) = self._db.execute(_AT, (*between, len(raws) - 1)).fetchone()
        return raws, self.keys(wanted, limit - len(raws), Span(low, last - 1))

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
        know stands in them."""
        ids = wanted.ids or frozenset()
        shorts = sorted(map(short_id, ids))
        sql = (
            "select e.key from json_each(?) k cross join events e on e.short_id = k.value"
            f" where e.key between ? and ?{self.alive('e')}"
        )
        # The whole id is compared: what the index knows is only its first 8 bytes.
        alone = wanted == Filter(ids=ids, limit=wanted.limit)
        found: set[int] = set()
        for start in range(0, len(shorts), FEW_IDS):
            keys = self._first_column(sql, (json_list(shorts[start : start + FEW_IDS]), span.low, span.high))
            for key, raw in zip(keys, self._raws(keys), strict=True):
                if raw[ID].decode() in ids and (alone or matches(wanted, decode_event(raw))):
                    found.add(key)
        return sorted(found, reverse=not span.upwards)[:limit]

    def _holding(self, wanted: Filter, limit: int, span: Span) -> list[int]:
        """Those that hold the words, in the direction of the span, which is that of rows by second."""
        parameters = (match_expression(wanted.terms), limit)
        low, high = rows_of(span.low, span.high)
        more = self._more(wanted, span)
        # A cross join keeps the order of the tables: the words lead.
        found = self._first_column(
            f"select e.key from words cross join events e on e.key = {KEY_OF_ROW} where words match ?"
            f" and words.rowid between {low} and {high}{more} order by words.rowid {span.order} limit +?",
            parameters,
        )
        if not has_rows_by_seq(self._db):
            return found
        found += self._first_column(
            f"select e.key from words cross join events e on e.seq = {SEQ_OF_ROW} where words match ?"
            f" and words.rowid >= {BY_SEQ}{more} order by +e.key {span.order} limit +?",
            parameters,
        )
        return sorted(found, reverse=not span.upwards)[:limit]

    def _by_seq(self, wanted: Filter) -> list[tuple[int, int]]:
        """Length and row key of the events that hold the words and are numbered by the log."""
        sql = (
            "select json_group_array(json_array(length, key)) from"
            f" (select {LENGTH_OF_ROW} as length, e.key from words"
            f" cross join events e on e.seq = {SEQ_OF_ROW}"
            f" where words match ? and words.rowid >= {BY_SEQ}{self._more(wanted, EVERYTHING)}"
            " order by words.rowid desc limit +?)"
        )
        (found,) = self._db.execute(sql, (match_expression(wanted.terms), CANDIDATES)).fetchone()
        return pairs(found)

    def _more(self, wanted: Filter, span: Span) -> str:
        """What else is wanted of an event that holds the words."""
        low, high = key_range(wanted.since, wanted.until)
        more = f" and e.key between {max(low, span.low)} and {min(high, span.high)}" + self.alive("e")
        more += self._conditions(wanted, "e")
        for letter, values in wanted.tags:
            more += self._has_tag(letter, values, "e")
        return more

    def _conditions(self, wanted: Filter, table: str) -> str:
        # The index over (seq, kind) tells the kind; without the `+` it would be asked once for each kind.
        more = "" if wanted.kinds is None else f" and +{table}.kind in ({numbers(wanted.kinds)})"
        more += _not_in(f"+{table}.kind", wanted)
        if wanted.authors is not None:
            more += f" and {table}.author in ({numbers(self._author_numbers(wanted.authors))})"
        return more

    def _has_tag(self, letter: str, values: frozenset[str], table: str) -> str:
        hashes = numbers(self._hashes.tag(letter, value) for value in values)
        return (
            f" and exists (select 1 from tags g where g.hash in ({hashes}) and g.kind = {table}.kind"
            f" and g.key = {table}.key)"
        )

    def _walked(self, wanted: Filter, limit: int, span: Span) -> list[int]:
        if wanted.tags:
            few = self._of_few_tags(wanted, limit, span)
            if few is not None:
                return few
            walk = self._along_tags(wanted)
        elif wanted.authors is not None:
            walk = self._along_authors(wanted)
        elif wanted.kinds is not None:
            places = [(kind,) for kind in wanted.kinds - wanted.hidden]
            walk = Walk("events", ("kind",), places, self.alive("x"))
        else:
            sql = (
                f"select key from events x where key between ? and ?{_not_in('kind', wanted)}"
                f"{self.alive('x')} order by key {span.order} limit +?"
            )
            return self._first_column(sql, (span.low, span.high, limit))
        return follow(self._db, walk, limit, span, self._memory)

    def _along_tags(self, wanted: Filter) -> Walk:
        """Along the tag with the fewest values; or along the authors, where the tag is on too much."""
        first, *others = sorted(wanted.tags, key=lambda pair: len(pair[1]))
        if wanted.authors is not None and self._is_common(*first):
            walk = self._along_authors(wanted)
            return walk._replace(more=walk.more + "".join(self._has_tag(*tag, "x") for tag in wanted.tags))
        more = self.alive("x") + "".join(self._has_tag(*tag, "x") for tag in others)
        if wanted.authors is not None:
            authors = numbers(self._author_numbers(wanted.authors))
            more += f" and (select e.author from events e where e.key = x.key) in ({authors})"
        hashes = [self._hashes.tag(first[0], value) for value in first[1]]
        return Walk("tags", ("hash", "kind"), self._places("tags", "hash", hashes, wanted), more)

    def _of_few_tags(self, wanted: Filter, limit: int, span: Span) -> list[int] | None:
        """Of a value that not many events have all are looked at, which is cheaper than to look for kinds
        first; None where it is something else that is asked for, or too many have it."""
        ((letter, values), *others) = wanted.tags
        if others or len(values) > 1 or wanted.kinds is not None or wanted.authors is not None:
            return None
        (value,) = values
        count, found = self._db.execute(
            "select count(*), json_group_array(key) filter (where key between ? and ?"
            f"{_not_in('kind', wanted)}{self.alive('few')})"
            f" from (select kind, key from tags where hash = ? limit {FEW_TAGS + 1}) few",
            (span.low, span.high, self._hashes.tag(letter, value)),
        ).fetchone()
        return None if count > FEW_TAGS else sorted(integers(found), reverse=not span.upwards)[:limit]

    def _along_authors(self, wanted: Filter) -> Walk:
        authors = self._author_numbers(wanted.authors or frozenset())
        places = self._places("events", "author", authors, wanted)
        return Walk("events", ("author", "kind"), places, self.alive("x"))

    def _places(
        self, table: str, column: str, values: Sequence[int], wanted: Filter
    ) -> list[tuple[int, int]]:
        """Along the kinds of each value of an index over (column, kind)."""
        kinds = wanted.kinds
        if kinds is not None and len(kinds) <= FEW_KINDS:
            return [(value, kind) for value in values for kind in kinds - wanted.hidden]
        places = kinds_of(self._db, table, column, values) if table == "tags" else self._authored(values)
        return [
            place
            for place in places
            if place[1] not in wanted.hidden and (kinds is None or place[1] in kinds)
        ]

    def _authored(self, authors: Sequence[int]) -> list[tuple[int, int]]:
        """Each author with each kind of its events, perhaps with some more."""
        if self._memory is None:
            return kinds_of(self._db, "events", "author", authors)
        newest, moment = self._memory
        known = {author: newest.kinds(author) for author in authors}
        unknown = [author for author, kinds in known.items() if kinds is None]
        if unknown:
            found: dict[int, set[int]] = {author: set() for author in unknown}
            for author, kind in kinds_of(self._db, "events", "author", unknown):
                found[author].add(kind)
            learnt = {author: frozenset(kinds) for author, kinds in found.items()}
            newest.learn_kinds(learnt, moment)
            known |= learnt
        return [(author, kind) for author, kinds in known.items() for kind in kinds or ()]

    def _is_common(self, letter: str, values: frozenset[str]) -> bool:
        hashes = numbers(self._hashes.tag(letter, value) for value in values)
        sql = f"select count(*) from (select 1 from tags where hash in ({hashes}) limit {FEW_EVENTS})"
        return int(self._db.execute(sql).fetchone()[0]) == FEW_EVENTS

    def _author_numbers(self, pubkeys: frozenset[str]) -> list[int]:
        known = (self._authors.number(self._db, pubkey) for pubkey in pubkeys)
        return sorted(number for number in known if number is not None)

    def _first_column(self, sql: str, parameters: Sequence[int | str]) -> list[int]:
        return first_column(self._db, sql, parameters)


def is_stretch(wanted: Filter) -> bool:
    """Asks for whatever there is in a time."""
    if wanted.terms:
        return False
    return wanted.ids is None and wanted.authors is None and wanted.kinds is None and not wanted.tags


def stretch(connection: Connection, keys: Sequence[int]) -> list[bytes]:
    """As `bodies`, of keys between which hardly anything else lies: then their pages are read one after
    the other, each once."""
    ends = min(keys), max(keys)
    count, found = connection.execute(_STRETCH, ends).fetchone()
    raws: list[bytes] = found.split(b"\n") if count == len(keys) else bodies(connection, keys)
    return raws


def bodies(connection: Connection, keys: Sequence[int]) -> list[bytes]:
    """The events with these keys, in their order; those that are gone are left out."""
    (found,) = connection.execute(_BODIES, (json_list(keys),)).fetchone()
    return [] if found is None else found.split(b"\n")


def _ungated(wanted: Filter) -> list[Filter]:
    """Filters without `addressed` that match together what `wanted` does.

    Those whom wrapped messages are for have an index of their own; testing each row would walk past
    all that is for others.
    """
    if wanted.addressed is None or (wanted.kinds is not None and not wanted.kinds & GATED_KINDS):
        return [wanted]
    others = replace(wanted, hidden=wanted.hidden | GATED_KINDS, addressed=None)
    if not wanted.addressed and wanted.kinds is None:
        return [others]
    kinds = GATED_KINDS - wanted.hidden if wanted.kinds is None else wanted.kinds & GATED_KINDS
    gated = replace(wanted, kinds=kinds, tags=(*wanted.tags, ("p", wanted.addressed)), addressed=None)
    return [part for part in (others, gated) if not part.impossible]


def _not_in(column: str, wanted: Filter) -> str:
    if not wanted.hidden or (wanted.kinds is not None and not wanted.kinds & wanted.hidden):
        return ""
    return f" and {column} not in ({numbers(sorted(wanted.hidden))})"
