"""Each kind of request walks the index that was made for it, whatever the planner knows of the data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from meshconsole.relay.filter import Filter
from meshconsole.relay.postgres.queries import DOWNWARDS
from tests.relay.making import NOW, fake_npub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from meshconsole.relay.postgres.store import PostgresEventStore
    from scripts.postgres import Cluster

ROWS = 20_000
FILL = f"""
insert into mc_events (key, id, author, kind, seq, size, tags)
select ({NOW}::bigint + n) << 29, sha256(n::text::bytea), case when n % 10 = 0 then n else 7 end,
       case when n % 3 = 0 then 7 else 1 end, n, 500, array[n % 5] from generate_series(1, {ROWS}) n;
insert into mc_tags select n % 5, ({NOW}::bigint + n) << 29, case when n % 3 = 0 then 7 else 1 end
from generate_series(1, {ROWS}) n;
"""

ALICE = frozenset({fake_npub("alice")})
HEX = frozenset({"ab" * 32})
SHAPES = {
    "ids": (Filter(ids=HEX, limit=1), {"mc_events_id_key"}),
    "many ids": (Filter(ids=frozenset(f"{n:064x}" for n in range(300))), {"mc_events_id_key"}),
    "author and kind": (Filter(authors=ALICE, kinds=frozenset({1})), {"mc_events_author_kind"}),
    "author": (Filter(authors=ALICE, limit=1), {"mc_events_author"}),
    "kind": (Filter(kinds=frozenset({9})), {"mc_events_kind"}),
    "time line": (Filter(since=NOW), {"mc_events_pkey"}),
    "tag": (Filter(tags=(("e", HEX),)), {"mc_tags_pkey", "mc_events_pkey"}),
    "tag and more": (
        Filter(tags=(("e", HEX),), authors=ALICE, kinds=frozenset({1}), until=NOW),
        {"mc_tags_pkey", "mc_events_pkey"},
    ),
    "wrapped messages": (
        Filter(kinds=frozenset({1059}), addressed=ALICE),
        {"mc_tags_pkey", "mc_events_pkey"},
    ),
}


@pytest.fixture(params=["never analysed", "analysed"])
def filled(
    request: pytest.FixtureRequest, open_store: Callable[[], PostgresEventStore], postgres: Cluster, url: str
) -> PostgresEventStore:
    store = open_store()
    postgres.execute(FILL, url)
    if request.param == "analysed":
        postgres.execute("analyze mc_events, mc_tags", url)
    return store


def test_each_request_has_its_index(filled: PostgresEventStore) -> None:
    for name, (wanted, indexes) in SHAPES.items():
        for limit in (2, 501):
            query = filled._queries().ranked(wanted, limit)
            plan = explained(filled, query.sql, query.parameters)
            assert {node["Index Name"] for node in plan if "Index Name" in node} == indexes, name
            assert "Seq Scan" not in {node["Node Type"] for node in plan}, name
        query = filled._queries().union([wanted], 500, DOWNWARDS)
        plan = explained(filled, query.sql, query.parameters)
        assert {node["Index Name"] for node in plan if "Index Name" in node} == indexes, name


def explained(store: PostgresEventStore, sql: str, parameters: tuple[str, ...]) -> list[dict[str, object]]:
    """All nodes of the plan."""
    statement = f"explain (format json) {sql}".encode()
    found = store._readers.run(lambda connection: connection.execute(statement, parameters).fetchall())
    plan = found[0][0]
    return list(_nodes((plan if isinstance(plan, list) else json.loads(plan))[0]["Plan"]))


def _nodes(node: dict[str, object]) -> Iterator[dict[str, object]]:
    yield node
    below = node.get("Plans", [])
    assert isinstance(below, list)
    for each in below:
        yield from _nodes(each)
