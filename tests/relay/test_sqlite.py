"""What only the SQLCipher store has: encryption, files, quotas, full disks, damage, collisions."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given

from meshconsole.core.errors import CorruptData, Fatal, Refused, Unavailable
from meshconsole.relay import questions, readers, reading, sqlite
from meshconsole.relay.filter import Filter
from meshconsole.relay.keys import row_key
from meshconsole.relay.memory import CACHES
from meshconsole.relay.sqlite import SqliteEventStore
from tests.relay.making import KEY, NOW, TAG_KEY, Clock, fake_npub, raw, unsigned
from tests.relay.memory import ids
from tests.relay.strategies import histories
from tests.relay.test_reference import relaxed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshconsole.core.event import Event
    from meshconsole.relay.store import Entry, EventStore

ALL = [Filter()]


def notes(count: int, content: str = "x" * 500, start: int = 0) -> list[Event]:
    return [
        unsigned(content=f"{n} {content}", tags=(("t", str(n)),), created_at=NOW + n)
        for n in range(start, start + count)
    ]


def test_it_is_an_event_store(sqlite_store: SqliteEventStore) -> None:
    store: EventStore = sqlite_store
    assert store.head_seq == 0
    assert len(store.log_id) == 32


def test_nothing_readable_reaches_the_disk(sqlite_store: SqliteEventStore, database: Path) -> None:
    event = unsigned(content="a secret sentence", tags=(("t", "secret-tag"),))
    sqlite_store.add([event])
    sqlite_store.vacuum()
    sqlite_store.add([unsigned(content="a secret sentence, in the log")])
    for path in database.parent.glob("node.db*"):
        data = path.read_bytes()
        for leak in (b"secret", event.id.encode(), bytes.fromhex(event.pubkey), b"SQLite format"):
            assert leak not in data, path


def test_another_key_does_not_open_it(sqlite_store: SqliteEventStore, database: Path) -> None:
    sqlite_store.add([unsigned()])
    with pytest.raises(CorruptData):
        SqliteEventStore(database, b"x" * 32, TAG_KEY)


def test_everything_is_there_after_reopening(database: Path, clock: Clock) -> None:
    store = SqliteEventStore(database, KEY, TAG_KEY, clock=clock)
    kept, gone = unsigned(content="kept"), unsigned(content="gone")
    store.add([kept, gone, unsigned(kind=5, tags=(("e", gone.id),))])
    log_id, head = store.log_id, store.head_seq
    store.close()
    again = SqliteEventStore(database, KEY, TAG_KEY, clock=clock)
    assert (again.log_id, again.head_seq, again.count()) == (log_id, head, 2)
    assert again.add([gone])[0].code == "blocked"
    assert again.known([kept.id]) == {kept.id}
    again.close()


def test_caches_change_while_it_is_read_and_written(
    sqlite_store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "PROMPT_BUDGET_S", 60.0)
    sqlite_store._upkeep.stop()  # what it writes meanwhile would leave a question to a thread
    for number, caches in enumerate(CACHES.values()):
        sqlite_store.add(notes(5, start=5 * number))
        sqlite_store.set_caches(caches)
        sqlite_store.feed(0, 1)  # they are in the tables then
        answer = sqlite_store.answer_now(ALL, 100, 1 << 20)
        assert answer is not None
        assert len(answer.raws) == 5 * number + 5
        assert sqlite_store._pragma("cache_size") == -caches.writer_kib


def test_each_database_has_its_own_log_id(tmp_path: Path) -> None:
    stores = [SqliteEventStore(tmp_path / name, KEY, TAG_KEY) for name in ("a.db", "b.db")]
    assert stores[0].log_id != stores[1].log_id
    for store in stores:
        store.close()


def test_a_closed_store_says_so(database: Path) -> None:
    store = SqliteEventStore(database, KEY, TAG_KEY)
    store.close()
    with pytest.raises(Fatal):
        store.query(ALL, 1)


# --- keys that meet --------------------------------------------------------------------------------


def with_id(event: Event, event_id: str) -> Event:
    return msgspec.structs.replace(event, id=event_id)


def test_ids_that_share_their_first_bits_keep_their_order(sqlite_store: SqliteEventStore) -> None:
    """Ids can be ground to share 29 bits within one second."""
    names = [f"{'ab' * 4}{n:056x}" for n in (5, 1, 9, 3, 7)]
    events = [with_id(unsigned(content=str(n)), name) for n, name in enumerate(names)]
    assert len({row_key(event) for event in events}) == 1
    for event in events[:3]:
        assert sqlite_store.add([event])[0].accepted
    assert ids(sqlite_store.query(ALL, 9)) == sorted(names[:3])
    assert all(verdict.accepted for verdict in sqlite_store.add(events[3:]))
    assert set(ids(sqlite_store.query(ALL, 9))) == set(names)
    assert [row.id for row in sqlite_store.feed(0, 9)] == names


@pytest.mark.parametrize("edge", ["00000000", "ffffffff"])
def test_shared_bits_at_the_edge_of_a_second_stay_in_it(sqlite_store: SqliteEventStore, edge: str) -> None:
    events = [with_id(unsigned(content=str(n)), f"{edge}{n:056x}") for n in range(4)]
    assert all(verdict.accepted for verdict in sqlite_store.add(events))
    assert len(sqlite_store.query([Filter(since=NOW, until=NOW)], 9)) == 4


def test_ids_that_share_their_first_64_bits_are_told_apart(sqlite_store: SqliteEventStore) -> None:
    one, two = (with_id(unsigned(content=str(n)), f"{'cd' * 8}{n:048x}") for n in range(2))
    sqlite_store.add([one])
    assert sqlite_store.known([one.id, two.id]) == {one.id}
    assert sqlite_store.get([two.id]) == []
    assert sqlite_store.add([two])[0].code == ""
    sqlite_store.add([unsigned(kind=5, tags=(("e", one.id),))])
    assert sqlite_store.known([one.id, two.id]) == {two.id}


def test_a_key_that_was_given_to_another_event_leads_to_that_one(sqlite_store: SqliteEventStore) -> None:
    one, two = (with_id(unsigned(content=str(n)), f"{'ab' * 4}{n:056x}") for n in range(2))
    sqlite_store.add([one])
    sqlite_store.feed(0, 1)  # it is in the tables then
    notes_only = [Filter(kinds=frozenset({1}))]
    answer = sqlite_store.answer_now(notes_only, 9, 1000)
    assert answer is not None
    assert ids(answer.raws) == [one.id]
    sqlite_store.add([unsigned(kind=5, tags=(("e", one.id),)), two])
    answer = sqlite_store.answer_now(notes_only, 9, 1000)
    assert answer is not None
    assert ids(answer.raws) == [two.id]


def test_what_is_removed_while_it_is_asked_for_is_left_to_a_thread(
    sqlite_store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its key comes from memory, and the reader's snapshot begins with the event's bytes, which are gone."""
    one, two = (unsigned(content=str(number)) for number in range(2))
    sqlite_store.add([one, two])
    sqlite_store.feed(0, 1)  # they are in the tables then
    wanted = [Filter(authors=frozenset({one.pubkey}), kinds=frozenset({1}))]
    assert sqlite_store.answer_now(wanted, 9, 1000) is not None
    monkeypatch.setattr(sqlite_store._asked.hot, "_young", {})
    remembered = sqlite_store._newest.keys

    def interrupted(*asked: Any) -> list[list[int] | None]:  # noqa: ANN401
        keys = remembered(*asked)
        sqlite_store.delete([Filter(ids=frozenset({one.id}))], dry_run=False)
        return keys

    monkeypatch.setattr(sqlite_store._newest, "keys", interrupted)
    assert sqlite_store.answer_now(wanted, 9, 1000) is None
    assert ids(sqlite_store.answer(wanted, 9, 1000).raws) == [two.id]


# --- consistency -----------------------------------------------------------------------------------

ORPHANS = (
    "select count(*) from bodies where key not in (select key from events)",
    "select count(*) from events where key not in (select key from bodies)",
    "select count(*) from tags where key not in (select key from events)",
    "select count(*) from addresses where key not in (select key from events)",
    "select count(*) from expirations where key not in (select key from events)",
    "select count(*) from tags t join events e on e.key = t.key where t.kind != e.kind",
    "select count(*) from events where author not in (select author from authors)",
)


@relaxed
@given(histories())
def test_no_history_leaves_orphans(history: list[list[Entry]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        store = SqliteEventStore(Path(folder) / "node.db", KEY, TAG_KEY, clock=Clock())
        try:
            for batch in history:
                store.write(batch)
            for question in ORPHANS:
                assert store._writer.execute(question).fetchone() == (0,), question
            assert store._writer.execute("pragma integrity_check").fetchone() == ("ok",)
        finally:
            store.close()


def test_readers_and_writers_do_not_disturb_each_other(sqlite_store: SqliteEventStore) -> None:
    """Each reading sees whole batches: never half of one."""
    done = threading.Event()
    seen: list[int] = []
    errors: list[BaseException] = []

    def read() -> None:
        try:
            while not done.is_set():
                selection = sqlite_store.select(ALL, 10_000)
                assert len(selection.keys) == selection.head_seq
                seen.append(selection.head_seq)
        except BaseException as error:
            errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for start in range(0, 200, 10):
        assert all(verdict.accepted for verdict in sqlite_store.add(notes(10, start=start)))
    done.set()
    for reader in readers:
        reader.join()
    assert errors == []
    assert all(head % 10 == 0 for head in seen)


# --- full and damaged ------------------------------------------------------------------------------


class Limited:
    """A quota of so many bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.reserved = 0

    def reserve(self, count: int) -> None:
        if self.reserved + count > self.limit:
            raise Refused("restricted", "quota full: raise it")
        self.reserved += count

    def release(self, count: int) -> None:
        self.reserved -= count


def test_a_full_quota_refuses_and_goes_on_reading(database: Path) -> None:
    quota = Limited(5000)
    store = SqliteEventStore(database, KEY, TAG_KEY, quota=quota, log_bytes=0)
    first, second = notes(1), notes(5, start=1)
    assert store.add(first)[0].accepted
    verdicts = store.add(second)
    assert {verdict.message for verdict in verdicts} == {"restricted: quota full: raise it"}
    assert not any(verdict.accepted for verdict in verdicts)
    assert ids(store.query(ALL, 9)) == [first[0].id]
    assert store.head_seq == 1
    quota.limit = 1 << 20
    assert all(verdict.accepted for verdict in store.add(second))
    store.close()


def test_room_that_deletions_made_is_used_under_a_full_quota(database: Path) -> None:
    quota = Limited(1 << 30)
    store = SqliteEventStore(database, KEY, TAG_KEY, quota=quota, log_bytes=0)
    events = notes(200)
    store.add(events)
    store.add([unsigned(kind=5, tags=tuple(("e", event.id) for event in events))])
    quota.limit = 0
    before = store.usage().bytes
    assert store.add(notes(1, start=500))[0].accepted
    assert store.usage().bytes - before <= 64 * 4096
    store.close()


def test_a_full_disk_is_said_and_loses_nothing(sqlite_store: SqliteEventStore, database: Path) -> None:
    kept = notes(5)
    sqlite_store.add(kept)
    writer = sqlite_store._writer
    pages = writer.execute("pragma page_count").fetchone()[0]
    writer.execute(f"pragma max_page_count = {pages + 2}")
    verdicts = sqlite_store.add(notes(100, start=10))
    assert {verdict.code for verdict in verdicts} == {"error"}
    assert "no space left" in verdicts[0].sentence
    assert sorted(ids(sqlite_store.query(ALL, 500))) == sorted(event.id for event in kept)
    assert (sqlite_store.count(), sqlite_store.head_seq) == (5, 5)
    writer.execute("pragma max_page_count = 1000000")
    assert all(verdict.accepted for verdict in sqlite_store.add(notes(100, start=10)))
    assert sqlite_store.head_seq == 105


def test_reserved_bytes_are_given_back_when_nothing_was_written(database: Path) -> None:
    quota = Limited(1 << 30)
    store = SqliteEventStore(database, KEY, TAG_KEY, quota=quota, log_bytes=0)
    store._writer.execute("pragma max_page_count = 1")
    assert store.add(notes(50))[0].code == "error"
    assert quota.reserved == 0
    store.close()


def test_damaged_pages_are_said_in_words(database: Path, clock: Clock) -> None:
    store = SqliteEventStore(database, KEY, TAG_KEY, clock=clock)
    events = notes(400)
    store.add(events)
    store.vacuum()
    store.close()
    data = bytearray(database.read_bytes())
    for page in range(len(data) // 4096 // 2, len(data) // 4096):
        data[page * 4096 + 100 : page * 4096 + 200] = b"\xff" * 100
    database.write_bytes(data)
    store = SqliteEventStore(database, KEY, TAG_KEY, clock=clock)
    with pytest.raises(CorruptData, match="damaged"):
        store.query(ALL, 1000)
    broken = 0
    for event in events:
        try:
            store.get([event.id])
        except CorruptData:
            broken += 1
    assert broken > 0
    verdicts = store.add(notes(300, start=1000))
    assert {verdict.accepted for verdict in verdicts} == {False}
    assert "damaged" in verdicts[0].sentence
    store.close()


def test_a_query_that_takes_too_long_is_broken_off(
    sqlite_store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for start in range(0, 3000, 1000):
        sqlite_store.add(notes(1000, "", start))
    monkeypatch.setattr(questions, "QUERY_BUDGET_S", -1.0)
    many = frozenset(map(str, range(2000)))
    with pytest.raises(Unavailable, match="longer"):
        sqlite_store.query([Filter(tags=(("t", many),), authors=frozenset({fake_npub("alice")}))] * 5, 5000)
    monkeypatch.setattr(questions, "QUERY_BUDGET_S", 60.0)
    assert len(sqlite_store.query(ALL, 5000)) == 3000


def test_very_many_ids_are_looked_for_in_pieces(
    sqlite_store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = unsigned()
    sqlite_store.add([event])
    begun: list[float] = []
    begin = readers._Reader.begin

    def counted(reader: readers._Reader, budget_s: float) -> None:
        begun.append(budget_s)
        begin(reader, budget_s)

    monkeypatch.setattr(readers._Reader, "begin", counted)
    assert sqlite_store.known([*(f"{n:064x}" for n in range(4500)), event.id]) == {event.id}
    assert len(begun) == 3, "each has a budget of its own"


def test_short_questions_are_answered_at_once(
    sqlite_store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_store.add(notes(20))
    sqlite_store._upkeep.stop()  # what it writes meanwhile would leave a question to a thread
    newest = [Filter(limit=5)]
    assert sqlite_store.answer_now(newest, 100, 1000) == sqlite_store.answer(newest, 100, 1000)
    assert sqlite_store.answer_now([Filter(search="x")], 100, 1000) is None, "its words are indexed first"
    monkeypatch.setattr(questions, "PROMPT_BUDGET_S", -1.0)
    many = frozenset(map(str, range(2000)))
    assert sqlite_store.answer_now([Filter(tags=(("t", many),))], 100, 1000) is None
    monkeypatch.setattr(questions, "PROMPT_BUDGET_S", 60.0)
    answer = sqlite_store.answer_now([Filter(tags=(("t", many),))], 100, 1 << 20)
    assert answer is not None
    assert len(answer.raws) == 20
    sqlite_store.close()
    assert sqlite_store.answer_now(newest, 100, 1000) is None


# --- upkeep ----------------------------------------------------------------------------------------


def test_expired_events_are_freed_after_a_day(sqlite_store: SqliteEventStore, clock: Clock) -> None:
    short = unsigned(tags=(("expiration", str(NOW + 10)), ("t", "x")))
    version = unsigned(kind=30000, tags=(("expiration", str(NOW + 10)),))
    older = unsigned(kind=30000, created_at=NOW - 1)
    later = unsigned(content="later", tags=(("expiration", str(NOW + 900_000)),))
    sqlite_store.add([short, version, later])
    clock.now = NOW + 11
    assert sqlite_store.purge_expired() == 0
    assert sqlite_store.count() == 3
    clock.now = NOW + 10 + sqlite.PURGE_AFTER_S
    assert sqlite_store.purge_expired() == 2
    assert sqlite_store.count() == 1
    assert sqlite_store.purge_expired() == 0
    assert sqlite_store.add([older])[0].code == "blocked"
    assert [row.id for row in sqlite_store.feed(0, 9)] == [later.id]


def test_usage_is_what_the_files_take(sqlite_store: SqliteEventStore, database: Path) -> None:
    sqlite_store.add(notes(50))
    files = sum(path.stat().st_size for path in database.parent.glob("node.db*"))
    assert sqlite_store.usage().bytes == files > 50 * 500
    assert sqlite_store.usage().count == 50


def test_vacuum_gives_space_back(sqlite_store: SqliteEventStore) -> None:
    events = notes(500)
    sqlite_store.add(events)
    sqlite_store.vacuum()
    before = sqlite_store.usage().bytes
    sqlite_store.add([unsigned(kind=5, tags=tuple(("e", event.id) for event in events[10:]))])
    sqlite_store.vacuum()
    assert sqlite_store.usage().bytes < before / 2
    assert sqlite_store.count() == 11
    assert set(ids(sqlite_store.query(ALL, 999))) >= {event.id for event in events[:10]}


def test_free_pages_are_given_back_in_steps(sqlite_store: SqliteEventStore) -> None:
    sqlite_store.add(notes(500))
    sqlite_store.delete([Filter(until=NOW + 450)], dry_run=False)
    sqlite_store._empty_log(patient=True)
    before = sqlite_store.usage().bytes
    assert sqlite_store.vacuum_step(20) == 20
    while given := sqlite_store.vacuum_step(20):
        assert given <= 20
    sqlite_store._empty_log(patient=True)
    assert sqlite_store.usage().bytes < before / 2
    assert len(sqlite_store.query(ALL, 999)) == 49
    assert sqlite_store._writer.execute("pragma integrity_check").fetchone() == ("ok",)


def test_the_ids_refused_first_are_forgotten_first(
    sqlite_store: SqliteEventStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "MAX_REFUSED", 10)
    events = notes(15)
    sqlite_store.add(events)
    for event in events:
        clock.now += 1
        sqlite_store.delete([Filter(ids=frozenset({event.id}))], dry_run=False)
    sqlite_store.purge_expired()
    remembered = sqlite_store.settled([event.id for event in events])
    assert remembered == {event.id for event in events[6:]}


def test_a_backup_is_whole_while_writing_goes_on(sqlite_store: SqliteEventStore, tmp_path: Path) -> None:
    first = notes(300)
    sqlite_store.add(first)
    sqlite_store.vacuum()
    sqlite_store.add(notes(50, start=300))
    heard: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        heard.append((done, total))
        sqlite_store.add(notes(200, start=1000))
        sqlite_store._writer.execute("pragma wal_checkpoint(passive)")

    sqlite_store.backup(tmp_path / "copy.db", progress)
    assert heard[-1][0] == heard[-1][1] > 10
    assert sorted(path.name for path in tmp_path.glob("copy.db*")) == ["copy.db"]
    copy = SqliteEventStore(tmp_path / "copy.db", KEY, TAG_KEY)
    assert copy.known({event.id for event in notes(350)}) == {event.id for event in notes(350)}
    assert copy.log_id == sqlite_store.log_id
    assert copy._writer.execute("pragma integrity_check").fetchone() == ("ok",)
    copy.close()
    assert sqlite_store.count() == 550


def test_a_backup_overwrites_nothing(sqlite_store: SqliteEventStore, tmp_path: Path) -> None:
    kept = tmp_path / "copy.db"
    kept.write_bytes(b"mine")
    with pytest.raises(Refused, match="exists"):
        sqlite_store.backup(kept)
    assert kept.read_bytes() == b"mine"
    with pytest.raises(Refused, match="is not a folder"):
        sqlite_store.backup(tmp_path / "absent" / "copy.db")


def test_the_log_does_not_grow_without_end(sqlite_store: SqliteEventStore, database: Path) -> None:
    for start in range(0, 6000, 1000):
        sqlite_store.add(notes(1000, start=start))
    assert database.with_name("node.db-wal").stat().st_size <= 2 * sqlite.LOG_BYTES


def test_a_page_of_the_feed_is_bounded_in_bytes(
    sqlite_store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_store.add(notes(10))
    monkeypatch.setattr(questions, "FEED_BYTES", 3 * len(raw(notes(1)[0])))
    rows = sqlite_store.feed(0, 10)
    assert [row.seq for row in rows] == [1, 2, 3]


def test_more_authors_than_are_remembered(
    sqlite_store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshconsole.relay.authors.Authors.LIMIT", 3)
    events = [unsigned(f"author {n}", created_at=NOW + n) for n in range(10)]
    for event in events:
        sqlite_store.add([event])
    for event in events:
        assert ids(sqlite_store.query([Filter(authors=frozenset({event.pubkey}))], 9)) == [event.id]


def test_authors_of_a_failed_batch_are_forgotten(sqlite_store: SqliteEventStore) -> None:
    writer = sqlite_store._writer
    pages = writer.execute("pragma page_count").fetchone()[0]
    writer.execute(f"pragma max_page_count = {pages}")
    many = [unsigned(f"author {n}", content="x" * 2000) for n in range(50)]
    assert not sqlite_store.add(many)[0].accepted
    writer.execute("pragma max_page_count = 1000000")
    other = unsigned("other")
    sqlite_store.add([other])
    sqlite_store.add(many[:1])
    assert ids(sqlite_store.query([Filter(authors=frozenset({many[0].pubkey}))], 9)) == [many[0].id]
    assert ids(sqlite_store.query([Filter(authors=frozenset({other.pubkey}))], 9)) == [other.id]


@pytest.fixture(autouse=True)
def _no_threads_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_all_there_is_in_a_time_is_the_same_at_once(
    sqlite_store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MANY_ROWS", 3)
    bob = fake_npub("bob")
    kinds = [1] * 12 + [7, 1059, 1059, 1, 1, 1]
    sqlite_store.add(
        [
            unsigned(kind=kind, created_at=NOW + place, tags=() if place == 13 else (("p", bob),))
            for place, kind in enumerate(kinds)
        ]
    )
    asked = [
        Filter(),
        Filter(limit=5),
        Filter(since=NOW + 3, until=NOW + 20),
        Filter(since=NOW + 3, until=NOW + 11, hidden=frozenset({7})),
        Filter(since=NOW + 3, hidden=frozenset({7, 8})),
        Filter(addressed=frozenset()),
        Filter(until=NOW + 9, addressed=frozenset({bob})),
        Filter(until=NOW + 13, addressed=frozenset({bob})),
    ]
    for wanted in asked:
        for cap, size in ((4, 300), (18, 3000), (18, 300), (500, 1 << 20)):
            now = sqlite_store.answer_now([wanted], cap, size)
            later = sqlite_store.answer([wanted], cap, size)
            assert now is not None
            assert now.raws + sqlite_store.fetch(now.rest) == later.raws + sqlite_store.fetch(later.rest)
            assert (now.head_seq, now.complete) == (later.head_seq, later.complete)
