"""What can be said of a PostgreSQL server before a node uses it. Changes nothing there."""

from __future__ import annotations

from typing import NamedTuple

import psycopg

from meshconsole.core.errors import Fatal
from meshconsole.relay.postgres.connecting import Server, is_on_this_machine, server_in_words
from meshconsole.relay.postgres.errors import translate
from meshconsole.relay.postgres.schema import no_right_to_make_tables, no_schema


class Caution(NamedTuple):
    sentence: str
    hint: str


class Probed(NamedTuple):
    server: str
    warnings: list[Caution]


def probe(url: str) -> Probed:
    """Raises Fatal or Unavailable when a node could not use it."""
    connection = Server(url).connect({"default_transaction_read_only": "on", "statement_timeout": "5s"})
    try:
        row = connection.execute(
            "select to_regclass('mc_state') is not null, current_schema() is not null,"
            " coalesce(has_schema_privilege(current_schema(), 'create'), false),"
            " current_setting('fsync'), current_setting('full_page_writes'), pg_is_in_recovery(),"
            " coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false)"
        ).fetchall()[0]
        server = server_in_words(connection)
        is_near = is_on_this_machine(connection)
    except psycopg.Error as error:
        raise translate(error) from error
    finally:
        connection.close()
    has_tables, has_schema, may_make, fsync, full_pages, is_standby, is_encrypted = row
    if is_standby:
        raise Fatal("The PostgreSQL server is a standby.", hint="Name the primary server in relay.store.")
    if not has_tables and not has_schema:
        raise no_schema()
    if not has_tables and not may_make:
        raise no_right_to_make_tables()
    warnings = []
    if "off" in (fsync, full_pages):
        sentence = "fsync or full_page_writes is off: a power cut loses events that were acknowledged"
        warnings.append(Caution(sentence, "Turn both on in the server's postgresql.conf."))
    if not is_encrypted and not is_near:
        sentence = "the connection is not encrypted, and leaves this machine"
        warnings.append(Caution(sentence, "Add sslmode=verify-full to relay.store."))
    return Probed(server, warnings)
