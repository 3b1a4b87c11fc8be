"""Walks along the store's indexes: the newest, or the oldest, row keys that lie at some places.

Every index keeps its row keys in order of time within each *place*: a tag's value and kind, an author
and kind, a kind. One place is one walk along it. Of more, a few keys of each place are looked at first;
only places that may still hold some of those that are wanted are walked on, with longer steps. So it
costs one seek for each place and a few rows for each one that is wanted, however much there is, and
never a sort in the database.

A limit is given as `+?`: where it is a bare parameter, SQLite plans the statement anew for each value
that is bound to it, which costs 45 us.

Whatever is found comes in a single row: between two rows the interpreter's lock is given up and taken
again, which costs more than the row when other threads want it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from meshconsole.relay.keys import MAX_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from meshconsole.relay.dbapi import Connection

FEW_KINDS = 8
"""More kinds than these are looked up among those that a place really has."""

LONGER = 4
"""Times as many keys are taken by the next step."""

SHORTEST = 4


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
    """`places` is a statement that yields the places as columns a and b; `at` says which rows of `table`
    x lie at place {p}; `more` are conditions on what is found there. `about` so many places are expected."""

    table: str
    at: str
    places: str
    place_lists: tuple[str, ...]
    more: str = ""
    place: tuple[int, int] | None = None
    """The only place, where that is known without looking."""
    about: int = 1


def by_kind(column: str, table: str, values: list[int], kinds: Sequence[int], more: str) -> Walk:
    """Along each of a few kinds of each value of an index over (column, kind)."""
    at = f"x.{column} = {{p}}.a and x.kind = {{p}}.b"
    places = "select a.value as a, b.value as b from json_each(?) a, json_each(?) b"
    place = (values[0], kinds[0]) if len(values) == len(kinds) == 1 else None
    lists = (json_list(values), json_list(kinds))
    return Walk(table, at, places, lists, more, place, len(values) * len(kinds))


def by_any_kind(column: str, table: str, values: list[int], among: str, more: str) -> Walk:
    """Along the kinds that each value has, found by one seek for each; `among` are conditions on kind b."""
    at = f"x.{column} = {{p}}.a and x.kind = {{p}}.b"
    next_kind = f"(select min(kind) from {table} where {column} = {{a}} and kind > {{b}})"
    places = (
        "select a, b from (with recursive kinds(a, b) as ("
        f"select value, {next_kind.format(a='value', b='-1')} from json_each(?) union all"
        f" select a, {next_kind.format(a='kinds.a', b='kinds.b')} from kinds where b is not null)"
        f" select a, b from kinds) where b is not null{among}"
    )
    return Walk(table, at, places, (json_list(values),), more, None, 2 * len(values))


def follow(connection: Connection, walk: Walk, limit: int, span: Span) -> list[int]:
    """At most `limit` row keys, in the direction of the span."""
    if walk.place is not None:
        at = walk.at.format(p="p").replace("p.a", "?").replace("p.b", "?")
        given = walk.place[: at.count("?")]
        sql = (
            f"select x.key from {walk.table} x where {at} and x.key between ? and ?{walk.more}"
            f" order by x.key {span.order} limit +?"
        )
        return first_column(connection, sql, (*given, span.low, span.high, limit))
    step = min(limit, max(SHORTEST, 2 * limit // max(1, walk.about)))
    parameters: tuple[int | str, ...] = (span.low, span.high, step, *walk.place_lists)
    found: set[int] = set()
    parts = _taken(connection, _step(walk, span, "? and ?", walk.places), parameters)
    while True:
        unfinished: list[tuple[str, str, int]] = []
        for part in parts:
            a, b, keys = part.split(" ")
            taken = list(map(int, keys.split(",")))
            found.update(taken)
            if len(taken) == step:
                unfinished.append((a, b, max(taken) if span.upwards else min(taken)))
        ordered = sorted(found, reverse=not span.upwards)
        if len(ordered) >= limit:
            # No place has anything between where its walk stands and the last that is wanted.
            last = ordered[limit - 1]
            unfinished = [each for each in unfinished if (each[2] < last if span.upwards else each[2] > last)]
        if not unfinished:
            return ordered[:limit]
        step = min(limit, step * LONGER)
        places = ",".join(f"[{a},{b},{key}]" for a, b, key in unfinished)
        between, end = ("p.c + 1 and ?", span.high) if span.upwards else ("? and p.c - 1", span.low)
        parts = _taken(connection, _step(walk, span, between, _UNFINISHED), (end, step, f"[{places}]"))


_UNFINISHED = (
    "select json_extract(value, '$[0]') as a, json_extract(value, '$[1]') as b,"
    " json_extract(value, '$[2]') as c from json_each(?)"
)


def _step(walk: Walk, span: Span, between: str, places: str) -> str:
    """Places and what is at them, as text."""
    return (
        "select group_concat(place, ';') from (select p.a || ' ' || p.b || ' ' || (select group_concat(key)"
        f" from (select x.key from {walk.table} x where {walk.at.format(p='p')} and x.key between {between}"
        f"{walk.more} order by x.key {span.order} limit +?) found) as place from ({places}) p)"
    )


def _taken(connection: Connection, sql: str, parameters: Sequence[int | str]) -> list[str]:
    (found,) = connection.execute(sql, parameters).fetchone()
    return found.split(";") if found else []


def first_column(connection: Connection, sql: str, parameters: Sequence[int | str]) -> list[int]:
    (found,) = connection.execute(f"select group_concat(key) from ({sql}) found", parameters).fetchone()
    return [] if found is None else list(map(int, found.split(",")))


def beyond(key: int, span: Span) -> Span:
    """What is left of a span after `key`."""
    return span._replace(low=key + 1) if span.upwards else span._replace(high=key - 1)


def numbers(values: Iterable[int]) -> str:
    """Integers need no escaping."""
    return ",".join(map(str, values))


def json_list(values: Iterable[int]) -> str:
    return f"[{numbers(values)}]"
