"""Secrets reach the disk whole, readable by their owner alone, and faults become sentences."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import CorruptData, Fatal, Unavailable
from meshconsole.crypto.private_file import as_our_error, overwrite, read_bounded, write_private

if TYPE_CHECKING:
    from pathlib import Path


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_written_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_private(tmp_path / "secret", b"data")
    finally:
        os.umask(before)
    assert (tmp_path / "secret").read_bytes() == b"data"
    assert mode_of(tmp_path / "secret") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_wider_mode_is_narrowed(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert (path.read_bytes(), mode_of(path)) == (b"new", 0o600)


def test_the_bytes_are_on_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this order a power cut leaves the old file or the new one, never a part."""
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(handle: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def record_replace(source: str, target: str, **_: object) -> None:
        steps.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    write_private(tmp_path / "secret", b"data")
    assert steps == ["file", "rename", "folder"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    write_private(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="no space left to write secret"):
        write_private(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_what_a_crash_left_behind_does_not_hinder(tmp_path: Path) -> None:
    (tmp_path / f".secret.{os.getpid()}.new").write_bytes(b"half")
    write_private(tmp_path / "secret", b"data")
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_overwriting_uses_the_same_blocks(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_private(path, b"old data")
    inode = path.stat().st_ino
    overwrite(path, b"nonsense")
    assert (path.stat().st_ino, path.read_bytes()) == (inode, b"nonsense")


def test_overwriting_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "secret").symlink_to(tmp_path / "other")
    with pytest.raises(Fatal):
        overwrite(tmp_path / "secret", b"x")
    assert (tmp_path / "other").read_bytes() == b"other"


def test_reading_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    assert read_bounded(path, 100) == bytes(100)
    with pytest.raises(CorruptData, match="larger"):
        read_bounded(path, 99)


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="file does not exist"):
        read_bounded(tmp_path / "file", 100)


@pytest.mark.parametrize(
    ("number", "kind", "sentence"),
    [
        (errno.ENOSPC, Unavailable, "no space left"),
        (errno.EDQUOT, Unavailable, "no space left"),
        (errno.ENOENT, Fatal, "does not exist"),
        (errno.EACCES, Fatal, "may not be opened"),
        (errno.EROFS, Fatal, "may not be opened"),
        (errno.EISDIR, Fatal, "cannot be opened"),
    ],
)
def test_each_fault_has_its_sentence(number: int, kind: type[Fatal | Unavailable], sentence: str) -> None:
    error = as_our_error(OSError(number, os.strerror(number)), "keystore")
    assert isinstance(error, kind)
    assert sentence in error.sentence
    assert "keystore" in error.sentence
