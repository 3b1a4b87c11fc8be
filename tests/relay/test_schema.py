"""Databases of every version open as the newest one, with nothing lost."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from sqlite_utils import Database

from meshconsole.core.errors import Fatal
from meshconsole.crypto.database import open_database
from meshconsole.relay import schema, sqlite, upkeep, words
from meshconsole.relay.event import address, expiration, indexed_tags
from meshconsole.relay.filter import Filter
from meshconsole.relay.keys import KeyedHash, row_key, short_id
from meshconsole.relay.migrations import migrations
from meshconsole.relay.retention import is_versioned
from meshconsole.relay.sqlite import SqliteEventStore
from meshconsole.relay.store import Answer
from tests.relay.held import ALL, deletion, held
from tests.relay.making import KEY, NOW, TAG_KEY, Clock, fake_npub, raw, unsigned
from tests.relay.test_sqlite import ORPHANS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from meshconsole.core.event import Event

MIGRATIONS = [migration.name for migration in migrations._migrations]


def test_every_migration_is_named() -> None:
    """So that a store opens without loading any."""
    assert tuple(MIGRATIONS) == schema.MIGRATIONS


@pytest.fixture
def never_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is indexed but what a search waits for."""
    monkeypatch.setattr(upkeep, "PAUSE_S", 3600.0)


def first_version(path: Path, events: Sequence[Event]) -> None:
    """What the first version would have stored."""
    connection = open_database(path, KEY)
    db = Database(connection)
    migrations.apply(db, stop_before=MIGRATIONS[1])
    hashes = KeyedHash(TAG_KEY)
    for seq, event in enumerate(events, 1):
        key = row_key(event)
        author = bytes.fromhex(event.pubkey)
        db.execute("insert or ignore into authors (pubkey) values (?)", (author,))
        db.execute(
            "insert into events values (?, ?, (select author from authors where pubkey = ?), ?, ?)",
            (key, short_id(event.id), author, event.kind, seq),
        )
        db.execute("insert into bodies values (?, ?)", (key, raw(event)))
        for tag in indexed_tags(event):
            db.execute("insert into tags values (?, ?, ?)", (hashes.tag(*tag), key, event.kind))
        if is_versioned(event.kind):
            db.execute("insert into addresses values (?, ?)", (hashes.address(address(event)), key))
        if (expires := expiration(event)) is not None:
            db.execute("insert into expirations values (?, ?)", (key, expires))
    db.execute("update relay_state set value = ? where name = 'head_seq'", (str(len(events)),))
    connection.close()


@pytest.mark.parametrize("vacuumed", [False, True])
def test_a_database_of_the_first_version_is_brought_up_to_date(
    database: Path, clock: Clock, vacuumed: bool
) -> None:
    events = [
        unsigned(content="the northern bridge", tags=(("t", "x"), ("e", "ab" * 32))),
        unsigned("bob", kind=7, tags=(("t", "x"),), created_at=NOW + 1),
        unsigned("bob", kind=0, content="a sailor", created_at=NOW + 2),
        unsigned("random", kind=1059, tags=(("p", fake_npub("bob")),), created_at=NOW + 3),
        unsigned(tags=(("expiration", str(NOW + 9)),), created_at=NOW + 4),
    ]
    first_version(database, events)
    store = SqliteEventStore(database, KEY, TAG_KEY, clock=clock)
    if vacuumed:
        store.vacuum()
    names = [event.id for event in events]
    assert held(store) == names[::-1]
    assert store.known(names) == set(names)
    assert [item.id.hex() for item in store.items(Filter(), 9)] == names
    assert held(store, Filter(tags=(("t", frozenset({"x"})),))) == names[1::-1]
    assert held(store, Filter(tags=(("t", frozenset({"x"})),), kinds=frozenset({7}))) == [names[1]]
    assert held(store, Filter(search="north")) == [names[0]]
    assert held(store, Filter(addressed=frozenset({fake_npub("bob")}), kinds=frozenset({1059}))) == [names[3]]
    store.add([unsigned("bob", kind=0, content="a pilot", created_at=NOW + 5), deletion(("e", names[0]))])
    assert held(store, Filter(search="sailor")) == held(store, Filter(search="bridge")) == []
    assert (store.count(), store.head_seq) == (5, 7)
    for question in ORPHANS:
        assert store._writer.execute(question).fetchone() == (0,), question
    store.close()
    again = SqliteEventStore(database, KEY, TAG_KEY, clock=clock)
    assert len(again.query(ALL, 9)) == 5
    again.close()


@pytest.mark.usefixtures("never_a_pause")
def test_words_indexed_by_an_earlier_version_are_indexed_anew(
    database: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = unsigned(content="the northern bridge " + "and so on " * 90)
    short = unsigned(content="north", created_at=NOW + 1)
    gone = unsigned(content="northern lights", created_at=NOW + 2)
    events = [long, unsigned(kind=7, content="north"), short, gone]
    first_version(database, events)
    db = Database(open_database(database, KEY))
    migrations.apply(db, stop_before="words_by_length")
    for seq, event in enumerate(events, 1):
        if event.kind == 1:
            db.execute("insert into words (rowid, content) values (?, ?)", (seq, event.content))
    db.execute("update relay_state set value = '4' where name = 'indexed_seq'")
    db.conn.close()

    north = [Filter(search="north")]
    monkeypatch.setattr(words, "STEP", 2)
    monkeypatch.setattr(sqlite, "CATCH_UP_S", -1.0)
    store = SqliteEventStore(database, KEY, TAG_KEY, clock=clock)
    assert store.answer(north, 9, 9999) == Answer([], [], 4, complete=False), "it says what it has not seen"
    assert store._index_step(True)
    store.add([deletion(("e", gone.id))])
    assert store.answer(north, 9, 9999) == Answer([raw(long)], [], 5, complete=False)
    monkeypatch.setattr(sqlite, "CATCH_UP_S", 60.0)
    assert store.answer(north, 9, 9999) == Answer([raw(short), raw(long)], [], 5, complete=True)
    store.close()


def test_what_is_brought_up_to_date_is_copied_before(database: Path, clock: Clock) -> None:
    events = [unsigned(content="one"), unsigned("bob", kind=7, created_at=NOW + 1)]
    first_version(database, events)
    stale = database.with_name(f"{database.name}.before-something")
    stale.write_text("of an earlier upgrade")
    SqliteEventStore(database, KEY, TAG_KEY, clock=clock).close()
    (copy,) = schema.copies(database)
    assert copy.name == f"{database.name}.before-{MIGRATIONS[1]}"
    assert copy.stat().st_mode & 0o777 == 0o600
    # The way back: the copy takes the database's place, and the older program would find what it left.
    before = Database(open_database(copy, KEY))
    assert before.execute("select count(*) from events").fetchone()[0] == 2
    assert "words" not in before.table_names()
    before.close()


def test_a_new_or_current_database_is_not_copied(database: Path, clock: Clock) -> None:
    for _ in range(2):
        SqliteEventStore(database, KEY, TAG_KEY, clock=clock).close()
    assert not schema.copies(database)


def test_without_room_for_the_copy_nothing_is_changed(
    database: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_version(database, [unsigned(content="one")])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Fatal, match="cannot be copied before"):
            SqliteEventStore(database, KEY, TAG_KEY, clock=clock)
    assert not schema.copies(database)
    store = SqliteEventStore(database, KEY, TAG_KEY, clock=clock)
    assert len(held(store)) == 1
    store.close()


def test_a_database_of_a_newer_program_is_left_alone(database: Path, clock: Clock) -> None:
    SqliteEventStore(database, KEY, TAG_KEY, clock=clock).close()
    newer = Database(open_database(database, KEY))
    row = {"migration_set": "relay", "name": "clouds", "applied_at": ""}
    newer.table("_sqlite_migrations").insert(row)
    newer.conn.commit()
    newer.close()
    with pytest.raises(Fatal, match=r"newer meshconsole \(clouds\)"):
        SqliteEventStore(database, KEY, TAG_KEY, clock=clock)
