"""A home that was set back is found out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import CorruptData
from meshconsole.node.audit.log import AuditLog, Places, read_places
from meshconsole.node.audit.refusals import EVERY_S, MAX_REASONS, RefusalDigest
from meshconsole.node.watermark import (
    Watermark,
    log_was_set_back,
    read_watermark,
    roster_was_set_back,
    stands_in,
    write_watermark,
)
from meshconsole.team.checkpoints import Checkpoint

if TYPE_CHECKING:
    from pathlib import Path

KEY = bytes([7]) * 32


def places(path: Path, *acts: str) -> Places:
    log = AuditLog(path, KEY)
    log.open()
    for number, act in enumerate(acts):
        log.append(act, 100.0 + number)
    log.close()
    return read_places(path, KEY)


def test_it_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "watermark"
    assert read_watermark(path, KEY) is None
    mark = Watermark(5, "ab" * 32, 7, 3, 2)
    write_watermark(path, KEY, mark)
    assert read_watermark(path, KEY) == mark
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", [b"", b"x", b"\0" * 200])
def test_a_changed_one_is_no_empty_one(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "watermark"
    path.write_bytes(damage or b" ")
    with pytest.raises(CorruptData, match="watermark"):
        read_watermark(path, KEY)


def test_a_log_that_grew_is_in_order(tmp_path: Path) -> None:
    first = places(tmp_path / "log", "a", "b")
    mark = Watermark(2, first.head)
    assert log_was_set_back(mark, places(tmp_path / "log", "c")) == ""


def test_yesterdays_log_is_noticed(tmp_path: Path) -> None:
    yesterday = places(tmp_path / "log", "a", "b")
    today = places(tmp_path / "log", "c")
    assert "ends at record 2; it had 3" in log_was_set_back(Watermark(3, today.head), yesterday)


def test_a_log_that_was_written_anew_is_noticed(tmp_path: Path) -> None:
    real = places(tmp_path / "log", "a", "removed bravo")
    other = places(tmp_path / "other", "a", "nothing", "c", "d")
    assert "Record 2" in log_was_set_back(Watermark(2, real.head), other)


def test_yesterdays_roster_is_noticed() -> None:
    mark = Watermark(entries=7, epoch=3)
    assert roster_was_set_back(mark, 7, 3) == ""
    assert roster_was_set_back(mark, 9, 4) == ""
    assert "6 roster entries; it had 7" in roster_was_set_back(mark, 6, 3)
    assert "epoch 2" in roster_was_set_back(mark, 7, 2)


def test_a_flood_of_refusals_fills_no_log() -> None:
    digest = RefusalDigest()
    told = [digest.note("a stranger", now / 100) for now in range(1000)]
    assert told == [1] + [0] * 999
    assert digest.note("a stranger", 10 + EVERY_S) == 1000
    for number in range(10 * MAX_REASONS):
        digest.note(f"reason {number}", 20.0)
    assert len(digest._seen) <= MAX_REASONS + 1


def test_what_stands_at_the_place_decides_not_how_long_the_log_is(tmp_path: Path) -> None:
    day_before = places(tmp_path / "old", "a", "b")
    old = places(tmp_path / "old", "c")
    covered = Checkpoint(1, 3, 3, old.head, "log", 0, 0, "ab" * 32)
    assert stands_in(covered, old)
    assert not stands_in(covered, day_before)
    grown = places(tmp_path / "grown", "a", "b", "other", "d", "e")
    assert not stands_in(covered, grown)
