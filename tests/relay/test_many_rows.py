"""Rows go in many at a time, and all of them."""

from __future__ import annotations

import sqlite3

import pytest

from meshconsole.relay.many import insert_rows


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 127, 128, 150, 300])
def test_every_row_goes_in_once(count: int) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("create table things (number integer, name blob)")
    rows = [(number, b"%d" % number) for number in range(count)]
    insert_rows(connection, "insert into things (number, name)", 2, rows)  # type: ignore[arg-type]
    assert connection.execute("select number, name from things order by rowid").fetchall() == rows
    connection.close()
