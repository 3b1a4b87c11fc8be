"""One write transaction of the event store: NIP-01 replacement, NIP-09, NIP-40 and NIP-62.

Regular events are gathered and inserted together. Whatever depends on events before it (a
replaceable event, a deletion) first lets those in, so that a batch ends as if its events had come
one by one. Nothing here commits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.event import decode_event, is_ephemeral
from meshconsole.core.kinds import DELETION, GATED_KINDS
from meshconsole.core.verdict import ACCEPTED, DUPLICATE, Verdict
from meshconsole.relay import retention
from meshconsole.relay.event import address, expiration, indexed_tags
from meshconsole.relay.keys import KeyedHash, created_at_of, key_range, neighbours, row_key, short_id
from meshconsole.relay.retention import is_versioned
from meshconsole.relay.store import Entry, Written

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from meshconsole.core.event import Event
    from meshconsole.relay.dbapi import Connection

FOR_EVER = (1 << 62) - 1
CHUNK = 500
"""Values in one IN list."""

FOR_GOOD = (retention.EXPIRED, retention.DELETED, retention.VANISHED, retention.SUPERSEDED)
"""Verdicts after which an event need not be offered again."""


class Authors:
    """Public keys as small integers. Only committed ones are remembered, and not too many."""

    LIMIT = 8192

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def number(self, connection: Connection, pubkey: str) -> int | None:
        found = self._known.get(pubkey)
        if found is None:
            row = connection.execute(
                "select author from authors where pubkey = ?", (bytes.fromhex(pubkey),)
            ).fetchone()
            if row is None:
                return None
            found = row[0]
            self.remember({pubkey: found})
        return found

    def remember(self, numbers: dict[str, int]) -> None:
        if len(self._known) + len(numbers) > self.LIMIT:
            self._known.clear()
        self._known.update(numbers)


class Writing:
    """Use once, inside BEGIN IMMEDIATE; then read `head`, `added`, `removed`, `expires`, `new_authors`."""

    def __init__(
        self,
        connection: Connection,
        hashes: KeyedHash,
        authors: Authors,
        *,
        head: int,
        now: int,
    ) -> None:
        self.head = head
        self.added = 0
        self.removed = 0
        self.expires: int | None = None
        """The earliest expiry among the new events."""
        self.new_authors: dict[str, int] = {}
        self._db = connection
        self._hashes = hashes
        self._authors = authors
        self._now = now
        self._first = head
        self._any_deletions = bool(
            connection.execute("select exists (select 1 from deletions)").fetchone()[0]
        )
        self._present: set[str] = set()
        """Those ids of the batch that are held at this point of it."""
        self._taken: set[int] = set()
        self._events: list[tuple[int, int, int, int, int]] = []
        self._bodies: list[tuple[int, bytes]] = []
        self._tags: list[tuple[int, int, int]] = []
        self._expirations: list[tuple[int, int]] = []
        self._refused: list[tuple[int, int]] = []

    def run(self, batch: Sequence[Entry]) -> list[Written]:
        self._present = known_ids(self._db, [entry.event.id for entry in batch])
        self._taken = self._occupied([row_key(entry.event) for entry in batch])
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

    def finish(self) -> None:
        """Writes what was gathered. `run` does it itself; after `remove` it must be called."""
        self._insert()
        self._db.executemany("insert or ignore into refused (short_id, at) values (?, ?)", self._refused)
        self._refused = []
        if self.head != self._first:
            self._db.execute("update relay_state set value = ? where name = 'head_seq'", (str(self.head),))

    def remove(self, key: int) -> int:
        """Takes an event out of every table and remembers its id as refused; returns its size.

        `key` must be in the tables, not among the gathered.
        """
        row = self._db.execute("select raw from bodies where key = ?", (key,)).fetchone()
        if row is None:
            return 0
        event = decode_event(row[0])
        self._db.execute("delete from events where key = ?", (key,))
        self._db.execute("delete from bodies where key = ?", (key,))
        self._db.execute("delete from expirations where key = ?", (key,))
        self._db.executemany(
            "delete from tags where hash = ? and key = ?",
            [(self._hashes.tag(letter, value), key) for letter, value in indexed_tags(event)],
        )
        if is_versioned(event.kind):
            place = self._hashes.address(address(event))
            self._db.execute("delete from addresses where hash = ? and key = ?", (place, key))
        self._taken.discard(key)
        self._present.discard(event.id)
        self._refused.append((short_id(event.id), self._now))
        self.removed += 1
        return len(row[0])

    def forbid(self, hashed: int, until: int) -> None:
        """Remembers a deletion, so that what it covers is refused whenever it comes."""
        self._any_deletions = True
        self._db.execute(
            "insert into deletions (hash, until) values (?, ?)"
            " on conflict (hash) do update set until = max(until, excluded.until)",
            (hashed, until),
        )

    def _add(self, entry: Entry) -> Verdict:
        event = entry.event
        if is_ephemeral(event.kind):
            return retention.NOT_STORED
        expires = expiration(event)
        if expires is not None and expires <= self._now:
            return retention.EXPIRED
        if self._any_deletions:
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
        key = self._free_key(event)
        self._taken.add(key)
        self.head += 1
        self.added += 1
        self._events.append((key, short_id(event.id), self._author(event.pubkey), event.kind, self.head))
        self._bodies.append((key, entry.raw))
        for letter, value in indexed_tags(event):
            self._tags.append((self._hashes.tag(letter, value), key, event.kind))
        if expires is not None:
            self._expirations.append((key, expires))
            self.expires = expires if self.expires is None else min(self.expires, expires)
        if is_versioned(event.kind):
            self._insert()
            place = self._hashes.address(address(event))
            self._db.execute("insert or replace into addresses (hash, key) values (?, ?)", (place, key))

    def _insert(self) -> None:
        if not self._events:
            return
        many = self._db.executemany
        many("insert into events (key, short_id, author, kind, seq) values (?, ?, ?, ?, ?)", self._events)
        many("insert into bodies (key, raw) values (?, ?)", self._bodies)
        many("insert or ignore into tags (hash, key, kind) values (?, ?, ?)", self._tags)
        many("insert into expirations (key, expires) values (?, ?)", self._expirations)
        self._events, self._bodies, self._tags, self._expirations = [], [], [], []

    def _author(self, pubkey: str) -> int:
        number = self.new_authors.get(pubkey) or self._authors.number(self._db, pubkey)
        if number is None:
            cursor = self._db.execute("insert into authors (pubkey) values (?)", (bytes.fromhex(pubkey),))
            number = self.new_authors[pubkey] = int(cursor.lastrowid)
        return number

    def _make_way(self, event: Event) -> bool:
        """Removes the version that `event` replaces. False when that one stays (NIP-01)."""
        self._insert()
        row = self._db.execute(
            "select a.key, substr(b.raw, 8, 64) from addresses a join bodies b on b.key = a.key"
            " where a.hash = ?",
            (self._hashes.address(address(event)),),
        ).fetchone()
        if row is None:
            return True
        old = created_at_of(row[0])
        if event.created_at < old or (event.created_at == old and event.id > row[1].decode()):
            return False
        self.remove(row[0])
        return True

    def _is_deleted(self, event: Event) -> bool:
        for owner in retention.owners(event):
            if self._until(self._hashes.deleted_id(owner, event.id)) >= 0:
                return True
        if not is_versioned(event.kind):
            return False
        return event.created_at <= self._until(self._hashes.deleted_address(address(event)))

    def _has_vanished(self, event: Event) -> bool:
        return any(
            event.created_at <= self._until(self._hashes.vanished(pubkey))
            for pubkey in retention.vanishing(event)
        )

    def _until(self, hashed: int) -> int:
        """The time up to which something is deleted, -1 when it is not."""
        row = self._db.execute("select until from deletions where hash = ?", (hashed,)).fetchone()
        return -1 if row is None else int(row[0])

    def _carry_out(self, deletion: Event) -> None:
        for event_id in retention.deleted_ids(deletion):
            self.forbid(self._hashes.deleted_id(deletion.pubkey, event_id), FOR_EVER)
            for key, event in self._named(event_id):
                if deletion.pubkey in retention.owners(event):
                    self.remove(key)
        for target in retention.deleted_addresses(deletion):
            self.forbid(self._hashes.deleted_address(target), deletion.created_at)
            place = self._hashes.address(target)
            row = self._db.execute("select key from addresses where hash = ?", (place,)).fetchone()
            if row is not None and created_at_of(row[0]) <= deletion.created_at:
                self.remove(row[0])

    def _vanish(self, request: Event) -> None:
        self.forbid(self._hashes.vanished(request.pubkey), request.created_at)
        _, highest = key_range(None, request.created_at)
        unvanishing = ",".join(map(str, sorted(retention.UNVANISHING)))
        gated = ",".join(map(str, sorted(GATED_KINDS)))
        author = self.new_authors.get(request.pubkey) or self._authors.number(self._db, request.pubkey)
        found = self._db.execute(
            f"select key from events where author = ? and key <= ? and kind not in ({unvanishing})"
            f" union select key from tags where hash = ? and key <= ? and kind in ({gated})",
            (author, highest, self._hashes.tag("p", request.pubkey), highest),
        ).fetchall()
        for (key,) in found:
            self.remove(key)

    def _named(self, event_id: str) -> list[tuple[int, Event]]:
        rows = self._db.execute(
            "select e.key, b.raw from events e join bodies b on b.key = e.key where e.short_id = ?",
            (short_id(event_id),),
        ).fetchall()
        found = ((key, decode_event(raw)) for key, raw in rows)
        return [(key, event) for key, event in found if event.id == event_id]

    def _free_key(self, event: Event) -> int:
        """The event's own key, or the nearest free one that keeps the order of ids."""
        key = row_key(event)
        if key not in self._taken:
            return key
        self._insert()
        row = self._db.execute("select substr(raw, 8, 64) from bodies where key = ?", (key,)).fetchone()
        upwards = row is not None and event.id < row[0].decode()
        for other in neighbours(key, upwards=upwards):
            if other not in self._taken and not self._occupied([other]):
                return other
        return key

    def _occupied(self, keys: Sequence[int]) -> set[int]:
        found: set[int] = set()
        for numbers in in_lists(keys):
            found.update(
                row[0] for row in self._db.execute(f"select key from events where key in ({numbers})")
            )
        return found


def known_ids(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those ids that are in the tables. The whole id is compared, not only its first 8 bytes."""
    found: set[str] = set()
    for numbers in in_lists([short_id(event_id) for event_id in ids]):
        rows = connection.execute(f"select key from events where short_id in ({numbers})").fetchall()
        for keys in in_lists([row[0] for row in rows]):
            bodies = connection.execute(f"select substr(raw, 8, 64) from bodies where key in ({keys})")
            found.update(row[0].decode() for row in bodies)
    return found.intersection(ids)


def settled_ids(connection: Connection, ids: Collection[str]) -> set[str]:
    """Those ids that are in the tables, or that were refused or removed for good."""
    found = known_ids(connection, list(ids))
    shorts = {short_id(event_id): event_id for event_id in ids}
    for numbers in in_lists(list(shorts)):
        rows = connection.execute(f"select short_id from refused where short_id in ({numbers})")
        found.update(shorts[row[0]] for row in rows)
    return found


def in_lists(numbers: Sequence[int]) -> Iterator[str]:
    """Integers as text, in chunks; integers need no escaping."""
    for start in range(0, len(numbers), CHUNK):
        yield ",".join(map(str, numbers[start : start + CHUNK]))
