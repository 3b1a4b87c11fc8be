"""The event store's laws in their plainest form: the reference that other stores are held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.event import decode_event, is_addressable, is_ephemeral, is_replaceable
from meshconsole.core.kinds import DELETION, GIFT_WRAP
from meshconsole.core.verdict import ACCEPTED, DUPLICATE, Verdict
from meshconsole.relay.event import address, expiration, indexed_tags, is_hex
from meshconsole.relay.filter import Filter, matches
from meshconsole.relay.store import Entry, FeedRow, Selection, StoreUsage, Written, as_entry
from meshconsole.relay.writing import DELETED, EXPIRED, NOT_STORED, SUPERSEDED, UNDELETABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from meshconsole.core.event import Event


class MemoryEventStore:
    """Slow on purpose: every question is answered by looking at everything."""

    log_id = "memory"

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rows: dict[int, Entry] = {}
        self._head = 0
        self._deleted: list[Event] = []
        """Every deletion ever taken in."""

    @property
    def head_seq(self) -> int:
        return self._head

    def write(self, batch: Sequence[Entry]) -> list[Written]:
        return [self._write(entry) for entry in batch]

    def add(self, batch: Sequence[Entry | Event]) -> list[Verdict]:
        return [written.verdict for written in self.write([as_entry(item) for item in batch])]

    def known(self, ids: Collection[str]) -> set[str]:
        return {entry.event.id for entry in self._rows.values()} & set(ids)

    def select(self, filters: Sequence[Filter], cap: int) -> Selection:
        found: set[int] = set()
        complete = True
        for wanted in filters:
            limit = cap if wanted.limit is None else min(cap, wanted.limit)
            alive = [seq for seq in self._in_order() if matches(wanted, self._rows[seq].event)][:limit]
            complete = complete and len(alive) < limit
            found.update(alive)
        return Selection([seq for seq in self._in_order() if seq in found], self._head, complete)

    def fetch(self, keys: Sequence[int]) -> list[bytes]:
        return [self._rows[key].raw for key in keys if key in self._rows]

    def query(self, filters: Sequence[Filter], limit: int) -> list[bytes]:
        return self.fetch(self.select(filters, limit).keys)

    def get(self, ids: Sequence[str]) -> list[bytes]:
        return self.query([Filter(ids=frozenset(ids))], len(ids))

    def feed(self, after_seq: int, limit: int) -> list[FeedRow]:
        alive = set(self._in_order())
        rows = [
            FeedRow(seq, entry.event.id, entry.event.kind, entry.raw)
            for seq, entry in sorted(self._rows.items())
            if seq > after_seq and seq in alive
        ]
        return rows[:limit]

    def count(self) -> int:
        return len(self._rows)

    def usage(self) -> StoreUsage:
        return StoreUsage(sum(len(entry.raw) for entry in self._rows.values()), len(self._rows))

    def purge_expired(self) -> int:
        return 0

    def vacuum(self) -> None:
        return None

    def close(self) -> None:
        self._rows.clear()

    def _write(self, entry: Entry) -> Written:
        event = entry.event
        verdict = self._judge(event)
        if verdict is not ACCEPTED:
            return Written(verdict, 0)
        self._rows = {
            seq: other for seq, other in self._rows.items() if not self._gives_way(other.event, event)
        }
        if event.kind == DELETION:
            self._deleted.append(event)
        self._head += 1
        self._rows[self._head] = entry
        return Written(ACCEPTED, self._head)

    def _judge(self, event: Event) -> Verdict:
        if self.known([event.id]):
            return DUPLICATE
        if is_ephemeral(event.kind):
            return NOT_STORED
        if self._is_expired(event):
            return EXPIRED
        if any(_deletes(deletion, event) for deletion in self._deleted):
            return DELETED
        if any(_supersedes(entry.event, event) for entry in self._rows.values()):
            return SUPERSEDED
        return ACCEPTED

    def _gives_way(self, old: Event, new: Event) -> bool:
        return _supersedes(new, old) or (new.kind == DELETION and _deletes(new, old))

    def _is_expired(self, event: Event) -> bool:
        expires = expiration(event)
        return expires is not None and expires <= self._clock()

    def _in_order(self) -> list[int]:
        alive = [seq for seq, entry in self._rows.items() if not self._is_expired(entry.event)]
        return sorted(alive, key=lambda seq: (-self._rows[seq].event.created_at, self._rows[seq].event.id))


def _supersedes(new: Event, old: Event) -> bool:
    if not (is_replaceable(new.kind) or is_addressable(new.kind)) or address(new) != address(old):
        return False
    return new.created_at > old.created_at or (new.created_at == old.created_at and new.id < old.id)


def _deletes(deletion: Event, event: Event) -> bool:
    if event.kind in UNDELETABLE:
        return False
    for tag in deletion.tags:
        if len(tag) > 1 and tag[0] == "e" and is_hex(tag[1], 64) and tag[1] == event.id:
            mine = event.pubkey == deletion.pubkey
            wrapped = event.kind == GIFT_WRAP and ("p", deletion.pubkey) in indexed_tags(event)
            if mine or wrapped:
                return True
        if len(tag) > 1 and tag[0] == "a" and event.pubkey == deletion.pubkey:
            replaceable = is_replaceable(event.kind) or is_addressable(event.kind)
            if replaceable and _same_address(tag[1], event) and event.created_at <= deletion.created_at:
                return True
    return False


def _same_address(value: str, event: Event) -> bool:
    if is_replaceable(event.kind):  # whatever stands behind the last colon
        return value.split(":")[:2] == [str(event.kind), event.pubkey]
    return value == address(event)


def ids(raws: Sequence[bytes]) -> list[str]:
    return [decode_event(raw).id for raw in raws]
