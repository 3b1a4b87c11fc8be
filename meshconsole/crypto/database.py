"""Encrypted SQLite: every database of a home is opened here and nowhere else.

SQLCipher encrypts and authenticates each page under a raw 32-byte key, WAL and journal included.
That it really does is asserted at each open, because a library without a cipher takes the key
statement as a no-op and writes plain pages.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlcipher3 import dbapi2 as sqlcipher

from meshconsole.core.errors import CorruptData, Fatal, LocalError, MeshconsoleError, Unavailable
from meshconsole.crypto.private_file import as_our_error

if TYPE_CHECKING:
    from pathlib import Path

KEY_LEN = 32
BUSY_TIMEOUT_MS = 5000
HMACS = ("HMAC_SHA256", "HMAC_SHA512")
"""How pages are authenticated: those of new databases by the first, for which processors have
instructions; those of older ones by the second, SQLCipher's default, with which a page that is not in the
cache costs a third more to read."""

CACHE_KIB = 2048

_PLAIN_HEADER = b"SQLite format 3\0"

SqlcipherError: type[Exception] = sqlcipher.Error
ConstraintError: type[Exception] = sqlcipher.IntegrityError
"""A row that a constraint of its table forbids."""
DatabaseErrors = (SqlcipherError,)
"""What a connection raises, through sqlite-utils as well. Not descended from sqlite3's exceptions; that
module is left out of the node, where it would take 2 MB."""


def open_database(path: Path, key: bytes, *, readonly: bool = False, create: bool = True) -> Any:  # noqa: ANN401
    """A `sqlcipher3` connection: WAL, synchronous=FULL, temporary tables in memory, autocommit.

    It may move between threads but be used by one at a time. Writers begin with BEGIN IMMEDIATE.
    A new file gets mode 0600. Raises CorruptData for a wrong key or damage, Fatal for what the owner
    must repair, Unavailable for what may pass.
    """
    if len(key) != KEY_LEN:
        raise LocalError("A database key must have 32 bytes.")
    try:
        if create and not readonly and _create(path):
            # Through a connection of its own: looking at the file drops the locks of those that are open.
            _connect(path, key, HMACS[0], readonly=False).close()
            _refuse_plain(path, path.read_bytes()[: len(_PLAIN_HEADER)])
        path.stat()
        try:
            return _connect(path, key, HMACS[0], readonly=readonly)
        except SqlcipherError as error:
            if not _is_other_cipher(error):
                raise
            return _connect(path, key, HMACS[1], readonly=readonly)
    except (SqlcipherError, OSError) as error:
        raise translate(error, path) from error


_descriptors: dict[tuple[int, int], int] = {}


def raw_file(path: Path) -> int:
    """A descriptor to read a database's bytes with. It stays open as long as the process runs.

    Closing any descriptor of a file drops every lock that the process holds on it (fcntl(2), "Record
    locking"), those of SQLite's connections too. Another process could then take the database for
    unused, and remove the log from under them.
    """
    status = path.stat()
    identity = (status.st_dev, status.st_ino)
    if identity not in _descriptors:
        _descriptors[identity] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return _descriptors[identity]


def translate(error: Exception, path: Path | None = None) -> MeshconsoleError:
    """The error of ours for one that SQLite, SQLCipher or the file system raised."""
    name = path.name if path else "The database"
    if isinstance(error, MeshconsoleError):
        return error
    if isinstance(error, OSError):
        return as_our_error(error, name)
    code = getattr(error, "sqlite_errorcode", None)
    kind = code & 0xFF if isinstance(code, int) else _code_from_text(str(error))
    if kind in (sqlcipher.SQLITE_CORRUPT, sqlcipher.SQLITE_NOTADB):
        return _corrupt(name, kind)
    if kind == sqlcipher.SQLITE_FULL:
        return _disk_full(name)
    if kind in (sqlcipher.SQLITE_BUSY, sqlcipher.SQLITE_LOCKED):
        return Unavailable(f"{name} is in use by another process.", hint="Try again in a moment.")
    if kind == sqlcipher.SQLITE_INTERRUPT:
        return Unavailable("The query took longer than it may.", hint="Ask for less.")
    if kind in (sqlcipher.SQLITE_READONLY, sqlcipher.SQLITE_PERM, sqlcipher.SQLITE_CANTOPEN):
        return _no_permission(name)
    if kind == sqlcipher.SQLITE_IOERR:
        return Fatal(f"{name} cannot be read or written.", hint="Check the disk or card for faults.")
    if kind == sqlcipher.SQLITE_NOMEM:
        return Unavailable("There is not enough memory for the database.")
    return LocalError(f"The database refused a statement: {error}")


def is_interrupt(error: BaseException | None) -> bool:
    """A statement was broken off because it ran too long."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF == sqlcipher.SQLITE_INTERRUPT


def _create(path: Path) -> bool:
    """An empty file readable by its owner alone. False if there is a file already."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    return True


def _refuse_plain(path: Path, header: bytes) -> None:
    if header == _PLAIN_HEADER:
        raise Fatal(
            f"{path.name} is a plain SQLite file, not an encrypted one.",
            hint="Move it away; meshconsole neither reads nor overwrites it.",
        )


def _is_other_cipher(error: Exception) -> bool:
    """What a key or a cipher that is not the file's own looks like."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF == sqlcipher.SQLITE_NOTADB


def _connect(path: Path, key: bytes, hmac: str, *, readonly: bool) -> Any:  # noqa: ANN401
    mode = "ro" if readonly else "rw"
    conn = sqlcipher.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_TIMEOUT_MS / 1000,
    )
    try:
        conn.execute("PRAGMA cipher_log_level = NONE")  # else it writes to standard error
        conn.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
        conn.execute(f"PRAGMA cipher_hmac_algorithm = {hmac}")
        _assert_cipher(conn)
        is_empty = not _tables(conn, path)
        conn.execute("PRAGMA temp_store = MEMORY")
        conn.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        # What is only read was authenticated; looking at each cell of a page too costs a tenth of reading it.
        conn.execute(f"PRAGMA cell_size_check = {not readonly}")
        conn.execute("PRAGMA trusted_schema = OFF")
        if not readonly:
            if is_empty:  # with tables it is not heeded, and writes all the same
                conn.execute("PRAGMA auto_vacuum = INCREMENTAL")
            conn.execute("PRAGMA journal_mode = WAL")
            conn.execute("PRAGMA synchronous = FULL")
    except BaseException:
        conn.close()
        raise
    return conn


def _tables(conn: Any, path: Path) -> int:  # noqa: ANN401
    """How many there are. Raises SqlcipherError where the key or the cipher is another one."""
    try:
        return int(conn.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    except SqlcipherError:
        _refuse_plain(path, os.pread(raw_file(path), len(_PLAIN_HEADER), 0))
        raise


def _assert_cipher(conn: Any) -> None:  # noqa: ANN401
    version = conn.execute("PRAGMA cipher_version").fetchone()
    status = conn.execute("PRAGMA cipher_status").fetchone()
    if not version or not version[0] or not status or str(status[0]) != "1":
        raise Fatal(
            "The SQLite library in use does not encrypt.",
            hint="Reinstall the package sqlcipher3.",
        )


def _code_from_text(text: str) -> int:
    """For errors that carry no code: those the module raises by itself."""
    if "unable to open" in text:
        return int(sqlcipher.SQLITE_CANTOPEN)
    if "readonly" in text:
        return int(sqlcipher.SQLITE_READONLY)
    return int(sqlcipher.SQLITE_ERROR)


def _corrupt(name: str, kind: int) -> CorruptData:
    if kind == sqlcipher.SQLITE_NOTADB:
        return CorruptData(
            f"{name} does not open: its key is another one, or its first page is damaged.",
            hint="Restore keystore and database from the same backup.",
        )
    return CorruptData(
        f"{name} is damaged: a page fails its integrity check.",
        hint="Restore it from a backup, or move it away: what the team has comes back, for node.db after "
        "'meshconsole team join' with a new invite.",
    )


def _disk_full(name: str) -> Unavailable:
    return Unavailable(f"There is no space left to write {name}.", hint="Free some space on the disk.")


def _no_permission(name: str) -> Fatal:
    return Fatal(
        f"{name} cannot be opened for writing.",
        hint="Check the owner and the permissions of the home folder, and that its disk is not read-only.",
    )
