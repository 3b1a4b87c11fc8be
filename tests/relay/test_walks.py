"""Walks give what a sort of everything would give, however the keys are spread over the places."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from sqlcipher3 import dbapi2

from meshconsole.relay.walks import EVERYTHING, Span, Walk, follow, kinds_of

rows = st.lists(
    st.tuples(st.integers(1, 400), st.integers(1, 3), st.integers(0, 4)),
    max_size=120,
    unique_by=lambda row: row[0],
)
spans = st.builds(Span, st.integers(0, 150), st.integers(100, 400), st.booleans())


@given(
    rows,
    st.sets(st.integers(1, 4), min_size=1),
    st.none() | st.sets(st.integers(0, 5), min_size=1),
    st.integers(1, 60),
    st.just(EVERYTHING) | spans,
)
def test_the_first_of_all_places(
    held: list[tuple[int, int, int]], values: set[int], kinds: set[int] | None, limit: int, span: Span
) -> None:
    connection = dbapi2.connect(":memory:", isolation_level=None)
    connection.execute("create table events (key integer primary key, author integer, kind integer)")
    connection.execute("create index by_author on events (author, kind)")
    connection.executemany("insert into events values (?, ?, ?)", held)
    places = [(value, kind) for value in values for kind in kinds or ()]
    if kinds is None:
        places = [place for place in kinds_of(connection, "events", "author", list(values)) if place[1] != 1]
    walk = Walk("events", ("author", "kind"), places)
    found = follow(connection, walk, limit, span)
    connection.close()
    matching = [
        key
        for key, author, kind in held
        if author in values and (kind != 1 if kinds is None else kind in kinds)
        if span.low <= key <= span.high
    ]
    assert found == sorted(matching, reverse=not span.upwards)[:limit]
