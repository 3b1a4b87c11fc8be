"""Making tables: once, whoever comes first, and never over newer ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from meshconsole.relay.postgres import schema

if TYPE_CHECKING:
    from scripts.postgres import Cluster

ROOT = Path(__file__).parents[3]

OPEN = """
import sys
from meshconsole.relay.postgres.store import PostgresEventStore
sys.stdin.readline()
store = PostgresEventStore(sys.argv[1])
print(store.log_id, flush=True)
store.close()
"""


def test_processes_that_make_the_tables_at_once(postgres: Cluster, url: str) -> None:
    command = [sys.executable, "-c", OPEN, url]
    racing = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in racing:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [process.communicate()[0] for process in racing]
    assert [process.returncode for process in racing] == [0] * 4
    assert len(set(answers)) == 1
    assert postgres.execute("select count(*), max(number) from mc_version", url) == [
        (len(schema.MIGRATIONS), len(schema.MIGRATIONS))
    ]
    assert postgres.execute("select count(*) from mc_state", url) == [(1,)]


def test_a_migration_is_applied_once_and_all_or_nothing(
    postgres: Cluster, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        schema.prepare(connection)
        before = postgres.execute("select log_id from mc_state", url)
        broken = "create table mc_new (x integer); select 1 / 0"
        monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, broken))
        with pytest.raises(psycopg.errors.DivisionByZero):
            schema.prepare(connection)
        assert postgres.execute("select to_regclass('mc_new')", url) == [(None,)]
        whole = "create table mc_new (x integer); insert into mc_new values (1)"
        monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS[:-1], whole))
        schema.prepare(connection)
        schema.prepare(connection)
        assert postgres.execute("select x from mc_new", url) == [(1,)]
        assert postgres.execute("select log_id from mc_state", url) == before


def test_the_list_of_tables_is_whole(postgres: Cluster, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        schema.prepare(connection)
        rows = postgres.execute(
            "select table_name from information_schema.tables where table_schema = current_schema()", url
        )
    assert {row[0] for row in rows} == {*schema.TABLES, "mc_version"}
