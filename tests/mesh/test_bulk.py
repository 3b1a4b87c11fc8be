"""The window of bulk, on simulated ways: full speed on quick ones, next to nothing waiting on slow ones."""

from __future__ import annotations

from collections import deque

from meshconsole.mesh.links.bulk import FIRST, LEAST, BulkWindow

RECORD = 16_000


def carry(window: BulkWindow, seconds: float, rate: float, rtt_s: float) -> tuple[float, float]:
    """Sends all the time over a way that keeps order. Returns bytes a second in the second half, and the
    longest that anything urgent would have waited behind bulk in that half."""
    now, free_at, total, number = 0.0, 0.0, window._sent, window._probed + 1
    pongs: deque[tuple[float, int, float]] = deque()
    carried, waited = 0, 0.0
    while now < seconds:
        while pongs and pongs[0][0] <= now:
            _, answered, sent_at = pongs.popleft()
            window.answered(answered, now - sent_at)
            if window.wants_ping:
                number += 1
                window.pinged(number)
                pongs.append((max(free_at, now) + rtt_s, number, now))
        if window.has_room:
            total += RECORD
            free_at = max(free_at, now) + RECORD / rate
            carried += RECORD if now > seconds / 2 else 0
            window.sent(total)
            if window.wants_ping:
                number += 1
                window.pinged(number)
                pongs.append((free_at + rtt_s, number, now))
            waited = max(waited, free_at - now) if now > seconds / 2 else waited
        else:
            now = max(now, pongs[0][0])
    return carried / (seconds / 2), waited


def test_a_quick_way_is_used_in_full() -> None:
    rate, waited = carry(BulkWindow(), 4.0, 300e6, 0.0005)
    assert rate > 250e6
    assert waited < 0.3


def test_a_long_and_wide_way_is_used_in_full() -> None:
    rate, _ = carry(BulkWindow(), 60.0, 3e6, 0.6)
    assert rate > 2.5e6


def test_on_a_slow_way_little_more_than_a_record_waits() -> None:
    window = BulkWindow()
    for number in range(4):  # the link's own pings, before there is any bulk
        window.pinged(-10 + number)
        window.answered(-10 + number, 1.4 if number else 0.001)
    assert window.window == LEAST
    _, waited = carry(window, 60.0, 8_000, 1.4)
    assert waited <= 2 * LEAST / 8_000


def test_a_way_that_becomes_slow_shrinks_the_window_again() -> None:
    window = BulkWindow()
    carry(window, 2.0, 300e6, 0.0005)
    assert window.window > FIRST
    window._delivered = window._sent
    for number in range(12):
        window.pinged(10**9 + number)
        window.answered(10**9 + number, 2.0)
    assert window.window == LEAST
