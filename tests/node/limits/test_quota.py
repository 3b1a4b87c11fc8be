"""The storage quota holds, keeps back what it must, and says why it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import Refused
from meshconsole.node.limits.quota import (
    DISK_RESERVE_BYTES,
    HEADROOM_BYTES,
    MEGABYTE,
    NOTES_BYTES,
    StorageQuota,
)

if TYPE_CHECKING:
    from pathlib import Path

UNIT = 4 * MEGABYTE


def test_the_quota_refuses_before_the_limit_is_passed(tmp_path: Path) -> None:
    quota = StorageQuota(tmp_path, 10 * UNIT + HEADROOM_BYTES)
    quota.blocks.reserve(4 * UNIT)
    quota.events.measured(6 * UNIT)
    with pytest.raises(Refused, match="storage quota of 44 MB is full;") as caught:
        quota.events.reserve(1)
    assert caught.value.code == "restricted"
    assert quota.used_bytes == 10 * UNIT
    assert quota.refusing


def test_files_leave_room_for_notes(tmp_path: Path) -> None:
    quota = StorageQuota(tmp_path, 640 * MEGABYTE, disk_free=lambda _: 1 << 50)
    quota.blocks.reserve(quota.room())
    with pytest.raises(Refused, match="is full but for notes"):
        quota.blocks.reserve(1)
    quota.events.reserve(10 * MEGABYTE)
    assert quota.room() == 0
    with pytest.raises(Refused, match="is full;"):
        quota.events.reserve(1)


def test_files_leave_room_for_notes_on_the_disk_too(tmp_path: Path) -> None:
    quota = StorageQuota(tmp_path, 1 << 60, disk_free=lambda _: DISK_RESERVE_BYTES + NOTES_BYTES)
    assert quota.room() == 0
    with pytest.raises(Refused, match="64 MB must stay free"):
        quota.blocks.reserve(1)
    quota.events.reserve(NOTES_BYTES // 2)


def test_released_bytes_may_be_used_again(tmp_path: Path) -> None:
    quota = StorageQuota(tmp_path, 10 * UNIT + HEADROOM_BYTES)
    quota.blocks.measured(6 * UNIT)
    quota.blocks.reserve(3 * UNIT)
    quota.blocks.release(5 * UNIT)
    assert quota.used_bytes == 4 * UNIT
    quota.blocks.reserve(5 * UNIT)


def test_a_reservation_outlives_the_measurement_that_may_have_missed_it(tmp_path: Path) -> None:
    quota = StorageQuota(tmp_path, 10 * UNIT + HEADROOM_BYTES)
    quota.events.reserve(3 * UNIT)
    quota.events.measured(0)
    assert quota.used_bytes == 3 * UNIT
    quota.events.measured(3 * UNIT)
    assert quota.used_bytes == 3 * UNIT


def test_refusing_ends_when_there_is_room_again(tmp_path: Path) -> None:
    quota = StorageQuota(tmp_path, MEGABYTE)
    with pytest.raises(Refused):
        quota.events.reserve(2 * MEGABYTE)
    quota.look_at_disk()
    assert not quota.refusing


def test_a_full_disk_is_told_apart_from_a_full_quota(tmp_path: Path) -> None:
    free = [33 * MEGABYTE]
    quota = StorageQuota(tmp_path, 1 << 60, disk_free=lambda _: free[0])
    with pytest.raises(Refused, match="disk is full"):
        quota.events.reserve(2 * MEGABYTE)
    free[0] = 100 * MEGABYTE
    quota.events.reserve(2 * MEGABYTE)


def test_a_disk_without_room_for_files_is_told_apart(tmp_path: Path) -> None:
    free: list[int | None] = [999]
    quota = StorageQuota(tmp_path, 1 << 60, disk_free=lambda _: 1 << 50, files_free=lambda _: free[0])
    with pytest.raises(Refused, match="inodes"):
        quota.blocks.reserve(1)
    for some in (2000, None):
        free[0] = some
        quota.blocks.reserve(1)


def test_blocks_on_another_disk_have_the_quota_alone(tmp_path: Path) -> None:
    quota = StorageQuota(
        tmp_path,
        100 * MEGABYTE,
        disk_free=lambda _: 0,
        files_free=lambda _: 0,
        blocks_on_disk=False,
    )
    assert quota.room() == 100 * MEGABYTE - HEADROOM_BYTES - 100 * MEGABYTE // 64
    quota.blocks.reserve(quota.room())
    with pytest.raises(Refused, match="quota"):
        quota.blocks.reserve(1)
    quota.blocks.release(50 * MEGABYTE)
    with pytest.raises(Refused, match="disk"):
        quota.events.reserve(1)
