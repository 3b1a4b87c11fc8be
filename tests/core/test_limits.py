"""Token buckets: the long-run rate is a promise, and time never passes by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.limits import TokenBucket


def test_it_begins_full() -> None:
    bucket = TokenBucket(rate=10, burst=5)
    assert [bucket.try_take(1, now=100.0) for _ in range(6)] == [True] * 5 + [False]


def test_it_fills_with_time_up_to_its_burst() -> None:
    bucket = TokenBucket(rate=10, burst=5)
    bucket.take(5, now=0.0)
    assert bucket.delay(now=0.0) > 0
    assert bucket.try_take(1, now=0.2)
    bucket.delay(now=1000.0)
    assert bucket.level == 5


def test_a_large_piece_is_paid_back_by_the_next() -> None:
    bucket = TokenBucket(rate=100, burst=10)
    bucket.take(110, now=0.0)
    assert bucket.delay(now=0.0) == pytest.approx(1.0, abs=1e-3)
    assert bucket.delay(now=1.01) == 0.0


def test_no_rate_means_no_limit() -> None:
    bucket = TokenBucket(rate=0, burst=0)
    bucket.take(1e12, now=0.0)
    assert bucket.delay(now=0.0) == 0.0
    assert bucket.try_take(1e12, now=0.0)


def test_a_clock_that_steps_back_gives_nothing_and_takes_nothing() -> None:
    bucket = TokenBucket(rate=10, burst=5)
    bucket.take(5, now=100.0)
    assert bucket.delay(now=50.0) > 0
    assert bucket.level == 0
    assert bucket.try_take(1, now=100.5)


def test_a_lower_burst_takes_effect_at_once() -> None:
    bucket = TokenBucket(rate=10, burst=100)
    bucket.delay(now=0.0)
    bucket.set_rate(1, 2)
    assert [bucket.try_take(1, now=0.0) for _ in range(3)] == [True, True, False]


@given(
    rate=st.floats(1, 1e6),
    burst=st.floats(1, 1e6),
    pieces=st.lists(st.floats(1, 1e5), min_size=1, max_size=50),
)
def test_who_waits_as_told_never_exceeds_the_rate(rate: float, burst: float, pieces: list[float]) -> None:
    """Taken before any moment: at most the burst, what time has filled, and the last piece's overdraft."""
    bucket = TokenBucket(rate, burst)
    now, taken = 0.0, 0.0
    for piece in pieces:
        now += bucket.delay(now)
        assert bucket.delay(now) <= 1e-5
        assert taken <= burst + rate * now + 1e-3 * (1 + taken)
        bucket.take(piece, now)
        taken += piece
