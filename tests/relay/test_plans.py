"""However the store's statements are planned, none sorts what it finds or goes through a whole table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from meshconsole.relay.authors import Authors
from meshconsole.relay.filter import Filter
from meshconsole.relay.keys import KeyedHash
from meshconsole.relay.reading import Reading
from meshconsole.relay.walks import EVERYTHING
from tests.relay.making import NOW, TAG_KEY, fake_npub, unsigned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshconsole.relay.dbapi import Cursor
    from meshconsole.relay.sqlite import SqliteEventStore

ALICE, BOB = fake_npub("alice"), fake_npub("bob")
TAG = (("t", frozenset({"x"})),)
TAGS = (("t", frozenset({"x", "y"})),)


BOUNDED = {"json_each", "k", "a", "b", "w", "p", "walk", "kinds", "CONSTANT", "(subquery-1)", "found", "few"}
"""What a statement was given, or what it has found so far."""


class Explaining:
    """A connection that remembers how each statement is planned."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401
        self._connection = connection
        self.plans: list[str] = []

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> Cursor:
        plan = self._connection.execute(f"explain query plan {sql}", parameters).fetchall()
        self.plans += [row[3] for row in plan]
        found: Cursor = self._connection.execute(sql, parameters)
        return found

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._connection, name)


@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize("expiring", [False, True])
@pytest.mark.parametrize(
    "wanted",
    [
        Filter(),
        Filter(since=NOW, until=NOW + 5),
        Filter(ids=frozenset({"ab" * 32})),
        Filter(kinds=frozenset({1})),
        Filter(kinds=frozenset({1, 7})),
        Filter(kinds=frozenset(range(300))),
        Filter(authors=frozenset({ALICE}), kinds=frozenset({1})),
        Filter(authors=frozenset({ALICE})),
        Filter(authors=frozenset({ALICE, BOB})),
        Filter(authors=frozenset({ALICE, BOB}), kinds=frozenset({1, 7})),
        Filter(authors=frozenset({ALICE, BOB}), kinds=frozenset(range(99)), hidden=frozenset({3})),
        Filter(tags=TAG),
        Filter(tags=TAGS),
        Filter(tags=TAGS, kinds=frozenset({1})),
        Filter(tags=(*TAGS, *TAG), kinds=frozenset(range(99))),
        Filter(tags=TAG, authors=frozenset({ALICE})),
        Filter(addressed=frozenset({BOB})),
        Filter(kinds=frozenset({1059}), addressed=frozenset({BOB}), tags=TAG),
    ],
)
def test_every_walk_follows_an_index(
    sqlite_store: SqliteEventStore, wanted: Filter, analyzed: bool, expiring: bool
) -> None:
    sqlite_store.add(
        [
            unsigned(name, kind=kind, content=str(n), tags=(("t", "x"), ("p", BOB)), created_at=NOW + n)
            for n in range(5)
            for name in ("alice", "bob")
            for kind in (1, 7, 1059)
        ]
    )
    if analyzed:
        sqlite_store._writer.execute("analyze")
    connection = Explaining(sqlite_store._open(1024, readonly=True))
    reading = Reading(connection, KeyedHash(TAG_KEY), Authors(), now=NOW, expiring=expiring)
    for span in (EVERYTHING, EVERYTHING._replace(upwards=True)):
        reading.keys(wanted, 10, span)
    connection.close()
    for step in connection.plans:
        assert "FOR ORDER BY" not in step, step
        if step.startswith("SCAN"):
            assert step.split()[1] in BOUNDED, step
