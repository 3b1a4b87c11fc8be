"""Databases are encrypted, or are not opened; each fault gets a sentence and a hint."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import sqlite_utils

from meshconsole.core.errors import CorruptData, Fatal, LocalError, MeshconsoleError, Unavailable
from meshconsole.crypto import database
from meshconsole.crypto.database import DatabaseErrors, open_database, translate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = b"k" * 32
MARKER = "MEDEVAC at the northern bridge"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "node.db"


@pytest.fixture
def conn(path: Path) -> Iterator[Any]:
    with closing(open_database(path, KEY)) as conn:
        conn.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT UNIQUE)")
        yield conn


def pragma(conn: Any, name: str) -> object:  # noqa: ANN401
    return conn.execute(f"PRAGMA {name}").fetchone()[0]


def filled(path: Path, rows: int = 300) -> None:
    with closing(open_database(path, KEY)) as conn:
        conn.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)")
        conn.executemany(
            "INSERT INTO notes (text) VALUES (?)", [(f"{MARKER} {n}" * 20,) for n in range(rows)]
        )


def test_rows_come_back(path: Path, conn: Any) -> None:  # noqa: ANN401
    conn.execute("INSERT INTO notes (text) VALUES (?)", (MARKER,))
    with closing(open_database(path, KEY)) as again:
        assert again.execute("SELECT text FROM notes").fetchall() == [(MARKER,)]


def test_opening_one_again_writes_nothing(path: Path) -> None:
    """Each start opens several, and on a card each commit takes long."""
    filled(path)
    before = path.read_bytes()
    with closing(open_database(path, KEY)) as again:
        assert pragma(again, "auto_vacuum") == 2  # incremental
        assert path.with_name("node.db-wal").stat().st_size == 0
    assert path.read_bytes() == before


def test_it_is_set_up_for_durable_group_commits(conn: Any) -> None:  # noqa: ANN401
    assert pragma(conn, "journal_mode") == "wal"
    assert pragma(conn, "synchronous") == 2
    assert pragma(conn, "temp_store") == 2
    assert pragma(conn, "busy_timeout") == 5000
    assert conn.isolation_level is None


@pytest.mark.parametrize("readonly", [False, True])
def test_databases_of_the_first_version_open(
    path: Path, monkeypatch: pytest.MonkeyPatch, readonly: bool
) -> None:
    with monkeypatch.context() as before:
        before.setattr(database, "HMACS", ("HMAC_SHA512",))
        filled(path)
    with closing(open_database(path, KEY, readonly=readonly)) as conn:
        assert conn.execute("SELECT count(*) FROM notes").fetchone() == (300,)
        assert pragma(conn, "cipher_hmac_algorithm") == "HMAC_SHA512"


def test_new_databases_are_authenticated_by_sha256(conn: Any) -> None:  # noqa: ANN401
    assert pragma(conn, "cipher_hmac_algorithm") == "HMAC_SHA256"


def test_a_new_file_is_for_its_owner_alone(path: Path, conn: Any) -> None:  # noqa: ANN401
    for entry in path.parent.iterdir():
        assert stat.S_IMODE(entry.stat().st_mode) == 0o600, entry


def test_nothing_readable_reaches_the_disk(path: Path, conn: Any) -> None:  # noqa: ANN401
    """In the database, its log and the log's index, while it is open and after."""
    conn.execute("BEGIN IMMEDIATE")
    conn.executemany("INSERT INTO notes (text) VALUES (?)", [(f"{MARKER} {n}",) for n in range(500)])
    conn.execute("COMMIT")
    assert path.with_name("node.db-wal").stat().st_size > 0

    def found() -> list[str]:
        return [
            entry.name
            for entry in path.parent.iterdir()
            if any(word in entry.read_bytes() for word in (b"MEDEVAC", b"notes", b"CREATE", b"SQLite"))
        ]

    assert found() == []
    conn.close()
    assert found() == []


def test_a_wrong_key_is_named_and_nothing_is_printed(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    filled(path)
    with pytest.raises(CorruptData, match="its key is another one") as caught:
        open_database(path, b"K" * 32)
    assert caught.value.hint
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_our_fault(path: Path, length: int) -> None:
    with pytest.raises(LocalError):
        open_database(path, bytes(length))
    assert not path.exists()


def test_a_plain_database_is_neither_read_nor_changed(path: Path) -> None:
    with closing(sqlite3.connect(path)) as plain:
        plain.execute("CREATE TABLE t (a)")
    before = path.read_bytes()
    with pytest.raises(Fatal, match="plain SQLite file"):
        open_database(path, KEY)
    assert path.read_bytes() == before


def test_a_library_without_a_cipher_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take the key as a no-op and write plain pages."""
    monkeypatch.setattr("sqlcipher3.dbapi2.connect", sqlite3.connect)
    with pytest.raises(Fatal, match="does not encrypt"):
        open_database(path, KEY)
    assert path.read_bytes() == b""


def test_a_foreign_file_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database at all, but long enough to be one" * 200)
    with pytest.raises(CorruptData):
        open_database(path, KEY)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_damaged_page_is_found(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    filled(path)
    flip(path, 4096 * 20 + 100)
    with closing(open_database(path, KEY)) as conn:
        with pytest.raises(DatabaseErrors) as caught:
            conn.execute("SELECT sum(length(text)) FROM notes").fetchall()
        error = translate(caught.value, path)
    assert isinstance(error, CorruptData)
    assert "node.db is damaged" in error.sentence
    assert capfd.readouterr() == ("", "")


def test_a_damaged_first_page_is_found(path: Path) -> None:
    filled(path)
    flip(path, 50)
    with pytest.raises(CorruptData, match="first page is damaged"):
        open_database(path, KEY)


def test_an_absent_file_is_not_made_unless_asked_for(path: Path) -> None:
    for options in ({"create": False}, {"readonly": True}):
        with pytest.raises(Fatal, match=r"node\.db does not exist"):
            open_database(path, KEY, **options)
    assert not path.exists()


def test_a_missing_folder_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="does not exist") as caught:
        open_database(tmp_path / "absent" / "node.db", KEY)
    assert caught.value.hint


def test_a_name_with_special_characters_opens(tmp_path: Path) -> None:
    for name in ("a b.db", "100%.db", "what?.db", "näm#e.db"):
        path = tmp_path / name
        filled(path, rows=1)
        assert path.stat().st_size > 0


def test_a_reader_sees_what_was_committed_and_cannot_write(path: Path, conn: Any) -> None:  # noqa: ANN401
    conn.execute("INSERT INTO notes (text) VALUES ('one')")
    with closing(open_database(path, KEY, readonly=True)) as reader:
        conn.execute("BEGIN IMMEDIATE")
        conn.execute("INSERT INTO notes (text) VALUES ('two')")
        assert reader.execute("SELECT count(*) FROM notes").fetchone() == (1,)
        conn.execute("COMMIT")
        assert reader.execute("SELECT count(*) FROM notes").fetchone() == (2,)
        with pytest.raises(DatabaseErrors) as caught:
            reader.execute("DELETE FROM notes")
        error = translate(caught.value, path)
    assert isinstance(error, Fatal)
    assert "opened for writing" in error.sentence
    assert error.hint


def full(conn: Any, _: Path) -> None:  # noqa: ANN401
    conn.execute(f"PRAGMA max_page_count = {pragma(conn, 'page_count')}")
    conn.executemany("INSERT INTO notes (text) VALUES (?)", [(f"{n}" * 1000,) for n in range(100)])


def busy(conn: Any, path: Path) -> None:  # noqa: ANN401
    with closing(open_database(path, KEY)) as other:
        other.execute("BEGIN IMMEDIATE")
        conn.execute("PRAGMA busy_timeout = 0")
        conn.execute("INSERT INTO notes (text) VALUES ('x')")


def interrupted(conn: Any, _: Path) -> None:  # noqa: ANN401
    conn.set_progress_handler(lambda: 1, 100)
    conn.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n LIMIT 1"
    ).fetchall()


def constraint(conn: Any, _: Path) -> None:  # noqa: ANN401
    conn.executemany("INSERT INTO notes (text) VALUES (?)", [("x",), ("x",)])


def bad_statement(conn: Any, _: Path) -> None:  # noqa: ANN401
    conn.execute("SELEKT 1")


@pytest.mark.parametrize(
    ("provoke", "kind", "sentence"),
    [
        (full, Unavailable, "no space left to write node.db"),
        (busy, Unavailable, "in use by another process"),
        (interrupted, Unavailable, "longer than it may"),
        (constraint, LocalError, "UNIQUE"),
        (bad_statement, LocalError, "syntax error"),
    ],
)
def test_each_fault_has_its_sentence(
    conn: Any,  # noqa: ANN401
    path: Path,
    provoke: Callable[[Any, Path], None],
    kind: type[MeshconsoleError],
    sentence: str,
) -> None:
    with pytest.raises(DatabaseErrors) as caught:
        provoke(conn, path)
    error = translate(caught.value, path)
    assert type(error) is kind
    assert sentence in error.sentence


def test_errors_of_the_plain_library_and_the_system_are_translated_too() -> None:
    assert isinstance(translate(sqlite3.OperationalError("unable to open database file")), Fatal)
    assert isinstance(translate(sqlite3.OperationalError("attempt to write a readonly database")), Fatal)
    assert isinstance(translate(OSError(errno.ENOSPC, "No space left on device")), Unavailable)
    assert "The database" in translate(OSError(errno.EACCES, "Permission denied")).sentence


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_IOERR, Fatal),
        (sqlite3.SQLITE_IOERR | 10 << 8, Fatal),
        (sqlite3.SQLITE_NOMEM, Unavailable),
        (sqlite3.SQLITE_CANTOPEN, Fatal),
        (sqlite3.SQLITE_PERM, Fatal),
        (sqlite3.SQLITE_LOCKED, Unavailable),
        (sqlite3.SQLITE_CORRUPT, CorruptData),
    ],
)
def test_extended_and_rare_codes(code: int, kind: type[MeshconsoleError]) -> None:
    error = sqlite3.OperationalError("x")
    error.sqlite_errorcode = code
    assert type(translate(error)) is kind


def test_our_own_errors_stay_what_they_are() -> None:
    error = Unavailable("not now")
    assert translate(error) is error


@pytest.mark.parametrize("key", [KEY, b"x" * 32])
def test_opening_once_more_keeps_the_locks_of_those_who_have_it_open(
    path: Path,
    conn: Any,  # noqa: ANN401
    key: bytes,
) -> None:
    """Without its locks a database looks unused to other processes, which then remove its log."""
    with contextlib.suppress(CorruptData):
        open_database(path, key, readonly=True).close()
    locked = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    other = subprocess.run([sys.executable, "-c", locked, str(path)], capture_output=True, check=False)
    assert b"BlockingIOError" in other.stderr


def test_sqlite_utils_works_on_it(conn: Any) -> None:  # noqa: ANN401
    db = sqlite_utils.Database(conn)
    people: Any = db["people"]
    people.insert_all([{"id": 1, "name": "Ada"}, {"id": 2, "name": "Grace"}], pk="id")
    people.upsert({"id": 2, "name": "Grace Hopper"}, pk="id")
    people.enable_fts(["name"], create_triggers=True)
    people.transform(rename={"name": "full_name"})
    assert [row["full_name"] for row in people.rows] == ["Ada", "Grace Hopper"]
