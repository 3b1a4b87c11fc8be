"""One write transaction on PostgreSQL.

It begins by locking the one row of mc_state and holds it to its end: writers of all processes take
turns, each sees all that the one before it did, and a higher seq is never visible before a lower one
(docs/decisions). So everything a batch depends on is read in one round trip, and everything it does
is written in another, which ends with the commit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from meshconsole.core.kinds import GATED_KINDS
from meshconsole.core.verdict import ACCEPTED
from meshconsole.relay import retention
from meshconsole.relay.keys import MAX_KEY, key_range
from meshconsole.relay.postgres.plan import AROUND, Known, Needs, Plan, needs
from meshconsole.relay.postgres.rows import Held, author_hash, names, numbers, texts
from meshconsole.relay.postgres.schema import TABLES
from meshconsole.relay.store import Removed

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from psycopg import Cursor

    from meshconsole.relay.keys import KeyedHash
    from meshconsole.relay.postgres.connecting import Connection
    from meshconsole.relay.store import Entry, Written

_LOCK_STATE = "select head_seq, events, bytes from mc_state for update"

_HELD = "select key, id, author, kind, place, tags from mc_events where "

_REMOVE = """
with gone as (delete from mc_events e where {} returning key, id, size, tags),
bodies as (delete from mc_bodies b using gone where b.key = gone.key),
tags as (
    delete from mc_tags t using (select key, unnest(tags) as hash from gone) g
    where t.hash = g.hash and t.key = g.key
),
refused as (insert into mc_refused select id, %s::bigint from gone on conflict do nothing)
select count(*), coalesce(sum(size), 0) from gone
"""

_REMOVE_KEYS = _REMOVE.format("e.key = any(%s::bigint[])")
_REMOVE_VANISHED = _REMOVE.format(
    "(e.author = %s::bigint and e.key <= %s::bigint and e.kind <> all(%s::int[]))"
    " or e.key in (select key from mc_tags"
    " where hash = %s::bigint and key <= %s::bigint and kind = any(%s::int[]))"
)

_INSERT_EVENTS = """
insert into mc_events (key, id, author, kind, seq, size, place, expires, tags)
select k, i, a, n, s, z, p, x, t::bigint[] from unnest(
    %s::bigint[], %s::bytea[], %s::bigint[], %s::int[], %s::bigint[], %s::int[], %s::bigint[],
    %s::bigint[], %s::text[]
) as row(k, i, a, n, s, z, p, x, t)
"""
_INSERT_BODIES = """
insert into mc_bodies (key, raw, words)
select k, r, w::tsvector from unnest(%s::bigint[], %b::bytea[], %s::text[]) as row(k, r, w)
"""
_INSERT_TAGS = """
insert into mc_tags (hash, key, kind)
select h, k, n from unnest(%s::bigint[], %s::bigint[], %s::int[]) as row(h, k, n)
"""
_FORBID = """
insert into mc_deletions (hash, until) select h, u from unnest(%s::bigint[], %s::bigint[]) as row(h, u)
on conflict (hash) do update set until = greatest(mc_deletions.until, excluded.until)
"""
_REFUSE = "insert into mc_refused select i, %s::bigint from unnest(%s::bytea[]) as i on conflict do nothing"

_UPDATE_STATE = "update mc_state set head_seq = %s::bigint, events = %s::bigint, bytes = %s::bigint"


class State(NamedTuple):
    """The row of mc_state."""

    head: int
    events: int
    bytes: int


class Writing:
    """A transaction on a connection that is not in autocommit mode. Used by one thread, once.

    `begin` takes the turn. Nothing is there for others before `commit` has returned. Raises what the
    library raises; then the caller rolls back.
    """

    def __init__(self, connection: Connection, hashes: KeyedHash, *, now: int) -> None:
        self.state = State(0, 0, 0)
        self._db = connection
        self._hashes = hashes
        self._now = now
        self._first: tuple[Sequence[Entry], Known] | None = None
        self._done = State(0, 0, 0)

    def begin(self, segment: Sequence[Entry] = ()) -> None:
        """Takes the turn, and reads the state and what `segment` depends on."""
        with self._db.pipeline():
            state = self._db.execute(_LOCK_STATE)
            asked = self._ask(needs(segment, self._hashes)) if segment else None
            self.state = self._done = State(*state.fetchall()[0])
            if asked is not None:
                self._first = (segment, self._answered(*asked))

    def run(self, segment: Sequence[Entry]) -> list[Written]:
        """Judges a part of the batch and writes what follows from it."""
        known = self._known(segment)
        plan = Plan(self._hashes, known, head=self._done.head, now=self._now)
        written = plan.run(segment)
        gone: list[Cursor[Any]] = []
        with self._db.pipeline():
            if segment[0].vanish and written[0].verdict is ACCEPTED:
                gone.append(self._vanish(segment[0]))
            if plan.removed:
                gone.append(self._db.execute(_REMOVE_KEYS, (numbers(plan.removed), str(self._now))))
            self._insert(plan)
            removed = [Removed(*cursor.fetchall()[0]) for cursor in gone]
        self._done = State(
            plan.head,
            self._done.events + len(plan.rows) - sum(part.count for part in removed),
            self._done.bytes
            + sum(len(row.raw) for row in plan.rows.values())
            - sum(int(part.bytes) for part in removed),
        )
        return written

    def remove(self, keys: Collection[int]) -> Removed:
        """Takes events out of every table and remembers their ids as refused."""
        row = self._db.execute(_REMOVE_KEYS, (numbers(keys), str(self._now))).fetchall()[0]
        removed = Removed(int(row[0]), int(row[1]))
        self._done = State(
            self._done.head, self._done.events - removed.count, self._done.bytes - removed.bytes
        )
        return removed

    def forbid(self, deletions: dict[int, int]) -> None:
        """Remembers deletions by hash and time, so that what they cover is refused whenever it comes."""
        if deletions:
            self._db.execute(_FORBID, (numbers(deletions), numbers(deletions.values())))

    def forget_refused(self, until: int) -> None:
        """Refused ids of that time and before."""
        self._db.execute("delete from mc_refused where at <= %s::bigint", (str(until),))

    def commit(self, channel: str) -> State:
        """Durable when it returns. Whoever listens on `channel` hears of a new head."""
        with self._db.pipeline():
            if self._done != self.state:
                self._db.execute(_UPDATE_STATE, _strings(*self._done))
            if self._done.head != self.state.head:
                self._db.execute("select pg_notify(%s, %s)", (channel, str(self._done.head)))
            self._db.commit()
        return self._done

    def _known(self, segment: Sequence[Entry]) -> Known:
        if self._first is not None and self._first[0] is segment:
            return self._first[1]
        with self._db.pipeline():
            return self._answered(*self._ask(needs(segment, self._hashes)))

    def _ask(self, wanted: Needs) -> tuple[Cursor[Any], Cursor[Any] | None, Cursor[Any], Cursor[Any]]:
        execute = self._db.execute
        return (
            execute(_HELD + "id = any(%s::bytea[])", (names(wanted.ids),)),
            execute(_HELD + "place = any(%s::bigint[])", (numbers(wanted.places),))
            if wanted.places
            else None,
            execute(
                "select hash, until from mc_deletions where hash = any(%s::bigint[])",
                (numbers(wanted.deletions),),
            ),
            execute("select key, id from mc_events where key = any(%s::bigint[])", (numbers(wanted.keys),)),
        )

    def _answered(
        self, by_id: Cursor[Any], by_place: Cursor[Any] | None, deletions: Cursor[Any], keys: Cursor[Any]
    ) -> Known:
        rows = by_id.fetchall() + (by_place.fetchall() if by_place is not None else [])
        return Known(
            [Held(row[0], row[1].hex(), row[2], row[3], row[4], tuple(row[5])) for row in rows],
            dict(deletions.fetchall()),
            {key: name.hex() for key, name in keys.fetchall()},
            self._around,
        )

    def _around(self, key: int) -> dict[int, str]:
        rows = self._db.execute(
            "select key, id from mc_events where key >= %s::bigint and key < %s::bigint",
            _strings(key, min(key + AROUND, MAX_KEY)),
        )
        return {key: name.hex() for key, name in rows.fetchall()}

    def _vanish(self, entry: Entry) -> Cursor[Any]:
        pubkey, until = entry.event.pubkey, key_range(None, entry.event.created_at)[1]
        return self._db.execute(
            _REMOVE_VANISHED,
            (
                str(author_hash(self._hashes, pubkey)),
                str(until),
                numbers(retention.UNVANISHING),
                str(self._hashes.tag("p", pubkey)),
                str(until),
                numbers(GATED_KINDS),
                str(self._now),
            ),
        )

    def _insert(self, plan: Plan) -> None:
        rows = list(plan.rows.values())
        execute = self._db.execute
        if rows:
            keys = numbers(row.key for row in rows)
            execute(
                _INSERT_EVENTS,
                (
                    keys,
                    names(row.id for row in rows),
                    numbers(row.author for row in rows),
                    numbers(row.kind for row in rows),
                    numbers(row.seq for row in rows),
                    numbers(len(row.raw) for row in rows),
                    numbers(row.place for row in rows),
                    numbers(row.expires for row in rows),
                    texts(numbers(row.tags) for row in rows),
                ),
            )
            execute(_INSERT_BODIES, (keys, [row.raw for row in rows], texts(row.words for row in rows)))
            tags = [(tag, row.key, row.kind) for row in rows for tag in row.tags]
            if tags:
                execute(_INSERT_TAGS, tuple(map(numbers, zip(*tags, strict=True))))
        self.forbid(plan.deletions)
        if plan.settled:
            execute(_REFUSE, (str(self._now), names(plan.settled)))


def _strings(*values: int) -> tuple[str, ...]:
    """Numbers as text: the statement gives them their type, so that it is prepared only once."""
    return tuple(map(str, values))


def look(connection: Connection) -> tuple[int, State]:
    """Bytes that the tables take on the disk, and the state, without taking a turn."""
    row = connection.execute("select head_seq, events, bytes from mc_state").fetchall()[0]
    return disk_bytes(connection), State(*row)


def disk_bytes(connection: Connection) -> int:
    tables = ", ".join(f"('{table}')" for table in TABLES)
    sql = f"select sum(pg_total_relation_size(name::regclass)) from (values {tables}) t(name)"
    return int(connection.execute(sql.encode()).fetchall()[0][0])
