"""Recent rows: they answer for the log exactly as far as they hold it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshconsole.mesh.rows import RecentRows, Row


def row(seq: int, size: int = 10) -> Row:
    return Row(seq, seq.to_bytes(32, "big"), 1, bytes(size))


def test_before_the_floor_only_the_store_can_tell() -> None:
    recent = RecentRows(floor=10)
    recent.add(row(11))
    assert recent.read(9, 100) is None
    assert recent.read(10, 100) == [row(11)]
    assert recent.read(11, 100) == []


def test_rows_out_of_order_make_it_forget_rather_than_lie() -> None:
    recent = RecentRows(floor=0)
    for seq in (1, 2, 5):
        recent.add(row(seq))
    recent.add(row(4))
    assert recent.read(2, 100) is None
    assert recent.read(5, 100) == []
    recent.add(row(6))
    assert recent.read(5, 100) == [row(6)]


def test_what_nobody_follows_is_left_to_the_store() -> None:
    recent = RecentRows(floor=0)
    recent.add(row(1))
    recent.skip(2)
    recent.add(row(3))
    assert recent.read(1, 100) is None
    assert recent.read(2, 100) == [row(3)]


@given(st.lists(st.integers(1, 5), max_size=60), st.integers(0, 100), st.integers(1, 20))
def test_an_answer_is_what_the_log_would_say(gaps: list[int], after: int, limit: int) -> None:
    recent, log, seq = RecentRows(floor=0, limit_rows=16, limit_bytes=400), [], 0
    for gap in gaps:
        seq += gap
        log.append(row(seq, size=10 * gap))
        recent.add(log[-1])
    found = recent.read(after, limit)
    if found is not None:
        assert found == [r for r in log if r.seq > after][:limit]
