"""What a batch of events does to the tables: NIP-01 replacement, NIP-09, NIP-40 and NIP-62. Pure.

All that the batch depends on is read before, at once (`needs`, `Known`); then the events are judged
one by one against that and against each other, so that the batch ends as if they had come alone.
What is left is a few statements, however many events there are. Requests to vanish reach what is not
read here: they are a batch of their own (writing.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshconsole.core.event import is_ephemeral
from meshconsole.core.kinds import DELETION, GATED_KINDS
from meshconsole.core.verdict import ACCEPTED, DUPLICATE, Verdict
from meshconsole.relay import retention
from meshconsole.relay.event import address, expiration
from meshconsole.relay.keys import created_at_of, neighbours, row_key
from meshconsole.relay.postgres.rows import Held, Row, author_hash, make_row, place_of
from meshconsole.relay.store import Entry, Written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from meshconsole.core.event import Event
    from meshconsole.relay.keys import KeyedHash

MAX_NAMED = 5000
FOR_EVER = (1 << 62) - 1
FOR_GOOD = (retention.EXPIRED, retention.DELETED, retention.VANISHED, retention.SUPERSEDED)


@dataclass(slots=True)
class Needs:
    """What must be read before a batch can be judged."""

    ids: set[str] = field(default_factory=set)
    places: set[int] = field(default_factory=set)
    deletions: set[int] = field(default_factory=set)
    keys: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Known:
    """What was read. `keys` says which event has a key; `around` reads those near one key."""

    held: list[Held]
    until: dict[int, int]
    keys: dict[int, str]
    around: Callable[[int], dict[int, str]]


def segments(batch: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """The batch in parts that are judged one after the other: a request to vanish stands alone, and what
    deletions name together is bounded."""
    start = named = 0
    for number, entry in enumerate(batch):
        named += len(entry.event.tags) if entry.event.kind == DELETION else 0
        if entry.vanish or named > MAX_NAMED:
            if number > start:
                yield batch[start:number]
            start, named = number, 0
        if entry.vanish:
            yield batch[number : number + 1]
            start = number + 1
    if start < len(batch):
        yield batch[start:]


def needs(batch: Sequence[Entry], hashes: KeyedHash) -> Needs:
    wanted = Needs()
    for event, _, _ in batch:
        wanted.ids.add(event.id)
        wanted.keys.add(row_key(event))
        wanted.deletions.update(hashes.deleted_id(owner, event.id) for owner in retention.owners(event))
        wanted.deletions.update(map(hashes.vanished, retention.vanishing(event)))
        if retention.is_versioned(event.kind):
            wanted.deletions.add(_deleted_place(hashes, event))
            wanted.places.add(_place(hashes, event))
        elif event.kind == DELETION:
            wanted.ids.update(retention.deleted_ids(event))
            wanted.places.update(map(hashes.address, retention.deleted_addresses(event)))
    return wanted


class Plan:
    """Use once: `run`, then carry out `removed`, `rows`, `deletions` and `settled`, in this order."""

    def __init__(self, hashes: KeyedHash, known: Known, *, head: int, now: int) -> None:
        self.head = head
        self.rows: dict[int, Row] = {}
        self.removed: set[int] = set()
        """Keys of what is in the tables and goes."""
        self.deletions: dict[int, int] = {}
        self.settled: set[str] = set()
        """Ids that were refused or removed for good."""
        self._hashes = hashes
        self._now = now
        self._around = known.around
        self._until = known.until
        self._held = {held.id: held for held in known.held}
        self._places = {held.place: held for held in known.held if held.place is not None}
        self._keys = dict(known.keys)

    def run(self, batch: Sequence[Entry]) -> list[Written]:
        return [self._take(entry) for entry in batch]

    def _take(self, entry: Entry) -> Written:
        if entry.event.id in self._held:
            return Written(DUPLICATE, 0)
        verdict = self._judge(entry)
        if verdict in FOR_GOOD:
            self.settled.add(entry.event.id)
        return Written(verdict, self.head if verdict is ACCEPTED else 0)

    def _judge(self, entry: Entry) -> Verdict:
        event = entry.event
        if is_ephemeral(event.kind):
            return retention.NOT_STORED
        expires = expiration(event)
        if expires is not None and expires <= self._now:
            return retention.EXPIRED
        if self._is_deleted(event):
            return retention.DELETED
        if self._has_vanished(event):
            return retention.VANISHED
        if retention.is_versioned(event.kind):
            if not self._make_way(event):
                return retention.SUPERSEDED
        elif event.kind == DELETION:
            self._carry_out(event)
        elif entry.vanish:
            self._forbid(self._hashes.vanished(event.pubkey), event.created_at)
        self._gather(entry, expires)
        return ACCEPTED

    def _gather(self, entry: Entry, expires: int | None) -> None:
        self.head += 1
        key = self._free_key(entry.event)
        row = make_row(entry, self._hashes, key=key, seq=self.head, expires=expires)
        self.rows[key] = row
        self._keys[key] = row.id
        held = Held(key, row.id, row.author, row.kind, row.place, row.tags)
        self._held[row.id] = held
        if row.place is not None:
            self._places[row.place] = held

    def _make_way(self, event: Event) -> bool:
        """Removes the version that `event` replaces. False when that one stays (NIP-01)."""
        old = self._places.get(_place(self._hashes, event))
        if old is None:
            return True
        before = created_at_of(old.key)
        if event.created_at < before or (event.created_at == before and event.id > old.id):
            return False
        self._remove(old)
        return True

    def _is_deleted(self, event: Event) -> bool:
        for owner in retention.owners(event):
            if self._until.get(self._hashes.deleted_id(owner, event.id), -1) >= 0:
                return True
        if not retention.is_versioned(event.kind):
            return False
        return event.created_at <= self._until.get(_deleted_place(self._hashes, event), -1)

    def _has_vanished(self, event: Event) -> bool:
        return any(
            event.created_at <= self._until.get(self._hashes.vanished(pubkey), -1)
            for pubkey in retention.vanishing(event)
        )

    def _carry_out(self, deletion: Event) -> None:
        for event_id in retention.deleted_ids(deletion):
            self._forbid(self._hashes.deleted_id(deletion.pubkey, event_id), FOR_EVER)
            held = self._held.get(event_id)
            if held is not None and self._owns(deletion.pubkey, held):
                self._remove(held)
        for target in retention.deleted_addresses(deletion):
            self._forbid(self._hashes.deleted_address(target), deletion.created_at)
            held = self._places.get(self._hashes.address(target))
            if held is not None and created_at_of(held.key) <= deletion.created_at:
                self._remove(held)

    def _owns(self, pubkey: str, held: Held) -> bool:
        """As `retention.owners`, for an event of which only the row is at hand."""
        if held.kind in retention.UNDELETABLE:
            return False
        if held.author == author_hash(self._hashes, pubkey):
            return True
        return held.kind in GATED_KINDS and self._hashes.tag("p", pubkey) in held.tags

    def _forbid(self, hashed: int, until: int) -> None:
        until = max(until, self._until.get(hashed, -1))
        self._until[hashed] = self.deletions[hashed] = until

    def _remove(self, held: Held) -> None:
        if self.rows.pop(held.key, None) is None:
            self.removed.add(held.key)
        del self._held[held.id]
        if held.place is not None:
            del self._places[held.place]
        self._keys.pop(held.key, None)
        self.settled.add(held.id)

    def _free_key(self, event: Event) -> int:
        """The event's own key, or the nearest free one that keeps the order of ids."""
        key = row_key(event)
        if key not in self._keys:
            return key
        upwards = event.id < self._keys[key]
        looked: set[int] = set()
        for other in neighbours(key, upwards=upwards):
            if other // AROUND not in looked:
                looked.add(other // AROUND)
                for taken, name in self._around(other // AROUND * AROUND).items():
                    if taken not in self.removed:
                        self._keys.setdefault(taken, name)
            if other not in self._keys:
                return other
        return key


AROUND = 1 << 12
"""So many keys from a multiple of it are read at once where keys collide."""


def _place(hashes: KeyedHash, event: Event) -> int:
    place = place_of(hashes, event)
    assert place is not None
    return place


def _deleted_place(hashes: KeyedHash, event: Event) -> int:
    return hashes.deleted_address(address(event))
