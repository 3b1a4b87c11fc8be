"""How filters become SQL. Pure.

A filter is answered by *walks*: selects that yield row keys in order from one place of one index (a
tag value, an author's kind, a kind, the time line), each as far as the limit needs. `lateral` makes one
walk for each listed value. The planner gets no choice that could go wrong with the data: comparing and
ordering by the index's whole row leaves it that one index, where `author = 1 order by key` would also
let it search the time line for an author who may have written nothing for years.

All filters of a request become one statement: one snapshot, one round trip, one time budget.
Numbers travel as text with a cast, so that each shape of a request is prepared once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from meshconsole.core.kinds import GATED_KINDS
from meshconsole.relay.keys import MAX_KEY, KeyedHash, key_range
from meshconsole.relay.postgres.rows import author_hash, names, numbers, question

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from meshconsole.relay.filter import Filter

MAX_WALKS = 2000
"""Beyond so many pairs of author and kind the planner chooses."""

MAX_RANKED = 1000
"""Events that a search orders by how well they fit."""


class Span(NamedTuple):
    """Row keys from `low` to `high`, both included, in the direction of the walk."""

    low: int = 0
    high: int = MAX_KEY
    upwards: bool = False

    @property
    def order(self) -> str:
        return "asc" if self.upwards else "desc"


class Query(NamedTuple):
    """A statement, or a part of one, with its parameters in order."""

    sql: str
    parameters: tuple[str, ...] = ()


NOTHING = Query("select null::bigint as key, null::real as rank where false")
DOWNWARDS = Span()
UPWARDS = Span(upwards=True)


class Queries:
    """`now` decides what has expired (NIP-40), whether it was purged yet or not."""

    def __init__(self, hashes: KeyedHash, now: int) -> None:
        self._hashes = hashes
        self._now = now

    def ranked(self, wanted: Filter, limit: int) -> Query:
        """(key, rank) of the best `limit` events; rank is 0 where there is no search."""
        if limit <= 0 or wanted.impossible:
            return NOTHING
        if wanted.terms:
            return self._search(wanted, limit, DOWNWARDS, ranked=True)
        walks = [self._walk(part, limit, DOWNWARDS) for part in _ungated(wanted)]
        return _join(" union all ", (Query(f"({sql})", more) for sql, more in walks)) if walks else NOTHING

    def union(self, filters: Iterable[Filter], limit: int, span: Span, spared: Collection[str] = ()) -> Query:
        """(key) of the first `limit` events of a span that match any of the filters, each once, whatever
        the filters' limits. Events by `spared` authors do not match."""
        walks: list[Query] = []
        for wanted in filters:
            if wanted.impossible or limit <= 0:
                continue
            if wanted.terms:
                walks.append(self._search(wanted, limit, span, spared=spared))
            else:
                walks += (self._walk(part, limit, span, spared) for part in _ungated(wanted))
        if not walks:
            return Query("select null::bigint as key where false")
        inner = _join(" union all ", (Query(f"({sql})", more) for sql, more in walks))
        sql = f"select distinct key from ({inner.sql}) walks order by key {span.order} limit %s::bigint"
        return Query(sql, (*inner.parameters, str(limit)))

    def _walk(self, wanted: Filter, limit: int, span: Span, spared: Collection[str] = ()) -> Query:
        low, high = key_range(wanted.since, wanted.until)
        span = Span(max(low, span.low), min(high, span.high), span.upwards)
        if wanted.ids is not None:
            return self._by_ids(wanted, wanted.ids, limit, span, spared)
        if wanted.tags:
            return self._tag_walk(wanted, limit, span, spared)
        if wanted.authors is not None:
            return self._author_walk(wanted, wanted.authors, limit, span, spared)
        if wanted.kinds is not None:
            kinds = numbers(sorted(wanted.kinds - wanted.hidden))
            conditions = self._conditions(wanted, spared, kinds=False)
            return _lateral(
                Query("unnest(%s::int[]) p(kind)", (kinds,)), {"kind": "e.kind"}, conditions, span, limit
            )
        return _sorted("true", (), self._conditions(wanted, spared), span, limit)

    def _by_ids(
        self, wanted: Filter, ids: Collection[str], limit: int, span: Span, spared: Collection[str]
    ) -> Query:
        conditions = self._conditions(wanted, spared)
        # The offset and the sum keep the planner from searching the time line for them.
        sql = (
            "select key, 0::real as rank from (select e.key from mc_events e where e.id = any(%s::bytea[])"
            f" and e.key + 0 >= %s::bigint and e.key + 0 <= %s::bigint{conditions.sql} offset 0) named"
            f" order by key {span.order} limit %s::bigint"
        )
        bounds = (str(span.low), str(span.high))
        return Query(sql, (names(ids), *bounds, *conditions.parameters, str(limit)))

    def _author_walk(
        self, wanted: Filter, authors: Collection[str], limit: int, span: Span, spared: Collection[str]
    ) -> Query:
        hashed = numbers(author_hash(self._hashes, pubkey) for pubkey in authors)
        if wanted.kinds is None:
            places = Query("unnest(%s::bigint[]) p(author)", (hashed,))
            conditions = self._conditions(wanted, spared, authors=False)
            return _lateral(places, {"author": "(e.author # 0)"}, conditions, span, limit)
        kinds = sorted(wanted.kinds - wanted.hidden)
        if len(authors) * len(kinds) > MAX_WALKS:
            where = "e.author = any(%s::bigint[])"
            return _sorted(where, (hashed,), self._conditions(wanted, spared, authors=False), span, limit)
        pairs = "(select author, kind from unnest(%s::bigint[]) author cross join unnest(%s::int[]) kind) p"
        conditions = self._conditions(wanted, spared, authors=False, kinds=False)
        places = Query(pairs, (hashed, numbers(kinds)))
        columns = {"author": "e.author", "kind": "e.kind"}
        return _lateral(places, columns, conditions, span, limit)

    def _tag_walk(self, wanted: Filter, limit: int, span: Span, spared: Collection[str]) -> Query:
        """Along the tag with the fewest values; the other conditions are tested on each row."""
        (letter, values), *others = sorted(wanted.tags, key=lambda pair: len(pair[1]))
        rest = self._conditions(replace(wanted, tags=tuple(others)), spared, kinds=False)
        kinds = "" if wanted.kinds is None else " and t.kind = any(%s::int[])"
        sql = (
            "select k.key, 0::real as rank from unnest(%s::bigint[]) p(hash) cross join lateral ("
            "select t.key from mc_tags t where (t.hash, t.key) >= (p.hash, %s::bigint)"
            f" and (t.hash, t.key) <= (p.hash, %s::bigint){kinds}"
            f" and exists (select 1 from mc_events e where e.key = t.key{rest.sql} offset 0)"
            f" order by t.hash {span.order}, t.key {span.order} limit %s::bigint) k"
        )
        parameters = (
            numbers(self._hashes.tag(letter, value) for value in values),
            str(span.low),
            str(span.high),
            *(() if wanted.kinds is None else (numbers(sorted(wanted.kinds)),)),
            *rest.parameters,
            str(limit),
        )
        if len(values) == 1:
            return Query(sql, parameters)
        sql = f"select distinct key, rank from ({sql}) tagged order by key {span.order} limit %s::bigint"
        return Query(sql, (*parameters, str(limit)))

    def _search(
        self,
        wanted: Filter,
        limit: int,
        span: Span,
        *,
        ranked: bool = False,
        spared: Collection[str] = (),
    ) -> Query:
        """NIP-50. How often and how near to each other the words stand decides, then the time. Of words
        that are everywhere, the newest MAX_RANKED events are compared."""
        low, high = key_range(wanted.since, wanted.until)
        conditions = self._conditions(wanted, spared)
        ids = "" if wanted.ids is None else " and e.id = any(%s::bytea[])"
        asked = question(wanted.terms)
        sql = (
            "select b.key, 0::real as rank, b.words from mc_bodies b join mc_events e on e.key = b.key"
            " where b.words @@ %s::tsquery and b.key >= %s::bigint and b.key <= %s::bigint"
            f"{ids}{conditions.sql} order by b.key {span.order} limit %s::bigint"
        )
        parameters = (
            asked,
            str(max(low, span.low)),
            str(min(high, span.high)),
            *(() if wanted.ids is None else (names(wanted.ids),)),
            *conditions.parameters,
        )
        if not ranked:
            return Query(f"select key, rank from ({sql}) matching", (*parameters, str(limit)))
        sql = (
            f"select key, ts_rank_cd(words, %s::tsquery, 1) as rank from ({sql}) matching"
            " order by rank desc, key desc limit %s::bigint"
        )
        return Query(sql, (asked, *parameters, str(max(limit, MAX_RANKED)), str(limit)))

    def _conditions(
        self, wanted: Filter, spared: Collection[str], *, authors: bool = True, kinds: bool = True
    ) -> Query:
        """What a row `e` must fulfil beside its place in an index; without what that place says."""
        parts = [Query(" and (e.expires is null or e.expires > %s::bigint)", (str(self._now),))]
        if kinds and wanted.kinds is not None:
            parts.append(Query(" and e.kind = any(%s::int[])", (numbers(sorted(wanted.kinds)),)))
        if wanted.hidden:
            parts.append(Query(" and e.kind <> all(%s::int[])", (numbers(sorted(wanted.hidden)),)))
        if authors and wanted.authors is not None:
            hashed = numbers(author_hash(self._hashes, pubkey) for pubkey in wanted.authors)
            parts.append(Query(" and e.author = any(%s::bigint[])", (hashed,)))
        for letter, values in wanted.tags:
            hashed = numbers(self._hashes.tag(letter, value) for value in values)
            parts.append(Query(" and e.tags && %s::bigint[]", (hashed,)))
        if wanted.addressed is not None:
            hashed = numbers(self._hashes.tag("p", pubkey) for pubkey in wanted.addressed)
            gated = numbers(sorted(GATED_KINDS))
            condition = " and (e.kind <> all(%s::int[]) or e.tags && %s::bigint[])"
            parts.append(Query(condition, (gated, hashed)))
        if spared:
            hashed = numbers(author_hash(self._hashes, pubkey) for pubkey in spared)
            parts.append(Query(" and e.author <> all(%s::bigint[])", (hashed,)))
        return _join("", parts)


def _lateral(places: Query, columns: dict[str, str], conditions: Query, span: Span, limit: int) -> Query:
    """A walk of an index of mc_events for each of the places that it begins with. `columns` are the
    index's, by their names in `places`."""
    index = ", ".join(columns.values())
    place = ", ".join(f"p.{name}" for name in columns)
    order = ", ".join(f"{column} {span.order}" for column in (*columns.values(), "e.key"))
    sql = (
        f"select k.key, 0::real as rank from {places.sql} cross join lateral ("
        f"select e.key from mc_events e where ({index}, e.key) >= ({place}, %s::bigint)"
        f" and ({index}, e.key) <= ({place}, %s::bigint){conditions.sql}"
        f" order by {order} limit %s::bigint) k order by k.key {span.order} limit %s::bigint"
    )
    bounds = (str(span.low), str(span.high))
    return Query(sql, (*places.parameters, *bounds, *conditions.parameters, str(limit), str(limit)))


def _sorted(where: str, values: tuple[str, ...], conditions: Query, span: Span, limit: int) -> Query:
    sql = (
        f"select e.key, 0::real as rank from mc_events e where {where} and e.key >= %s::bigint"
        f" and e.key <= %s::bigint{conditions.sql} order by e.key {span.order} limit %s::bigint"
    )
    return Query(sql, (*values, str(span.low), str(span.high), *conditions.parameters, str(limit)))


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


def _join(between: str, parts: Iterable[Query]) -> Query:
    parts = list(parts)
    sql = between.join(part.sql for part in parts)
    return Query(sql, tuple(value for part in parts for value in part.parameters))
