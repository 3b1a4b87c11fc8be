from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshconsole.content.store.index import Differences, Entry, Index
from meshconsole.content.store.marking import Marking
from meshconsole.content.store.roots import ABSENT, TEAM, Pin, Presence, Root
from meshconsole.core.errors import CorruptData, Fatal
from tests.content.conftest import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A, B, C, D, E, F = (bytes((0x12, 0x20)) + letter * 32 for letter in (b"a", b"b", b"c", b"d", b"e", b"f"))
PAGE = 4096


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    index = Index(tmp_path / "index.db", KEY)
    yield index
    index.close()


def root(cid: str, *, pinned: bool = False, wanted: bool = False) -> Root:
    return Root(cid, "name", wanted, None, 1.0, (Pin(),) if pinned else ())


def marking(index: Index) -> Marking:
    return Marking(index._path, KEY)


def garbage(index: Index, needed_bytes: int, held: list[bytes]) -> list[bytes]:
    return [multihash for multihash, _ in marking(index).garbage(needed_bytes, held)]


def family(index: Index) -> None:
    """A over B and C; D over C and E; F alone. Used in the order of the letters."""
    index.record([Entry(A, 10, (B, C))], 1.0)
    index.record([Entry(B, 5000)], 2.0)
    index.record([Entry(C, 3)], 3.0)
    index.record([Entry(D, 10, (C, E))], 4.0)
    index.record([Entry(E, 7)], 5.0)
    index.record([Entry(F, PAGE)], 6.0)


def test_is_encrypted_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    first = Index(path, KEY)
    assert first.is_new
    family(first)
    first.put_root(root("cid-in-the-clear?", pinned=True), A)
    first.close()
    assert b"cid-in-the-clear?" not in path.read_bytes()
    second = Index(path, KEY)
    assert not second.is_new
    assert second.sizes([A, B, F, b"other"]) == {A: 10, B: 5000, F: PAGE}
    assert second.roots() == [root("cid-in-the-clear?", pinned=True)]
    second.close()
    with pytest.raises(CorruptData):
        Index(path, os.urandom(32))


def test_bytes_are_counted_in_pages_and_once(index: Index) -> None:
    assert index.stored() == (0, 0)
    family(index)
    assert index.stored() == (7 * PAGE, 6)
    assert marking(index).pinned_bytes() == 0
    index.put_root(root("a", pinned=True), A)
    index.put_root(root("d", pinned=True), D)
    index.put_root(root("f", wanted=True), F)
    assert marking(index).pinned_bytes() == 6 * PAGE  # C only once, F not


def test_the_last_use_is_known(index: Index) -> None:
    assert index.last_used() == 0.0
    family(index)
    index.touch([(B, 77.0)])
    assert index.last_used() == 77.0


def test_an_index_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    index = Index(path, KEY)
    index._conn.execute("PRAGMA user_version = 99")
    index.close()
    with pytest.raises(Fatal) as error:
        Index(path, KEY)
    assert "newer" in error.value.sentence


def test_presence(index: Index) -> None:
    index.put_root(root("a"), A)
    assert index.presence("a") == Presence(0, None, False)
    assert index.presence("unknown") == ABSENT
    index.record([Entry(A, 10, (B, C))], 1.0)
    assert index.presence("a") == Presence(10, None, False)
    index.record([Entry(B, 5), Entry(C, 3)], 1.0)
    assert index.presence("a") == Presence(18, 18, True)
    assert index.lose([B]) == ["a"]
    assert index.presence("a") == Presence(13, None, False)


def test_losing_a_block_keeps_what_is_below_it(index: Index) -> None:
    family(index)
    index.put_root(root("a", pinned=True), A)
    index.lose([A])
    assert set(garbage(index, 1 << 40, [])) == {D, E, F}


def test_forgetting_a_block_lets_go_of_what_is_below_it(index: Index) -> None:
    family(index)
    index.put_root(root("a", pinned=False), A)
    assert index.forget_unkept([A], []) == ([A], ["a"])
    assert index.sizes([A, B]) == {B: 5000}
    assert index.presence("a") == ABSENT
    index.record([Entry(A, 10, (B, C))], 9.0)
    assert index.presence("a") == Presence(5013, 5013, True)


def test_garbage_is_what_nothing_keeps_least_recently_used_first(index: Index) -> None:
    family(index)
    assert garbage(index, 1 << 40, []) == [A, B, C, D, E, F]
    assert garbage(index, 0, []) == []
    assert garbage(index, PAGE + 1, []) == [A, B]
    index.touch([(A, 99.0)])
    assert garbage(index, 1 << 40, []) == [B, C, D, E, F, A]
    index.put_root(root("d", wanted=True), D)
    assert garbage(index, 1 << 40, []) == [B, F, A]
    assert garbage(index, 1 << 40, [A]) == [F]
    index.drop_root("d")
    assert garbage(index, 1 << 40, [A]) == [D, E, F]


def test_of_the_blocks_below_some_those_that_are_kept_stay(index: Index) -> None:
    family(index)
    index.put_root(root("d", pinned=True), D)
    below = marking(index).below([A, F])
    assert set(below) == {(A, 10), (B, 5000), (C, 3), (F, PAGE)}
    names = [multihash for multihash, _ in below]
    assert names.index(A) < names.index(B)
    assert index.forget_unkept([A, B, C, F], [B]) == ([A, F], [])
    assert index.sizes([A, B, C, D, E, F]).keys() == {B, C, D, E}


def test_what_was_marked_and_is_kept_since_then_stays(index: Index) -> None:
    family(index)
    found = garbage(index, 1 << 40, [])
    index.put_root(root("a", pinned=True), A)
    assert index.forget_unkept(found, [E])[0] == [D, F]


def test_pins_have_owners(index: Index) -> None:
    mine = root("a", pinned=True)
    both = mine.with_pin(Pin(TEAM, 2, 3, 77.0))
    index.put_root(both, A)
    assert index.roots() == [both]
    index.put_root(both.without_pin("").with_pin(Pin(TEAM, 1)), A)
    assert index.roots()[0].pins == (Pin(TEAM, 1),)
    assert marking(index).pinned_bytes() == 0
    index.drop_root("a")
    index.put_root(root("a"), A)
    assert not index.roots()[0].pinned


def test_an_index_of_version_1_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    index = Index(path, KEY)
    family(index)
    index.put_root(root("a", pinned=True), A)
    index.put_root(root("d"), D)
    for statement in (
        "DROP TABLE pins",
        "DROP INDEX blocks_used",
        "ALTER TABLE roots DROP COLUMN paused",
        "PRAGMA user_version = 1",
    ):
        index._conn.execute(statement)
    index.close()
    again = Index(path, KEY)
    try:
        assert not again.is_new
        assert again.roots() == [root("a", pinned=True), root("d")]
        assert garbage(again, 1 << 40, []) == [D, E, F]
    finally:
        again.close()


def test_compare_with_the_files(index: Index) -> None:
    family(index)
    found = index.compare([(A, 10), (B, 4999), (C, 3), (b"new", 8), (F, PAGE)])
    assert found == Differences(((b"new", 8),), (B,), 2)
    assert index.sizes([A, B, C, D, E, F]).keys() == {A, B, C, F}
    assert index.compare([(A, 10), (B, 5000), (C, 3), (F, PAGE)]) == Differences((), (), 0)


def test_parentless(index: Index) -> None:
    family(index)
    assert set(index.parentless()) == {A, D, F}


def test_walking_over_all_blocks(index: Index) -> None:
    family(index)
    index.lose([C])
    seen: list[bytes] = []
    after = 0
    while True:
        some, after = index.page(after, 2)
        if not some:
            break
        seen += some
    assert sorted(seen) == [A, B, D, E, F]


def test_a_failed_batch_leaves_nothing(index: Index) -> None:
    def entries() -> Iterator[Entry]:
        yield Entry(A, 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.record(entries(), 1.0)
    assert index.sizes([A]) == {}


@settings(max_examples=40, deadline=None)
@given(
    links=st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda pair: pair[0] < pair[1])),
    pins=st.sets(st.integers(0, 9), max_size=3),
    held=st.sets(st.integers(0, 9), max_size=3),
)
def test_garbage_is_exactly_what_cannot_be_reached(
    tmp_path_factory: pytest.TempPathFactory, links: set[tuple[int, int]], pins: set[int], held: set[int]
) -> None:
    index = Index(tmp_path_factory.mktemp("index") / "index.db", KEY)
    names = [bytes((0x12, 0x20)) + bytes((i,)) * 32 for i in range(10)]
    below = {i: {child for parent, child in links if parent == i} for i in range(10)}
    index.record([Entry(names[i], 1, tuple(names[j] for j in below[i])) for i in range(10)], 1.0)
    for i in pins:
        index.put_root(root(str(i), pinned=True), names[i])
    reached: set[int] = set()
    frontier = pins | held
    while frontier:
        reached |= frontier
        frontier = set().union(*(below[i] for i in frontier)) - reached
    try:
        holding = [names[i] for i in held]
        found = set(garbage(index, 1 << 40, holding))
        unkept = set(index.forget_unkept(names, holding)[0])
    finally:
        index.close()
    assert found == unkept == {names[i] for i in range(10) if i not in reached}
