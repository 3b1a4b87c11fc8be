"""One write transaction of the event store: NIP-01 replacement, NIP-09, NIP-40 and NIP-62.

Events are gathered and inserted together. Whatever depends on events before it (a deletion, a newer
version of what is gathered) first lets those in, so that a batch ends as if its events had come one by
one. Nothing here commits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.event import decode_event, is_ephemeral
from meshconsole.core.kinds import DELETION, GATED_KINDS
from meshconsole.core.verdict import ACCEPTED, DUPLICATE, Verdict
from meshconsole.crypto.database import ConstraintError
from meshconsole.relay import retention
from meshconsole.relay.event import address, expiration, indexed_tags
from meshconsole.relay.keys import (
    KeyedHash,
    created_at_of,
    id_bytes,
    key_range,
    neighbours,
    parts_of_id,
    row_key,
    short_id,
)
from meshconsole.relay.known import known_ids
from meshconsole.relay.many import in_lists, insert_rows, json_lists
from meshconsole.relay.retention import is_versioned
from meshconsole.relay.searching import SEARCHABLE, row_by_second, row_by_seq
from meshconsole.relay.store import Entry, Removed, Written
from meshconsole.relay.walks import numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence, Set

    from meshconsole.core.event import Event
    from meshconsole.relay.authors import Authors
    from meshconsole.relay.dbapi import Connection
    from meshconsole.relay.newest import Newest

FOR_EVER = (1 << 62) - 1
FOR_GOOD = (retention.EXPIRED, retention.DELETED, retention.VANISHED, retention.SUPERSEDED)
"""Verdicts after which an event need not be offered again."""


class KeyTaken(Exception):
    """Another event has the row key of one in the batch. Nothing was written; see `Writing.look_up_keys`."""


_UNINDEX = (
    "delete from words where rowid = (select"
    " case when exists (select 1 from words_docsize where id = ?1) then ?1"
    " when ?3 <= (select cast(value as int) from relay_state where name = 'indexed_seq') then ?2 end)"
)
"""By place in the log or by second. What was not indexed yet has neither, and its second may be another's."""


class Writing:
    """Use once, inside BEGIN IMMEDIATE; then read `head`, `added`, `removed`, `gone`, `expires`,
    `any_deletions` and `new_authors`. `any_deletions` says whether anything was ever forbidden."""

    def __init__(
        self,
        connection: Connection,
        hashes: KeyedHash,
        authors: Authors,
        newest: Newest,
        now: int,
        *,
        any_deletions: bool,
    ) -> None:
        self._newest = newest
        self.any_deletions = any_deletions
        self.head = newest.head
        self.added = 0
        self.removed = 0
        self.gone: list[int] = []
        """Row keys of what was removed."""
        self.expires: int | None = None
        """The earliest expiry among the new events."""
        self.new_authors: dict[str, int] = {}
        self._db = connection
        self._hashes = hashes
        self._authors = authors
        self._now = now
        self._first = newest.head
        self._deleted_until: dict[int, int] = {}
        """Of what the batch asks about: up to which time something is deleted."""
        self._present: set[str] = set()
        """Those ids of the batch that are held at this point of it."""
        self._taken: set[int] = set()
        """Row keys of the batch that events have; those of the tables only when they were looked up."""
        self._has_looked = False
        self._events: list[tuple[int, int, bytes, int, int, int]] = []
        self._bodies: list[tuple[int, bytes]] = []
        self._tags: list[tuple[int, int, int]] = []
        self._expirations: list[tuple[int, int]] = []
        self._addresses: dict[int, int] = {}
        self._refused: list[tuple[int, int]] = []

    def look_up_keys(self, batch: Sequence[Entry]) -> None:
        """Before `run`, after it has raised KeyTaken: for one event in millions. To look first each time
        would cost as much as a third of the insertions."""
        self._taken = self._occupied([row_key(entry.event) for entry in batch])
        self._has_looked = True

    def run(self, batch: Sequence[Entry]) -> list[Written]:
        """Raises KeyTaken."""
        self._present = known_ids(self._db, [entry.event.id for entry in batch])
        self._look_up_deletions(batch)
        written = []
        for entry in batch:
            if entry.event.id in self._present:
                written.append(Written(DUPLICATE, 0))
                continue
            verdict = self._add(entry)
            written.append(Written(verdict, self.head if verdict is ACCEPTED else 0))
            if verdict is ACCEPTED:
                self._present.add(entry.event.id)
            elif verdict in FOR_GOOD:
                self._refused.append((short_id(entry.event.id), self._now))
        self.finish()
        return written

    def foresee(self, batch: Sequence[Entry], ahead: Set[str]) -> list[Verdict] | None:
        """What `run` will say of plain events, after others with the ids `ahead`, without writing anything.
        None where it will refuse one for good, which is to be remembered."""
        self._present = known_ids(self._db, [entry.event.id for entry in batch])
        self._look_up_deletions(batch)
        verdicts: list[Verdict] = []
        for entry in batch:
            event = entry.event
            if event.id in self._present or event.id in ahead:
                verdicts.append(DUPLICATE)
                continue
            if self.any_deletions and (self._is_deleted(event) or self._has_vanished(event)):
                return None
            verdicts.append(ACCEPTED)
            self._present.add(event.id)
        return verdicts

    def finish(self) -> None:
        """Writes what was gathered. `run` does it itself; after `remove` it must be called."""
        self._insert()
        if self._refused:
            self._db.executemany("insert or ignore into refused (short_id, at) values (?, ?)", self._refused)
            self._refused = []
        if self.head != self._first:
            self._db.execute("update relay_state set value = ? where name = 'head_seq'", (str(self.head),))

    def remove(self, keys: Sequence[int]) -> Removed:
        """Takes events out of every table and remembers their ids as refused.

        `keys` must be in the tables, not among the gathered.
        """
        count = size = 0
        for listed in in_lists(keys):
            rows = self._db.execute(
                "select e.key, e.seq, e.kind, e.author, b.raw from events e join bodies b on b.key = e.key"
                f" where e.key in ({listed})"
            ).fetchall()
            self._newest.removed((author, kind) for _, _, kind, author, _ in rows)
            tags: list[tuple[int, int, int]] = []
            addresses: list[tuple[int, int]] = []
            words: list[tuple[int, int, int]] = []
            for key, seq, kind, _, raw in rows:
                event = decode_event(raw)
                tags += ((self._hashes.tag(*tag), kind, key) for tag in indexed_tags(event))
                if is_versioned(kind):
                    addresses.append((self._hashes.address(address(event)), key))
                if kind in SEARCHABLE:
                    by_seq = row_by_seq(seq, event.content)
                    words.append((by_seq, row_by_second(created_at_of(key), event.content), seq))
                self._present.discard(event.id)
                self._refused.append((short_id(event.id), self._now))
                size += len(raw)
            many = self._db.executemany
            many("delete from tags where hash = ? and kind = ? and key = ?", tags)
            many("delete from addresses where hash = ? and key = ?", addresses)
            many(_UNINDEX, words)
            for table in ("events", "bodies", "expirations"):
                self._db.execute(f"delete from {table} where key in ({listed})")
            self._taken.difference_update(row[0] for row in rows)
            self.gone += (row[0] for row in rows)
            count += len(rows)
        self.removed += count
        return Removed(count, size)

    def forbid(self, hashed: int, until: int) -> None:
        """Remembers a deletion, so that what it covers is refused whenever it comes."""
        self.any_deletions = True
        self._deleted_until[hashed] = max(until, self._deleted_until.get(hashed, -1))
        self._db.execute(
            "insert into deletions (hash, until) values (?, ?)"
            " on conflict (hash) do update set until = max(until, excluded.until)",
            (hashed, until),
        )

    def purge(self, before: int, count: int) -> int:
        """Removes at most `count` events that expired by then. Returns how many."""
        rows = self._db.execute(
            "select x.key, b.raw from expirations x join bodies b on b.key = x.key"
            " where x.expires <= ? limit +?",
            (before, count),
        ).fetchall()
        for key, raw in rows:
            event = decode_event(raw)
            if is_versioned(event.kind):
                # An older version that still goes round must not take the place.
                self.forbid(self._hashes.deleted_address(address(event)), created_at_of(key))
        self.remove([key for key, _ in rows])
        self.finish()
        return len(rows)

    def forget_refused(self, until: int, count: int) -> int:
        """At most `count` ids that were refused before then. Returns how many."""
        oldest = "select short_id from refused where at < ? limit +?"
        self._db.execute(f"delete from refused where short_id in ({oldest})", (until, count))
        return int(self._db.execute("select changes()").fetchone()[0])

    def _add(self, entry: Entry) -> Verdict:
        event = entry.event
        if is_ephemeral(event.kind):
            return retention.NOT_STORED
        expires = expiration(event)
        if expires is not None and expires <= self._now:
            return retention.EXPIRED
        if self.any_deletions:
            if self._is_deleted(event):
                return retention.DELETED
            if self._has_vanished(event):
                return retention.VANISHED
        if is_versioned(event.kind):
            if not self._make_way(event):
                return retention.SUPERSEDED
        elif event.kind == DELETION:
            self._insert()
            self._carry_out(event)
        elif entry.vanish:
            self._insert()
            self._vanish(event)
        self._gather(entry, expires)
        return ACCEPTED

    def _gather(self, entry: Entry, expires: int | None) -> None:
        event = entry.event
        kind = event.kind
        key = self._free_key(event)
        self._taken.add(key)
        self.head += 1
        self.added += 1
        author = self._author(event.pubkey)
        self._events.append((key, *parts_of_id(event.id), author, kind, self.head))
        self._bodies.append((key, entry.raw))
        for letter, value in indexed_tags(event):
            self._tags.append((self._hashes.tag(letter, value), kind, key))
        if expires is not None:
            self._expirations.append((key, expires))
            self.expires = expires if self.expires is None else min(self.expires, expires)
        if is_versioned(kind):
            self._addresses[self._hashes.address(address(event))] = key

    def _insert(self) -> None:
        if not self._events:
            return
        try:
            insert_rows(
                self._db, "insert into events (key, short_id, rest, author, kind, seq)", 6, self._events
            )
        except ConstraintError as error:
            if self._has_looked:
                raise
            raise KeyTaken from error
        self._newest.added((key, author, kind) for key, _, _, author, kind, _ in self._events)
        insert_rows(self._db, "insert into bodies (key, raw)", 2, self._bodies)
        insert_rows(self._db, "insert or ignore into tags (hash, kind, key)", 3, self._tags)
        insert_rows(self._db, "insert into expirations (key, expires)", 2, self._expirations)
        insert_rows(
            self._db, "insert or replace into addresses (hash, key)", 2, list(self._addresses.items())
        )
        self._events, self._bodies, self._tags, self._expirations = [], [], [], []
        self._addresses = {}

    def _author(self, pubkey: str) -> int:
        number = self._number(pubkey)
        if number is None:
            cursor = self._db.execute("insert into authors (pubkey) values (?)", (bytes.fromhex(pubkey),))
            number = self.new_authors[pubkey] = int(cursor.lastrowid)
        return number

    def _number(self, pubkey: str) -> int | None:
        return self.new_authors.get(pubkey) or self._authors.number(self._db, pubkey)

    def _make_way(self, event: Event) -> bool:
        """Removes the version that `event` replaces. False when that one stays (NIP-01)."""
        place = self._hashes.address(address(event))
        if place in self._addresses:
            self._insert()
        row = self._db.execute(
            "select e.key, e.short_id, e.rest from addresses a join events e on e.key = a.key"
            " where a.hash = ?",
            (place,),
        ).fetchone()
        if row is None:
            return True
        old = created_at_of(row[0])
        if event.created_at < old or (event.created_at == old and event.id > id_bytes(*row[1:]).hex()):
            return False
        self.remove([row[0]])
        return True

    def _look_up_deletions(self, batch: Sequence[Entry]) -> None:
        if self.any_deletions:
            hashes = {hashed for entry in batch for hashed in self._deleting(entry.event)}
            for listed in in_lists(list(hashes)):
                self._deleted_until.update(
                    self._db.execute(f"select hash, until from deletions where hash in ({listed})")
                )

    def _deleting(self, event: Event) -> Iterator[int]:
        """Under which hashes there may be something that forbids the event."""
        for owner in retention.owners(event):
            yield self._hashes.deleted_id(owner, event.id)
        for pubkey in retention.vanishing(event):
            yield self._hashes.vanished(pubkey)
        if is_versioned(event.kind):
            yield self._hashes.deleted_address(address(event))

    def _is_deleted(self, event: Event) -> bool:
        for owner in retention.owners(event):
            if self._hashes.deleted_id(owner, event.id) in self._deleted_until:
                return True
        if not is_versioned(event.kind):
            return False
        until = self._deleted_until.get(self._hashes.deleted_address(address(event)), -1)
        return event.created_at <= until

    def _has_vanished(self, event: Event) -> bool:
        return any(
            event.created_at <= self._deleted_until.get(self._hashes.vanished(pubkey), -1)
            for pubkey in retention.vanishing(event)
        )

    def _carry_out(self, deletion: Event) -> None:
        for event_id in retention.deleted_ids(deletion):
            self.forbid(self._hashes.deleted_id(deletion.pubkey, event_id), FOR_EVER)
            named = self._named(event_id)
            self.remove([key for key, event in named if deletion.pubkey in retention.owners(event)])
        for target in retention.deleted_addresses(deletion):
            self.forbid(self._hashes.deleted_address(target), deletion.created_at)
            place = self._hashes.address(target)
            row = self._db.execute("select key from addresses where hash = ?", (place,)).fetchone()
            if row is not None and created_at_of(row[0]) <= deletion.created_at:
                self.remove([row[0]])

    def _vanish(self, request: Event) -> None:
        self.forbid(self._hashes.vanished(request.pubkey), request.created_at)
        _, highest = key_range(None, request.created_at)
        found = self._db.execute(
            "select key from events where author = ? and key <= ?"
            f" and kind not in ({numbers(retention.UNVANISHING)})"
            f" union select key from tags where hash = ? and key <= ? and kind in ({numbers(GATED_KINDS)})",
            (self._number(request.pubkey), highest, self._hashes.tag("p", request.pubkey), highest),
        ).fetchall()
        self.remove([row[0] for row in found])

    def _named(self, event_id: str) -> list[tuple[int, Event]]:
        rows = self._db.execute(
            "select e.key, b.raw from events e join bodies b on b.key = e.key"
            " where e.short_id = ? and e.rest = ?",
            parts_of_id(event_id),
        ).fetchall()
        return [(key, decode_event(raw)) for key, raw in rows]

    def _free_key(self, event: Event) -> int:
        """The event's own key, or the nearest free one that keeps the order of ids."""
        key = row_key(event)
        if key not in self._taken:
            return key
        self._insert()
        row = self._db.execute("select short_id, rest from events where key = ?", (key,)).fetchone()
        upwards = row is not None and event.id < id_bytes(*row).hex()
        for other in neighbours(key, upwards=upwards):
            if other not in self._taken and not self._occupied([other]):
                return other
        return key

    def _occupied(self, keys: Sequence[int]) -> set[int]:
        sql = "select e.key from json_each(?) k cross join events e on e.key = k.value"
        return {row[0] for part in json_lists(keys) for row in self._db.execute(sql, (part,))}
