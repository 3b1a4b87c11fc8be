"""What is remembered of the authors' newest events is what the index has, whatever is written meanwhile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlcipher3 import dbapi2

from meshconsole.relay import newest as module
from meshconsole.relay.authors import Authors
from meshconsole.relay.filter import Filter
from meshconsole.relay.keys import ID_BITS, MAX_KEY, KeyedHash
from meshconsole.relay.newest import DEPTH, Newest
from meshconsole.relay.reading import Reading
from meshconsole.relay.walks import Memory

NPUBS = {f"{number:02x}" * 32: number for number in (1, 2, 3)}

rows = st.tuples(st.integers(1, 90), st.sampled_from(sorted(NPUBS.values())), st.integers(0, 3))
filters = st.builds(
    Filter,
    authors=st.frozensets(st.sampled_from(sorted(NPUBS)), min_size=1),
    kinds=st.none() | st.frozensets(st.integers(0, 4), min_size=1, max_size=2),
    since=st.none() | st.integers(0, 30),
    until=st.none() | st.integers(30, 90),
    limit=st.integers(1, 12),
    hidden=st.sampled_from([frozenset(), frozenset({2})]),
)
steps = st.one_of(
    st.tuples(st.sampled_from(["write", "take back"]), st.lists(rows, max_size=6)),
    st.tuples(st.just("remove"), st.integers(0, 40)),
    st.tuples(st.just("ask"), st.lists(filters, min_size=1, max_size=3)),
)


class Store:
    """The part of the event store that is about authors, in memory."""

    def __init__(self) -> None:
        self.db = dbapi2.connect(":memory:", isolation_level=None)
        self.db.execute("create table events (key integer primary key, author integer, kind integer)")
        self.db.execute("create index by_author on events (author, kind)")
        self.held: dict[int, tuple[int, int]] = {}
        self.newest = Newest()
        self.authors = Authors()
        self.authors.remember(NPUBS)

    def write(self, rows: list[tuple[int, int, int]], *, undone: bool = False) -> None:
        new = {time << ID_BITS: (author, kind) for time, author, kind in rows}
        new = {key: place for key, place in new.items() if key not in self.held}
        self.newest.begin()
        self.newest.added((key, *place) for key, place in new.items())
        if not undone:
            self.db.executemany("insert into events values (?, ?, ?)", [(k, *p) for k, p in new.items()])
            self.held |= new
        self.newest.end(None if undone else len(self.held))

    def remove(self, place: int) -> None:
        for key in sorted(self.held)[place : place + 1]:
            self.newest.begin()
            self.newest.removed([self.held.pop(key)])
            self.db.execute("delete from events where key = ?", (key,))
            self.newest.end(0)

    def ask(self, wanted: Filter) -> list[int]:
        moment = self.newest.moment()
        assert moment is not None
        memory = Memory(self.newest, moment)
        hashes = KeyedHash(b"t" * 32)
        reading = Reading(self.db, hashes, self.authors, now=0, expiring=False, memory=memory)
        return reading.keys(wanted, wanted.limit or 0)

    def expected(self, wanted: Filter) -> list[int]:
        numbers = {NPUBS[npub] for npub in wanted.authors or ()}
        return sorted(
            (
                key
                for key, (author, kind) in self.held.items()
                if author in numbers
                and (wanted.kinds is None or kind in wanted.kinds)
                and kind not in wanted.hidden
                and (wanted.since or 0) <= key >> ID_BITS <= (wanted.until or 90)
            ),
            reverse=True,
        )[: wanted.limit]


@given(
    st.lists(steps, max_size=12),
    st.sampled_from([2, DEPTH]),
    st.sampled_from([6, 40_000]),
    st.sampled_from([1, 16]),
)
def test_it_agrees_with_the_index(
    steps: list[tuple[str, object]], depth: int, most: int, most_kinds: int
) -> None:
    store = Store()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "DEPTH", depth)
        patch.setattr(module, "MAX_KEYS", most)
        patch.setattr(module, "MAX_KINDS", most_kinds)
        for what, given_ in steps:
            if isinstance(given_, int):
                store.remove(given_)
            elif what == "ask":
                assert isinstance(given_, list)
                for wanted in given_:
                    assert store.ask(wanted) == store.expected(wanted)
            else:
                assert isinstance(given_, list)
                store.write(given_, undone=what == "take back")
            newest = store.newest
            assert newest._held == sum(1 + len(place.keys) for place in newest._places.values())
            assert newest._held <= most + 12
            assert all(len(kinds) <= most_kinds for kinds in newest._kinds.values())
    store.db.close()


def test_what_is_written_makes_it_no_larger_than_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Authors that were asked about, who then write much of many kinds."""
    monkeypatch.setattr(module, "MAX_KEYS", 100)
    newest = Newest()
    moment = newest.moment()
    assert moment is not None
    newest.learn_kinds({author: frozenset() for author in range(50)}, moment)
    for kind in range(40):
        newest.begin()
        newest.added((1000 * kind + author, author, kind) for author in range(50))
        newest.end(1)
        assert sum(1 + len(place.keys) for place in newest._places.values()) <= 100
    assert not newest._kinds, "they have too many"


def test_what_is_known_is_not_looked_up_again() -> None:
    store = Store()
    store.write([(time, 1, time % 2) for time in range(1, 40)])
    wanted = Filter(authors=frozenset(NPUBS), limit=12)
    assert store.ask(wanted) == store.expected(wanted)
    store.write([(50, 1, 3), (51, 2, 1), (20, 3, 1)])
    expected = store.expected(wanted)
    store.db.execute("drop table events")
    assert store.ask(wanted) == expected
    store.db.close()


def test_while_something_is_written_nothing_is_learnt() -> None:
    newest = Newest()
    before = newest.moment()
    assert before is not None
    newest.begin()
    assert newest.moment() is None
    newest.learn((1, 1), MAX_KEY, 0, [5], before)
    newest.learn_kinds({1: frozenset({1})}, before)
    newest.end(7)
    newest.learn((1, 1), MAX_KEY, 0, [5], before)
    assert not newest.is_still(before)
    assert newest.head == 7
    assert newest.kinds(1) is None
    assert newest.keys([((1, 1), MAX_KEY)], 0, 1) == [None]
