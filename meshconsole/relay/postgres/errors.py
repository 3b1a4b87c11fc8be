"""The errors of ours for those of PostgreSQL and its client library, in words and without secrets."""

from __future__ import annotations

import psycopg
from psycopg import errors

from meshconsole.core.errors import CorruptData, Fatal, LocalError, MeshconsoleError, Unavailable

_LOST = (
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.IdleInTransactionSessionTimeout,
    errors.IdleSessionTimeout,
)


def is_lost(error: psycopg.Error, connection: psycopg.Connection[object] | None = None) -> bool:
    """The connection ended, whatever the reason: another one may work."""
    if connection is not None and (connection.closed or connection.broken):
        return True
    return isinstance(error, _LOST) or (isinstance(error, psycopg.OperationalError) and not error.sqlstate)


def is_interrupt(error: BaseException | None) -> bool:
    """The statement was broken off because it took too long."""
    return isinstance(error, errors.QueryCanceled)


def translate(error: psycopg.Error) -> MeshconsoleError:
    """For an error on a connection that was open."""
    match error:
        case errors.QueryCanceled():
            return Unavailable("The query took longer than it may.", hint="Ask for less.")
        case errors.LockNotAvailable():
            return Unavailable(
                "Another relay process has held the PostgreSQL store for too long.", hint="Try again."
            )
        case errors.DiskFull():
            return Unavailable(
                "There is no space left on the PostgreSQL server's disk.", hint="Free some space there."
            )
        case errors.ReadOnlySqlTransaction():
            return Fatal(
                "The PostgreSQL server takes no writes: it is a standby, or set to read-only.",
                hint="Name the primary server in relay.store.",
            )
        case errors.InsufficientPrivilege():
            return Fatal(
                "The PostgreSQL user of relay.store may not use the event store's tables.",
                hint="Let the user that made the tables grant it all rights on them.",
            )
        case errors.UndefinedTable() | errors.UndefinedColumn():
            return Fatal(
                "The event store's tables are not in the PostgreSQL database any more.",
                hint="Restore them from a backup, or restart the node to make new ones.",
            )
        case errors.DataCorrupted() | errors.IndexCorrupted():
            return CorruptData(
                "The PostgreSQL database is damaged.", hint="Restore it from a backup; see the server's log."
            )
        case errors.OutOfMemory() | errors.TooManyConnections() | errors.ConfigurationLimitExceeded():
            return Unavailable("The PostgreSQL server has no room for this now.", hint="Try again.")
    if is_lost(error):
        return Unavailable("The connection to the PostgreSQL server was lost.", hint="It is tried again.")
    return LocalError(f"PostgreSQL refused a statement ({error.sqlstate}): {_first_line(error)}")


def translate_connecting(error: psycopg.Error, where: str) -> MeshconsoleError:
    """For an error of making a connection. The library's own text decides: it carries no code there.

    `where` names server and database without a password.
    """
    text = str(error)
    for signs, fatal, sentence, hint in _CONNECTING:
        if any(sign in text for sign in signs):
            kind = Fatal if fatal else Unavailable
            return kind(f"{sentence} ({where}).", hint=hint)
    return Unavailable(f"There is no connection to PostgreSQL ({where}): {_first_line(error)}.")


_CONNECTING = (
    (
        ("password authentication failed", "no password supplied", "pgpass"),
        True,
        "PostgreSQL refuses the password, or the user",
        "Correct relay.store, or the password in PGPASSWORD or ~/.pgpass.",
    ),
    (
        ("no pg_hba.conf entry", "authentication failed", "GSSAPI"),
        True,
        "PostgreSQL does not let this user in from here",
        "Allow it in the server's pg_hba.conf.",
    ),
    (
        ("role ",),
        True,
        "PostgreSQL does not know this user",
        "Make it with createuser, or correct relay.store.",
    ),
    (
        ("permission denied for database",),
        True,
        "The PostgreSQL user may not connect to this database",
        "Let its owner grant CONNECT on it.",
    ),
    (
        ("database ",),
        True,
        "PostgreSQL has no such database",
        "Make it with createdb, or correct relay.store.",
    ),
    (
        ("translate host name", "Name or service not known", "could not resolve"),
        False,
        "The name of the PostgreSQL server is not known",
        "Check the host in relay.store, and the network.",
    ),
    (
        ("Connection refused", "No such file or directory"),
        False,
        "No PostgreSQL server answers",
        "Start it, or correct host and port in relay.store.",
    ),
    (
        ("timeout expired", "timed out", "No route to host", "unreachable"),
        False,
        "The PostgreSQL server does not answer in time",
        "Check host and port in relay.store, and the network.",
    ),
    (
        ("starting up", "shutting down", "recovery mode"),
        False,
        "The PostgreSQL server is starting or stopping",
        "Try again in a moment.",
    ),
    (
        ("too many clients", "connection slots", "too many connections"),
        False,
        "The PostgreSQL server has no connection left",
        "Raise its max_connections; a relay process needs seven.",
    ),
    (
        ("SSL", "certificate"),
        True,
        "The encrypted connection to PostgreSQL cannot be made",
        "Check sslmode and sslrootcert in relay.store, and the server's certificate.",
    ),
)


def _first_line(error: psycopg.Error) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
