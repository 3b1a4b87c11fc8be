"""The audit log: sealed, chained, and honest about where it was changed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import CorruptData, Fatal
from meshconsole.node.audit import AuditLog, read_audit

if TYPE_CHECKING:
    from pathlib import Path

KEY = bytes([3]) * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of five records."""
    log = AuditLog(tmp_path / "audit.log", KEY)
    log.open()
    for number in range(5):
        log.append("act", 100.0 + number, device=f"secret name {number}")
    log.close()
    return tmp_path / "audit.log"


def test_records_read_back_in_order(path: Path) -> None:
    records = read_audit(path, KEY)
    assert [record.seq for record in records] == [1, 2, 3, 4, 5]
    assert records[4].detail == {"device": "secret name 4"}


def test_names_are_not_in_the_file(path: Path) -> None:
    assert b"secret" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_goes_on_where_it_ended(path: Path) -> None:
    log = AuditLog(path, KEY)
    log.open()
    assert log.append("again", 200.0).seq == 6
    log.close()
    assert len(read_audit(path, KEY)) == 6


@pytest.mark.parametrize("line", range(5))
def test_a_changed_line_is_named(path: Path, line: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    middle = len(lines[line]) // 2
    other = b"A" if lines[line][middle : middle + 1] != b"A" else b"B"
    lines[line] = lines[line][:middle] + other + lines[line][middle + 1 :]
    path.write_bytes(b"".join(lines))
    with pytest.raises(CorruptData, match=f"line {line + 1} "):
        read_audit(path, KEY)


@pytest.mark.parametrize("line", range(4))
def test_a_line_that_was_cut_out_is_noticed_at_its_place(path: Path, line: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:line] + lines[line + 1 :]))
    with pytest.raises(CorruptData, match=f"line {line + 1} does not follow"):
        read_audit(path, KEY)


def test_swapped_lines_are_noticed(path: Path) -> None:
    first, second, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([second, first, *rest]))
    with pytest.raises(CorruptData, match="line 1 "):
        AuditLog(path, KEY).open()


def test_a_write_that_a_power_cut_interrupted_is_put_aside(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"half a li")
    log = AuditLog(path, KEY)
    log.open()
    log.append("after", 300.0)
    log.close()
    assert [record.act for record in read_audit(path, KEY)][-2:] == ["act", "after"]


def test_another_key_opens_nothing(path: Path) -> None:
    with pytest.raises(CorruptData, match="line 1 cannot be opened"):
        read_audit(path, bytes(32))


def test_half_a_line_on_a_full_disk_is_taken_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog(path, KEY)
    log.open()
    before = path.read_bytes()
    write = os.write
    monkeypatch.setattr("meshconsole.node.audit.os.write", lambda fd, data: write(fd, data[:10]))
    with pytest.raises(Fatal, match="Cannot write"):
        log.append("lost", 300.0)
    monkeypatch.undo()
    assert path.read_bytes() == before
    log.append("kept", 301.0)
    log.close()
    assert [record.act for record in read_audit(path, KEY)][-2:] == ["act", "kept"]
