"""Many values for few statements: rows to insert, lists to look for."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING

from meshconsole.relay.walks import json_list, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from meshconsole.relay.dbapi import Connection

CHUNK = 500
"""Values in one list of a statement."""

ROWS_AT_ONCE = (512, 64, 8, 1)
"""So many rows are inserted by one statement: few sizes, for each is a statement of its own."""


def insert_rows(connection: Connection, into: str, width: int, rows: Sequence[Sequence[object]]) -> None:
    """Many rows with each statement: after each the interpreter's lock is given up and taken again, for
    which a writer beside a busy loop waits longer than the rows take."""
    done = 0
    for count in ROWS_AT_ONCE:
        while len(rows) - done >= count:
            part = rows[done : done + count]
            connection.execute(_insertion(into, width, count), tuple(chain.from_iterable(part)))
            done += count


@lru_cache(32)
def _insertion(into: str, width: int, count: int) -> str:
    row = f"({', '.join('?' * width)})"
    return f"{into} values {', '.join([row] * count)}"


def in_lists(values: Sequence[int]) -> Iterator[str]:
    """Integers as text, in chunks."""
    for start in range(0, len(values), CHUNK):
        yield numbers(values[start : start + CHUNK])


def json_lists(values: Sequence[int]) -> Iterator[str]:
    """The same as JSON."""
    for start in range(0, len(values), CHUNK):
        yield json_list(values[start : start + CHUNK])
