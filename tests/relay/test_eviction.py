"""The owner's rules for a full store, and what becomes of them in the SQLCipher store."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import Fatal, Refused, Unavailable
from meshconsole.core.kinds import CONTROL_KINDS, DELETION, FILE_MANIFEST, GIFT_WRAP, MEMBERSHIP_KINDS
from meshconsole.crypto.database import open_database
from meshconsole.node.limits.quota import StorageQuota
from meshconsole.relay import questions, room
from meshconsole.relay.eviction import DAY_S, eviction_classes
from meshconsole.relay.filter import Filter
from meshconsole.relay.sqlite import SqliteEventStore
from meshconsole.relay.store import as_entry
from tests.relay.making import KEY, NOW, TAG_KEY, Clock, fake_npub, unsigned
from tests.relay.memory import MemoryEventStore, ids

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from meshconsole.core.event import Event
    from meshconsole.relay.store import Entry, Written

TEAM = frozenset({fake_npub("alice"), fake_npub("bob")})


def test_rules_choose_by_author_kind_and_age() -> None:
    store = MemoryEventStore(Clock())
    events = {
        "team": unsigned("alice"),
        "reaction": unsigned("bob", kind=7),
        "stranger": unsigned("carol"),
        "old": unsigned("carol", created_at=NOW - 30 * DAY_S),
        "wrap": unsigned("random", kind=GIFT_WRAP),
        **{f"control {kind}": unsigned("carol", kind=kind) for kind in CONTROL_KINDS},
    }
    store.add(list(events.values()))

    def first(rule: str) -> int:
        return store.evict(eviction_classes([rule], TEAM, NOW), 1 << 40, dry_run=True)[0][1].count

    assert first("strangers") == 2
    assert first("strangers older=30d") == 1
    assert first("strangers kinds=7,1059") == 1
    assert first("team") == 2
    assert first("team kinds=7") == 1
    assert first("older=31d") == 0
    assert first("kinds=1059") == 1
    assert first("") == 5


def test_requests_to_delete_go_when_nothing_else_is_left() -> None:
    store = MemoryEventStore(Clock())
    note, reaction = unsigned("carol"), unsigned("bob", kind=7)
    deletion = unsigned("carol", kind=DELETION, tags=(("e", "ab" * 32),), created_at=NOW - 9 * DAY_S)
    store.add([deletion, note, reaction])
    classes = eviction_classes(["strangers", ""], TEAM, NOW)
    assert [removed.count for _, removed in store.evict(classes, 1 << 40, dry_run=True)] == [1, 1, 1, 0]
    by_name = eviction_classes(["kinds=5", "strangers"], TEAM, NOW)
    assert [removed.count for _, removed in store.evict(by_name, 1 << 40, dry_run=True)] == [1, 1, 0]


@pytest.mark.parametrize("rule", ["everybody", "kinds=", "kinds=1,", "older=30", "kinds=x", "team,strangers"])
def test_what_is_no_condition_is_said(rule: str) -> None:
    with pytest.raises(Fatal, match="no condition"):
        eviction_classes([rule], TEAM, NOW)


class Share:
    """A quota over what the database's files take, like the governor's."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.store: SqliteEventStore | None = None

    def reserve(self, count: int) -> None:
        used = self.store.usage().bytes if self.store else 0
        if used + count > self.limit:
            raise Refused("restricted", "full")

    def release(self, count: int) -> None:
        return None


def long_notes(author: str, count: int, start: int) -> list[Event]:
    return [
        unsigned(author, content=f"{start + n} " + "x" * 900, created_at=NOW + start + n)
        for n in range(count)
    ]


LOG = 1 << 20
LIMIT = 6 << 20


def filled(database: Path, rules: list[str] | None) -> SqliteEventStore:
    share = Share(LIMIT)
    made = SqliteEventStore(
        database,
        KEY,
        TAG_KEY,
        quota=share,
        log_bytes=LOG,
        may_go=None if rules is None else lambda: eviction_classes(rules, TEAM, NOW),
    )
    share.store = made
    return made


def test_a_full_store_refuses_unless_told_otherwise(database: Path) -> None:
    with closing(filled(database, None)) as store:
        refused = [
            verdict
            for start in range(0, 6000, 100)
            for verdict in store.add(long_notes("carol", 100, start))
            if not verdict.accepted
        ]
        assert {verdict.code for verdict in refused} == {"restricted"}
        assert store.usage().bytes <= LIMIT


def test_a_full_store_rolls_the_oldest_of_the_first_class(database: Path) -> None:
    """Never above its limit, and what belongs to the team stays while others have something to give."""
    with closing(filled(database, ["strangers", "team"])) as store:
        control = [unsigned("carol", kind=kind, created_at=NOW - 9) for kind in sorted(CONTROL_KINDS)]
        kept = long_notes("alice", 50, 0)
        assert all(verdict.accepted for verdict in store.add([*control, *kept]))
        for start in range(1000, 9000, 100):
            assert all(verdict.accepted for verdict in store.add(long_notes("carol", 100, start)))
            assert store.usage().bytes <= LIMIT
        held = set(ids(store.query([Filter()], 100_000)))
        assert held >= {event.id for event in (*control, *kept)}
        strangers = [event.id in held for event in long_notes("carol", 8000, 1000)]
        assert strangers.count(True) > 500
        assert strangers == sorted(strangers)
        assert store.settled([long_notes("carol", 1, 1000)[0].id])


def test_nobody_waits_for_a_reader_that_lingers_while_there_is_room(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that somebody still reads, a backup for minutes, cannot be emptied: it gets longer."""
    with closing(filled(database, None)) as store, closing(open_database(database, KEY)) as reader:
        reader.execute("begin")
        reader.execute("select count(*) from events").fetchall()
        empty = store._empty_log

        def for_the_impatient(patient: bool) -> bool:
            assert not patient
            return empty(patient)

        monkeypatch.setattr(store._room, "_empty_log", for_the_impatient)
        for start in range(0, 500, 50):
            assert all(verdict.accepted for verdict in store.add(long_notes("carol", 50, start)))
        assert store._room.file_bytes("-wal") > LOG
        assert store.delete([Filter(until=NOW + 9)], dry_run=False).count == 10
        reader.execute("commit")
        monkeypatch.undo()
        store.add(long_notes("carol", 1, 2000))
        assert store._room.file_bytes("-wal") <= LOG


def test_a_reader_that_lingers_does_not_let_the_log_outgrow_the_quota(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(filled(database, ["strangers"])) as store, closing(open_database(database, KEY)) as reader:
        for start in range(0, 3000, 100):
            store.add(long_notes("carol", 100, start))
        reader.execute("begin")
        reader.execute("select count(*) from events").fetchall()
        empty = store._empty_log
        monkeypatch.setattr(store._room, "_empty_log", lambda patient: empty(patient=False))
        refused = False
        for start in range(3000, 5000, 50):
            refused |= not all(verdict.accepted for verdict in store.add(long_notes("carol", 50, start)))
            assert store.usage().bytes <= LIMIT
        assert refused
        with pytest.raises(Unavailable, match="backup"):
            store.delete([Filter()], dry_run=False)
        reader.execute("commit")
        assert all(verdict.accepted for verdict in store.add(long_notes("carol", 50, 9000)))


def scattered(count: int, start: int) -> list[Event]:
    """Events whose entries lie together in no index: each lengthens the log by pages of its own."""
    return [
        unsigned(
            f"author {(start + n) * 7919 % 1009}",
            tags=tuple(("e", f"{(start + n) * (7919 + t) % 100_003:064x}") for t in range(4)),
            content=f"{start + n}",
            created_at=NOW + (start + n) * 7907 % 100_003,
        )
        for n in range(count)
    ]


def test_near_the_limit_a_large_batch_enters_the_log_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One commit of it would make the log several times as long as it may be."""
    quota = StorageQuota(tmp_path, 100_000_000)
    with closing(
        SqliteEventStore(tmp_path / "node.db", KEY, TAG_KEY, quota=quota.events, log_bytes=LOG)
    ) as store:
        batch = [as_entry(event) for event in scattered(400, 0)]
        assert store._room.parts(batch) == [batch]
        quota.limit_bytes = 3_000_000
        parts = store._room.parts(batch)
        assert [entry for part in parts for entry in part] == batch
        assert max(map(len, parts)) < 40
        taken: list[int] = []
        take = store._committing.take

        def counted(part: Sequence[Entry], *, at_once: bool = False) -> list[Written]:
            taken.append(len(part))
            assert at_once
            return take(part, at_once=at_once)

        monkeypatch.setattr(store._committing, "take", counted)
        assert all(written.verdict.accepted for written in store.write(batch[:100]))
        assert taken == [len(part) for part in store._room.parts(batch[:100])]


def test_a_limit_that_was_lowered_is_kept_again_soon(tmp_path: Path) -> None:
    """Free pages go back to the disk first, then the oldest of what may go."""
    quota = StorageQuota(tmp_path, 100_000_000)
    rules: list[str] = []
    with closing(
        SqliteEventStore(
            tmp_path / "node.db",
            KEY,
            TAG_KEY,
            quota=quota.events,
            log_bytes=LOG,
            may_go=lambda: eviction_classes(rules, TEAM, NOW),
        )
    ) as store:
        kept = long_notes("alice", 20, 0)
        store.add([*kept, *long_notes("carol", 3000, 100)])
        assert not store.shrink()
        assert store.usage().bytes > 4_000_000
        store.delete([Filter(authors=frozenset({fake_npub("carol")}), until=NOW + 599)], dry_run=False)
        quota.limit_bytes = 4_000_000
        while store.shrink():
            pass
        assert store.count() == 20 + 2500, "nothing may go"
        assert store._pragma("freelist_count") == 0
        rules.append("strangers")
        while store.shrink():
            pass
        assert store.usage().bytes <= quota.limit_bytes
        assert set(ids(store.query([Filter()], 5000))) >= {event.id for event in kept}
        assert 1000 < store.count() < 2520
        quota.blocks.measured(50_000_000)
        assert not store.shrink(), "with blocks that are more than the limit alone, no event has to go"
        assert store.count() > 1000


def test_what_no_rule_covers_is_not_evicted(database: Path) -> None:
    with closing(filled(database, ["kinds=7"])) as store:
        for start in range(0, 6000, 100):
            store.add(long_notes("carol", 100, start))
        assert not any(verdict.accepted for verdict in store.add(long_notes("carol", 100, 9000)))
        assert store.usage().bytes <= LIMIT


def test_a_step_of_eviction_is_small(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "STEP", 10)
    with closing(filled(database, ["strangers"])) as store:
        for start in range(0, 3000, 100):
            store.add(long_notes("carol", 100, start))
        before = store.count()
        store.add(long_notes("carol", 1, 9000))
        assert before - store.count() < room.EVICTION_STEPS * 10


def test_what_explains_files_and_members_goes_only_where_a_rule_names_it() -> None:
    rules = ("strangers", "team", "older=30d", f"kinds={FILE_MANIFEST}")
    *others, named = (each.wanted for each in eviction_classes(rules, frozenset(), NOW)[: len(rules)])
    assert all(each.hidden >= MEMBERSHIP_KINDS | {FILE_MANIFEST} for each in others)
    assert not named.hidden
