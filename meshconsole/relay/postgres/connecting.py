"""Connections to the PostgreSQL server that `relay.store` names.

libpq's own ways of finding what the URL leaves out hold: PGPASSWORD, PGPASSFILE and ~/.pgpass,
PGSERVICE, PGSSLMODE and the others. A password is never put into a sentence, a log or a title.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import conninfo, sql

from meshconsole.core.errors import Fatal
from meshconsole.relay.postgres.errors import translate, translate_connecting

if TYPE_CHECKING:
    from collections.abc import Mapping

Connection = psycopg.Connection[Any]
log = logging.getLogger(__name__)

QUERY_BUDGET_S = 2.0
"""The server breaks off a statement of a reader that takes longer."""

READER = {
    "statement_timeout": f"{QUERY_BUDGET_S}s",
    "default_transaction_read_only": "on",
    # The walks of queries.py are made for their indexes; a table that is small now will not stay so.
    "enable_seqscan": "off",
    "enable_incremental_sort": "off",
    "jit": "off",
}
WRITER = {
    "lock_timeout": "10s",
    "statement_timeout": "60s",
    # A process that stands still within its turn loses it: the server ends its session.
    "idle_in_transaction_session_timeout": "15s",
    "enable_seqscan": "off",
    "jit": "off",
}
LISTENER = {
    "statement_timeout": "10s",
    # It writes nothing; a notification needs no flush.
    "synchronous_commit": "off",
}

OLDEST_SERVER = 130000
CONNECT_TIMEOUT_S = 5
DEFAULTS = {
    "connect_timeout": str(CONNECT_TIMEOUT_S),
    # A server that vanished without a word is noticed within half a minute.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}


class Server:
    """Where the store is."""

    def __init__(self, url: str) -> None:
        """Raises Fatal when the URL cannot be understood. Connects to nothing."""
        parameters = _understood(url)
        self._parameters: dict[str, Any] = {
            **DEFAULTS,
            **parameters,
            "application_name": "meshconsole",
            "client_encoding": "UTF8",
        }
        where = [str(parameters.get(name)) for name in ("host", "port") if parameters.get(name)]
        self.where = ":".join(where) or "its default address"
        if parameters.get("dbname"):
            self.where += f", database {parameters['dbname']}"

    def connect(self, settings: Mapping[str, str], *, autocommit: bool = True) -> Connection:
        """A session with these settings of PostgreSQL's. Raises errors of ours."""
        try:
            connection: Connection = psycopg.connect("", **self._parameters, autocommit=True)
        except psycopg.Error as error:
            raise translate_connecting(error, self.where) from None
        try:
            _check(connection)
            for name, value in settings.items():
                statement = sql.SQL("set {} = {}").format(sql.Identifier(name), sql.Literal(value))
                connection.execute(statement)
            connection.autocommit = autocommit
        except psycopg.Error as error:
            connection.close()
            raise translate(error) from error
        except BaseException:
            connection.close()
            raise
        return connection


def _understood(url: str) -> dict[str, Any]:
    """Raises Fatal, without quoting anything: what the library does not understand may be a password, and
    so may be what it takes for a port when the password was not percent-encoded."""
    try:
        parameters = conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        parameters = {"port": "none"}
    place = "".join(str(parameters.get(name) or "") for name in ("host", "dbname", "user"))
    if "@" in place or not re.fullmatch(r"[\d,]*", str(parameters.get("port") or "")):
        raise Fatal(
            "relay.store is not a URL that PostgreSQL understands.",
            hint="Write postgresql://USER@HOST:PORT/DATABASE, with %XX for unusual signs.",
        )
    return parameters


def _check(connection: Connection) -> None:
    """Raises Fatal for a server that cannot hold the store."""
    version = connection.info.server_version
    if version < OLDEST_SERVER:
        raise Fatal(
            f"PostgreSQL {version // 10000} is too old for the event store.",
            hint=f"It needs {OLDEST_SERVER // 10000} or newer.",
        )
    if connection.info.parameter_status("server_encoding") != "UTF8":
        raise Fatal(
            "The PostgreSQL database is not in UTF-8.",
            hint="Make another: createdb --encoding=UTF8 --template=template0 NAME",
        )


def server_in_words(connection: Connection) -> str:
    """For status and doctor: version, place, database and user."""
    info = connection.info
    version = info.parameter_status("server_version") or str(info.server_version)
    host = info.host or "this machine"
    place = f"{host}:{info.port}" if not host.startswith("/") else f"{host}, port {info.port}"
    return f"PostgreSQL {version.split()[0]} at {place}, database {info.dbname}, user {info.user}"


def is_on_this_machine(connection: Connection) -> bool:
    """Through a Unix socket, or over loopback."""
    info = connection.info
    return info.host.startswith("/") or info.hostaddr in ("", "::1") or info.hostaddr.startswith("127.")


def insist_on_durability(connection: Connection) -> None:
    """An OK means that the event survives a power cut, whatever this server's default is."""
    connection.execute(
        "select set_config('synchronous_commit', 'on', false)"
        " where current_setting('synchronous_commit') = 'off'"
    )
    if connection.execute("show fsync").fetchall() == [("off",)]:
        log.warning("PostgreSQL runs with fsync=off: a power cut loses events that were acknowledged.")
