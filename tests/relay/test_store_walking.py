"""What goes over all that matches, in every event store: counting, scanning, removing."""

from __future__ import annotations

import pytest

from meshconsole.core.errors import Refused
from meshconsole.core.kinds import CHECKPOINT, CONTROL_KINDS
from meshconsole.relay.filter import Filter
from meshconsole.relay.store import EventStore, EvictionClass, Removed, Tally
from tests.relay.held import held
from tests.relay.making import NOW, fake_npub, raw, unsigned
from tests.relay.memory import ids

# --- counting --------------------------------------------------------------------------------------


def test_a_tally_counts_each_event_once(store: EventStore) -> None:
    store.add([unsigned(content=str(n), kind=1 + 6 * (n % 2), created_at=NOW + n) for n in range(10)])
    notes, some = Filter(kinds=frozenset({1}), limit=2), Filter(since=NOW + 5)
    assert store.tally([notes], 100) == Tally(5, complete=True)
    assert store.tally([notes, some], 100) == Tally(8, complete=True)
    assert store.tally([notes, some], 8) == Tally(8, complete=True)
    assert store.tally([notes, some], 7) == Tally(7, complete=False)
    assert store.tally([Filter(kinds=frozenset({3}))], 0) == Tally(0, complete=True)


def test_registers_count_authors(store: EventStore) -> None:
    """NIP-45: the byte at the offset names the register, which holds 1 + the zero bits after it."""
    events = [unsigned(f"author {n % 40}", content=str(n), tags=(("e", "ab" * 32),)) for n in range(80)]
    store.add([*events, unsigned("somebody else")])
    wanted = Filter(tags=(("e", frozenset({"ab" * 32})),), limit=3)
    for offset in (8, 23):
        expected = bytearray(256)
        for event in events:
            bits = f"{int(event.pubkey, 16):0256b}"[8 * (offset + 1) :]
            place = bytes.fromhex(event.pubkey)[offset]
            expected[place] = max(expected[place], 1 + len(bits) - len(bits.lstrip("0")))
        assert store.registers(wanted, offset) == bytes(expected)
    assert store.registers(Filter(kinds=frozenset({9})), 8) == bytes(256)


# --- walking over everything -----------------------------------------------------------------------


def test_items_come_oldest_first_and_by_id(store: EventStore) -> None:
    events = [unsigned(content=str(n), created_at=NOW + n % 3) for n in range(12)]
    store.add(events)
    expected = sorted((event.created_at, bytes.fromhex(event.id)) for event in events)
    assert [tuple(item) for item in store.items(Filter(limit=1), 12)] == expected
    assert store.items(Filter(kinds=frozenset({7})), 0) == []
    with pytest.raises(Refused) as caught:
        store.items(Filter(), 11)
    assert caught.value.code == "blocked"


def test_a_scan_goes_on_where_it_was(store: EventStore) -> None:
    events = [unsigned(content=str(n), kind=1 + n % 2, created_at=NOW + n) for n in range(10)]
    store.add(events)
    filters = [Filter(kinds=frozenset({1}), limit=1), Filter(since=NOW + 4)]
    expected = [event.id for n, event in enumerate(events) if event.kind == 1 or n >= 4]
    first = store.scan(filters, None, 3)
    second = store.scan(filters, first.after, 100)
    assert ids(first.raws) == expected[:3]
    assert ids(second.raws) == expected[3:]
    assert first.after is not None
    assert second.after is None
    assert store.scan([Filter(kinds=frozenset({7}))], None, 3).raws == []


# --- removing --------------------------------------------------------------------------------------


def test_delete_goes_in_steps_and_says_before_what_it_will_do(store: EventStore) -> None:
    events = [unsigned(content=str(n), created_at=NOW + n) for n in range(10)]
    store.add([*events, *(unsigned(kind=kind) for kind in CONTROL_KINDS)])
    wanted = [Filter(until=NOW + 6, limit=1)]
    size = sum(len(raw(event)) for event in events[:7])
    assert store.delete(wanted, dry_run=True) == Removed(7, size)
    assert store.count() == 10 + len(CONTROL_KINDS)
    steps = [store.delete(wanted, dry_run=False, limit=4) for _ in range(3)]
    assert [step.count for step in steps] == [4, 3, 0]
    assert sum(step.bytes for step in steps) == size
    assert store.count() == 3 + len(CONTROL_KINDS)
    assert store.settled([event.id for event in events]) == {event.id for event in events}


def test_only_checkpoints_are_retired(store: EventStore) -> None:
    events = [unsigned(kind=kind) for kind in (1, *CONTROL_KINDS)]
    store.add(events)
    [checkpoint] = [event for event in events if event.kind == CHECKPOINT]
    assert store.retire([event.id for event in events]) == Removed(1, len(raw(checkpoint)))
    assert store.count() == len(CONTROL_KINDS)
    assert store.settled([checkpoint.id]) == {checkpoint.id}
    assert store.retire([]) == Removed(0, 0)


def test_eviction_takes_the_oldest_of_the_first_class(store: EventStore) -> None:
    mine = [unsigned("alice", content=str(n), created_at=NOW + n) for n in range(4)]
    others = [unsigned("bob", content=str(n), created_at=NOW + 10 + n) for n in range(4)]
    control = [unsigned(kind=kind, created_at=NOW - 9) for kind in sorted(CONTROL_KINDS)]
    store.add([*mine, *others, *control])
    size = len(raw(mine[0]))
    others_first = EvictionClass("others", Filter(), frozenset({fake_npub("alice")}))
    classes = [others_first, EvictionClass("all", Filter())]
    for need, expected in ((1, (1, 0)), (2 * size, (2, 0)), (6 * size, (4, 2)), (99 * size, (4, 4))):
        forecast = store.evict(classes, need, dry_run=True)
        assert [(name, removed.count) for name, removed in forecast] == [
            ("others", expected[0]),
            ("all", expected[1]),
        ]
        assert store.count() == 8 + len(CONTROL_KINDS)
    assert store.evict(classes, 6 * size, dry_run=False)[1][1] == Removed(2, 2 * size)
    assert set(held(store)) == {event.id for event in (*mine[2:], *control)}
    assert store.settled([others[0].id]) == {others[0].id}
    assert store.evict(classes, 99 * size, dry_run=False)[1][1].count == 2
    assert set(held(store)) == {event.id for event in control}
