"""How fast a transfer goes, and what a file that is dropped on a terminal looks like."""

from __future__ import annotations

import pytest

from meshconsole.console.dropped import looks_like_a_path, path_of
from meshconsole.console.pace import Pace
from meshconsole.console.panes.files import pace_in_words

MB = 1_000_000


def paced(rate_bps: int, seconds: int, total: int, start: float = 100.0) -> Pace:
    pace = Pace()
    for second in range(seconds + 1):
        pace.put(start + second, second * rate_bps, total)
    return pace


def test_rate_and_time_left_are_those_of_the_last_seconds() -> None:
    pace = paced(MB, 30, 100 * MB)
    assert pace.rate_bps(130) == pytest.approx(MB)
    assert pace.left_s(130) == pytest.approx(70)
    for second in range(31, 50):
        pace.put(100 + second, 30 * MB + (second - 30) * 2 * MB, 100 * MB)
    assert pace.rate_bps(149) == pytest.approx(2 * MB)


def test_nothing_is_said_too_early_or_of_what_stands_still() -> None:
    assert Pace().rate_bps(0) == 0
    assert paced(MB, 1, 100 * MB).left_s(101) is None
    still = paced(MB, 10, 100 * MB)
    assert still.rate_bps(113) < MB
    assert still.rate_bps(126) == 0
    assert paced(MB, 10, 0).left_s(110) is None


def test_what_begins_anew_is_measured_anew() -> None:
    pace = paced(MB, 10, 100 * MB)
    pace.put(111, 0, 100 * MB)
    assert pace.rate_bps(111) == 0


@pytest.mark.parametrize(
    ("rate", "total", "words"),
    [
        (1_200_000, 900 * MB, "1.2 MB/s 12m"),
        (318_000, 5000 * MB, "318 kB/s 4h21"),
        (5000, 100_000, "5.0 kB/s 10s"),
        (5000, 0, "5.0 kB/s"),
        (0, 100_000, ""),
    ],
)
def test_in_words_that_fit_the_column(rate: int, total: int, words: str) -> None:
    told = pace_in_words(paced(rate, 10, total), 110)
    assert told == words
    assert len(told) <= 14
    assert pace_in_words(None, 110) == ""


@pytest.mark.parametrize(
    ("pasted", "path"),
    [
        ("/srv/a/map.pdf", "/srv/a/map.pdf"),
        ("'/srv/a/my map.pdf' ", "/srv/a/my map.pdf"),
        ('"/srv/a/my map.pdf"', "/srv/a/my map.pdf"),
        (r"/srv/a/my\ map\(1\).pdf", "/srv/a/my map(1).pdf"),
        ("file:///srv/a/my%20map.pdf\n", "/srv/a/my map.pdf"),
        ("file://localhost/srv/a", "/srv/a"),
        ("file://elsewhere/srv/a", "file://elsewhere/srv/a"),
        ("/srv/a/it's.pdf", "/srv/a/it's.pdf"),
        ("'/a' '/b'", "'/a' '/b'"),
    ],
)
def test_the_path_of_a_drop(pasted: str, path: str) -> None:
    assert path_of(pasted) == path


@pytest.mark.parametrize("text", ["hello", "", "/", "quit\n/etc/passwd", "q", "rm -rf /"])
def test_other_pastes_are_no_drops(text: str) -> None:
    assert not looks_like_a_path(text)


@pytest.mark.parametrize("text", ["/srv/a", "~/a", "'/srv/a b'", "file:///a"])
def test_drops(text: str) -> None:
    assert looks_like_a_path(text)
