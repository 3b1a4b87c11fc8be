"""NIP-50 in the embedded store: from rows of the index of words to events, best first.

A row by second leads straight to the event's bytes, which are read anyway; one by place in the log leads
there by an index over all places, which is a page more for each event (searching.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from meshconsole.core.event import decode_event
from meshconsole.relay.filter import Filter, matches
from meshconsole.relay.keys import ID_BITS, created_at_of, key_range
from meshconsole.relay.searching import (
    BY_SEQ,
    LENGTH_BITS,
    SEARCHABLE,
    length_of,
    match_expression,
    second_of,
)
from meshconsole.relay.walks import first_column, integers, json_list

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meshconsole.relay.dbapi import Connection

CANDIDATES = 2000
"""So many of the newest events that hold the words are put in order of relevance."""

_SECOND = (1 << ID_BITS) - 1

AT_ONCE = 100
"""So many events are read to be looked at."""


def _of_second(row: str) -> str:
    """Between which row keys the events of a row's second lie."""
    low = f"({row} >> {LENGTH_BITS} << {ID_BITS})"
    return f"between {low} and {low} + {_SECOND}"


KEY_OF_ROW = f"(select o.key from events o where o.key {_of_second('words.rowid')} order by o.seq limit 1)"
"""Of a row by second."""

SEQ_OF_ROW = f"(words.rowid - {BY_SEQ}) >> {LENGTH_BITS}"
LENGTH_OF_ROW = f"words.rowid & {(1 << LENGTH_BITS) - 1}"

_ANY_BY_SEQ = f"exists (select 1 from words_docsize where id >= {BY_SEQ})"

_ROWS = (
    f"select json_group_array(key), {_ANY_BY_SEQ} from"
    " (select rowid as key from words where words match ? and rowid between ? and ?"
    " order by rowid desc limit +?)"
)

_STRAIGHT = (
    "select json_group_array(key), cast(group_concat(raw, x'0a') as blob) from (select b.key, b.raw"
    f" from json_each(?) k cross join bodies b on b.key {_of_second('k.value')} limit +?)"
)

_KEYS = (
    "select coalesce((select case count(*) when 1 then min(key) end from"
    f" (select b.key from bodies b where b.key {_of_second('k.value')} limit 2)),"
    f" (select o.key from events o where o.key {_of_second('k.value')} order by o.seq limit 1)) as key"
    " from json_each(?) k"
)


def rows_of(low: int, high: int) -> tuple[int, int]:
    """First and last row of the seconds of these row keys."""
    return created_at_of(low) << LENGTH_BITS, (created_at_of(high) + 1 << LENGTH_BITS) - 1


def has_rows_by_seq(connection: Connection) -> bool:
    return bool(connection.execute(f"select {_ANY_BY_SEQ}").fetchone()[0])


class Ranked(NamedTuple):
    length: int
    age: int
    """The greater, the older."""
    key: int
    row: int
    """0 where the key is known."""


class Seeking:
    """`raws` gives the events with row keys; `alive` is a condition on a table k."""

    def __init__(
        self, connection: Connection, raws: Callable[[Sequence[int]], Sequence[bytes]], alive: str
    ) -> None:
        self.seen: dict[int, bytes] = {}
        """Events that were read to be looked at, those of the last step."""
        self._db = connection
        self._raws = raws
        self._alive = alive

    def best(self, wanted: Filter, limit: int, by_seq: Callable[[], Sequence[tuple[int, int]]]) -> list[int]:
        """At most `limit` row keys of matching events: the shortest first, of equals the newest. `by_seq`
        gives length and key of those that are numbered by the log."""
        span = rows_of(*key_range(wanted.since, wanted.until))
        rows, has_by_seq = self._db.execute(
            _ROWS, (match_expression(wanted.terms), *span, CANDIDATES)
        ).fetchone()
        found = [Ranked(length_of(row), -(second_of(row) << ID_BITS), 0, row) for row in integers(rows)]
        if has_by_seq:
            found += [Ranked(length, -key, key, 0) for length, key in by_seq()]
            found.sort(key=lambda each: each.age)
            del found[CANDIDATES:]
        found.sort()
        keys: list[int] = []
        place = 0
        while len(keys) < limit and place < len(found):
            part = found[place : place + min(AT_ONCE, limit - len(keys))]
            place += len(part)
            keys += self._matching(part, wanted)
        return keys

    def _matching(self, part: Sequence[Ranked], wanted: Filter) -> list[int]:
        """Keys of those that match, in the order of `part`."""
        named = [each.key for each in part if not each.row]
        self.seen = dict(zip(named, self._raws(named), strict=True)) if named else {}
        rows = [each.row for each in part if each.row]
        resolved = iter(self._resolved(rows) if rows else ())
        keys = [next(resolved) if each.row else each.key for each in part]
        if self._alive:
            sql = f"select k.key from (select value as key from json_each(?)) k where true{self._alive}"
            kept = set(first_column(self._db, sql, (json_list(keys),)))
            keys = [key for key in keys if key in kept]
        more = replace(wanted, search="")
        if more.kinds is None and not more.hidden & SEARCHABLE and more.authors is None and not more.tags:
            return keys
        return [key for key in keys if matches(more, decode_event(self.seen[key]))]

    def _resolved(self, rows: Sequence[int]) -> list[int]:
        """The keys of rows by second. Mostly there is one event in each, so its bytes are read at once."""
        found, joined = self._db.execute(_STRAIGHT, (json_list(rows), len(rows) + 1)).fetchone()
        keys = integers(found)
        if list(map(created_at_of, keys)) == list(map(second_of, rows)):
            raws: Sequence[bytes] = joined.split(b"\n")
        else:
            keys = first_column(self._db, _KEYS, (json_list(rows),))
            raws = self._raws(keys)
        self.seen |= zip(keys, raws, strict=True)
        return keys
