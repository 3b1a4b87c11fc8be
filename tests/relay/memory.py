"""The event store's laws in their plainest form: the reference that other stores are held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused
from meshconsole.core.event import decode_event, is_ephemeral, is_replaceable
from meshconsole.core.kinds import CONTROL_KINDS, DELETION
from meshconsole.core.verdict import ACCEPTED, DUPLICATE, Verdict
from meshconsole.relay.event import address, expiration, is_hex
from meshconsole.relay.filter import Filter, matches
from meshconsole.relay.hyperloglog import registers_of
from meshconsole.relay.retention import (
    DELETED,
    EXPIRED,
    NOT_STORED,
    SUPERSEDED,
    UNDELETABLE,
    VANISHED,
    is_versioned,
    owners,
    vanishing,
)
from meshconsole.relay.searching import SEARCHABLE
from meshconsole.relay.store import (
    Answer,
    Entry,
    EvictionClass,
    FeedRow,
    Item,
    Page,
    Removed,
    Selection,
    StoreUsage,
    Tally,
    Written,
    answered,
    as_entry,
    checkpoints,
    within_limits,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from meshconsole.core.event import Event


class MemoryEventStore:
    """Slow on purpose: every question is answered by looking at everything."""

    log_id = "memory"
    description = "memory"

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rows: dict[int, Entry] = {}
        self._head = 0
        self._deleted: list[Event] = []
        """Every deletion ever taken in."""
        self._vanished: list[Event] = []
        self._refused: set[str] = set()

    @property
    def head_seq(self) -> int:
        return self._head

    def write(self, batch: Sequence[Entry]) -> list[Written]:
        return [self._write(entry) for entry in batch]

    def add(self, batch: Sequence[Entry | Event]) -> list[Verdict]:
        return [written.verdict for written in self.write([as_entry(item) for item in batch])]

    def known(self, ids: Collection[str]) -> set[str]:
        return {entry.event.id for entry in self._rows.values()} & set(ids)

    def settled(self, ids: Collection[str]) -> set[str]:
        return self.known(ids) | (self._refused & set(ids))

    def select(self, filters: Sequence[Filter], cap: int) -> Selection:
        limits = [cap if wanted.limit is None else min(cap, wanted.limit) for wanted in filters]
        given, complete = within_limits([self._matching([wanted]) for wanted in filters], limits)
        found = set().union(*given)
        return Selection([seq for seq in self._in_order() if seq in found], self._head, complete)

    def fetch(self, keys: Sequence[int]) -> list[bytes]:
        return [self._rows[key].raw for key in keys if key in self._rows]

    def answer(self, filters: Sequence[Filter], cap: int, size: int) -> Answer:
        return answered(self.select(filters, cap), self.fetch, size)

    def query(self, filters: Sequence[Filter], limit: int) -> list[bytes]:
        return self.fetch(self.select(filters, limit).keys)

    def get(self, ids: Sequence[str]) -> list[bytes]:
        return self.query([Filter(ids=frozenset(ids))], len(ids))

    def tally(self, filters: Sequence[Filter], cap: int) -> Tally:
        found = len(self._matching(filters))
        return Tally(min(found, cap), found <= cap)

    def registers(self, wanted: Filter, offset: int) -> bytes:
        events = [self._rows[seq].event for seq in self._matching([wanted])]
        return registers_of((bytes.fromhex(event.pubkey) for event in events), offset)

    def items(self, wanted: Filter, cap: int) -> list[Item]:
        events = [self._rows[seq].event for seq in self._matching([wanted])]
        if len(events) > cap:
            raise Refused("blocked", "too many")
        return sorted(Item(event.created_at, bytes.fromhex(event.id)) for event in events)

    def scan(self, filters: Sequence[Filter], after: int | None, count: int) -> Page:
        """`after` counts events: enough where none goes between two pages."""
        found = self._matching(filters)[::-1][after or 0 :]
        raws = [self._rows[seq].raw for seq in found[:count]]
        return Page(raws, (after or 0) + count if len(found) > count else None)

    def delete(self, filters: Sequence[Filter], *, dry_run: bool, limit: int = 1000) -> Removed:
        doomed = [seq for seq in self._matching(filters)[::-1] if self._may_go(seq)]
        return self._remove(doomed if dry_run else doomed[:limit], dry_run=dry_run)

    def retire(self, ids: Collection[str]) -> Removed:
        return self._remove(self._matching(checkpoints(ids)), dry_run=False)

    def evict(
        self, classes: Sequence[EvictionClass], need_bytes: int, *, dry_run: bool
    ) -> list[tuple[str, Removed]]:
        done: list[tuple[str, Removed]] = []
        gone: set[int] = set()
        for each in classes:
            doomed: list[int] = []
            for seq in self._matching([each.wanted])[::-1]:
                spared = self._rows[seq].event.pubkey in each.spared
                if need_bytes > 0 and not spared and seq not in gone and self._may_go(seq):
                    doomed.append(seq)
                    need_bytes -= len(self._rows[seq].raw)
            gone.update(doomed)
            done.append((each.name, self._remove(doomed, dry_run=dry_run)))
        return done

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

    def vacuum_step(self, max_pages: int) -> int:
        return 0

    def backup(self, destination: Path, progress: Callable[[int, int], None] | None = None) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._rows.clear()

    def _matches(self, wanted: Filter, seq: int) -> bool:
        event = self._rows[seq].event
        return matches(wanted, event) and (not wanted.terms or event.kind in SEARCHABLE)

    def _matching(self, filters: Sequence[Filter]) -> list[int]:
        return [seq for seq in self._in_order() if any(self._matches(f, seq) for f in filters)]

    def _may_go(self, seq: int) -> bool:
        return self._rows[seq].event.kind not in CONTROL_KINDS

    def _remove(self, doomed: Sequence[int], *, dry_run: bool) -> Removed:
        removed = Removed(len(doomed), sum(len(self._rows[seq].raw) for seq in doomed))
        if not dry_run:
            for seq in doomed:
                self._refused.add(self._rows.pop(seq).event.id)
        return removed

    def _write(self, entry: Entry) -> Written:
        event = entry.event
        verdict = self._judge(event)
        if verdict is not ACCEPTED:
            if verdict not in (DUPLICATE, NOT_STORED):
                self._refused.add(event.id)
            return Written(verdict, 0)
        if event.kind == DELETION:
            self._deleted.append(event)
        if entry.vanish:
            self._vanished.append(event)
        going = [seq for seq, other in self._rows.items() if self._gives_way(other.event, event)]
        self._remove(going, dry_run=False)
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
        if any(_vanishes(request, event) for request in self._vanished):
            return VANISHED
        if any(_supersedes(entry.event, event) for entry in self._rows.values()):
            return SUPERSEDED
        return ACCEPTED

    def _gives_way(self, old: Event, new: Event) -> bool:
        if new in self._vanished and _vanishes(new, old):
            return True
        return _supersedes(new, old) or (new.kind == DELETION and _deletes(new, old))

    def _is_expired(self, event: Event) -> bool:
        expires = expiration(event)
        return expires is not None and expires <= self._clock()

    def _in_order(self) -> list[int]:
        alive = [seq for seq, entry in self._rows.items() if not self._is_expired(entry.event)]
        return sorted(alive, key=lambda seq: (-self._rows[seq].event.created_at, self._rows[seq].event.id))


def _supersedes(new: Event, old: Event) -> bool:
    if not is_versioned(new.kind) or address(new) != address(old):
        return False
    return new.created_at > old.created_at or (new.created_at == old.created_at and new.id < old.id)


def _vanishes(request: Event, event: Event) -> bool:
    return request.pubkey in vanishing(event) and event.created_at <= request.created_at


def _deletes(deletion: Event, event: Event) -> bool:
    if event.kind in UNDELETABLE:
        return False
    for tag in deletion.tags:
        if len(tag) > 1 and tag[0] == "e" and is_hex(tag[1], 64) and tag[1] == event.id:
            return deletion.pubkey in owners(event)
        if len(tag) > 1 and tag[0] == "a" and event.pubkey == deletion.pubkey:
            versioned = is_versioned(event.kind)
            if versioned and _same_address(tag[1], event) and event.created_at <= deletion.created_at:
                return True
    return False


def _same_address(value: str, event: Event) -> bool:
    if is_replaceable(event.kind):  # whatever stands behind the last colon
        return value.split(":")[:2] == [str(event.kind), event.pubkey]
    return value == address(event)


def ids(raws: Sequence[bytes]) -> list[str]:
    return [decode_event(raw).id for raw in raws]
