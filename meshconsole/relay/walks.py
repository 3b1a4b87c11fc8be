"""Walks along the store's indexes: the newest, or the oldest, row keys that lie at some places.

Every index keeps its row keys in order of time within each *place*: a tag's value and kind, an author
and kind, a kind. One place is one walk along it. Of more, a few keys of each place are looked at first;
only places that may still hold some of those that are wanted are walked on, with longer steps. So it
costs one seek for each place and a few rows for each one that is wanted, however much there is, and
never a sort in the database.

A limit is given as `+?`: where it is a bare parameter, SQLite plans the statement anew for each value
that is bound to it, which costs 45 us.

Whatever is found comes in a single row, as JSON: between two rows the interpreter's lock is given up and
taken again, which costs more than the row when other threads want it too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

from meshconsole.relay.keys import MAX_KEY
from meshconsole.relay.newest import DEPTH, Newest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from meshconsole.relay.dbapi import Connection

FEW_KINDS = 8
"""More kinds than these are looked up among those that a place really has."""

LONGER = 4
"""Times as many keys are taken by the next step."""

SHORTEST = 4

AT_ONCE = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""So many places are looked at by one statement: few sizes, for each is a statement of its own."""

AT_ONCE_PLANNED = AT_ONCE[:6]
"""The same where the statement is likely to be planned for this question alone."""


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
    """`at` are the columns of `table` x whose values make a place; `more` are conditions on what is found
    there. A row lies at one of the places, unless it is a tag's."""

    table: str
    at: tuple[str, ...]
    places: Sequence[tuple[int, ...]]
    more: str = ""


def kinds_of(connection: Connection, table: str, column: str, values: Sequence[int]) -> list[tuple[int, int]]:
    """Each value with each kind that it has, found by one seek for each."""
    next_kind = f"(select min(kind) from {table} where {column} = {{a}} and kind > {{b}})"
    (found,) = connection.execute(
        "select json_group_array(json_array(a, b)) from (with recursive kinds(a, b) as ("
        f"select value, {next_kind.format(a='value', b='-1')} from json_each(?) union all"
        f" select a, {next_kind.format(a='kinds.a', b='kinds.b')} from kinds where b is not null)"
        " select a, b from kinds) where b is not null",
        (json_list(values),),
    ).fetchone()
    return pairs(found)


Standing: TypeAlias = tuple[tuple[int, ...], int]
"""A place, and the next key to be looked at there."""


class Memory(NamedTuple):
    """What is known of the authors' newest events, and the moment in which all of this is read."""

    newest: Newest
    moment: int


def follow(
    connection: Connection, walk: Walk, limit: int, span: Span, memory: Memory | None = None
) -> list[int]:
    """At most `limit` row keys, in the direction of the span."""
    places = walk.places
    if walk.at != ("author", "kind") or walk.more or span.upwards:
        memory = None
    if len(places) == 1 and (memory is None or limit > DEPTH):
        at = " and ".join(f"x.{column} = ?" for column in walk.at)
        sql = (
            f"select x.key from {walk.table} x where {at} and x.key between ? and ?{walk.more}"
            f" order by x.key {span.order} limit +?"
        )
        return first_column(connection, sql, (*places[0], span.low, span.high, limit))
    step = min(limit, max(SHORTEST, 2 * limit // max(1, len(places))))
    near, far = (span.low, span.high) if span.upwards else (span.high, span.low)
    standing: list[Standing] = [(place, near) for place in places]
    found: list[int] = []
    while standing:
        how = (far, step, span.upwards)
        if memory is None:
            taken = _taken(connection, walk, standing, how)
        else:
            taken = _remembered(connection, walk, standing, how, memory)
        for keys in taken:
            found += keys
        if walk.table == "tags":
            found = list(set(found))
        found.sort(reverse=not span.upwards)
        del found[limit:]
        # Where enough is found, only places that stand before the last of it may hold any that is wanted.
        last = far if len(found) < limit else found[-1]
        onwards = 1 if span.upwards else -1
        standing = [
            (stood[0], keys[-1] + onwards)
            for stood, keys in zip(standing, taken, strict=True)
            if len(keys) == step and (keys[-1] < last if span.upwards else keys[-1] > last)
        ]
        step = min(limit, step * LONGER)
    return found


def _remembered(
    connection: Connection,
    walk: Walk,
    standing: Sequence[Standing],
    how: tuple[int, int, bool],
    memory: Memory,
) -> list[list[int]]:
    """As `_taken`: what is known from memory, and only the rest from the index."""
    newest, moment = memory
    far, step, _ = how
    known = newest.keys(standing, far, step)
    unknown = [stood for stood, keys in zip(standing, known, strict=True) if keys is None]
    if not unknown:
        return known  # type: ignore[return-value]
    taken = _taken(connection, walk, unknown, how)
    for stood, keys in zip(unknown, taken, strict=True):
        newest.learn(*stood, keys[-1] if len(keys) == step else far, keys, moment)
    following = iter(taken)
    return [next(following) if keys is None else keys for keys in known]


def _taken(
    connection: Connection, walk: Walk, standing: Sequence[Standing], how: tuple[int, int, bool]
) -> list[list[int]]:
    """The next row keys of each place."""
    sizes = AT_ONCE_PLANNED if walk.more else AT_ONCE
    taken: list[list[int]] = []
    far, step, upwards = how
    for start in range(0, len(standing), sizes[-1]):
        part = standing[start : start + sizes[-1]]
        size = next(size for size in sizes if size >= len(part))
        sql = _statement(walk.table, walk.at, walk.more, upwards=upwards, size=size)
        given: list[int | None] = [far, step]
        for place, near in part:
            given += place
            given.append(near)
        given += [None] * ((size - len(part)) * (len(walk.at) + 1))
        (found,) = connection.execute(sql, given).fetchone()
        taken += _lists(found)[: len(part)]
    return taken


@lru_cache(128)
def _statement(table: str, at: tuple[str, ...], more: str, *, upwards: bool, size: int) -> str:
    """For so many places, each with the values of its columns and with where the walk stands."""
    between, order = ("?{near} and ?1", "asc") if upwards else ("?1 and ?{near}", "desc")
    walks = []
    for start in range(3, 3 + size * (len(at) + 1), len(at) + 1):
        place = " and ".join(f"x.{column} = ?{start + number}" for number, column in enumerate(at))
        walks.append(
            f"(select json_group_array(key) from (select x.key from {table} x where {place} and x.key"
            f" between {between.format(near=start + len(at))}{more} order by x.key {order} limit +?2) found)"
        )
    return f"select '[' || concat_ws(',', {', '.join(walks)}) || ']'"


def first_column(connection: Connection, sql: str, parameters: Sequence[int | str]) -> list[int]:
    (found,) = connection.execute(f"select json_group_array(key) from ({sql}) found", parameters).fetchone()
    return integers(found)


integers = msgspec.json.Decoder(list[int]).decode
_lists = msgspec.json.Decoder(list[list[int]]).decode
pairs = msgspec.json.Decoder(list[tuple[int, int]]).decode


def beyond(key: int, span: Span) -> Span:
    """What is left of a span after `key`."""
    return span._replace(low=key + 1) if span.upwards else span._replace(high=key - 1)


def numbers(values: Iterable[int]) -> str:
    """Integers need no escaping."""
    return ",".join(map(str, values))


def json_list(values: Iterable[int]) -> str:
    return f"[{numbers(values)}]"
