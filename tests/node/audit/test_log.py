"""The audit log: sealed, chained, and honest about where it was changed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import CorruptData, Fatal, Refused
from meshconsole.core.event import Event
from meshconsole.node.audit.cut import read_cut, sign_cut, verify_cut
from meshconsole.node.audit.log import AuditLog, place_to_cut, read_audit, read_places
from meshconsole.team.checkpoints import Checkpoint, sign_checkpoint, verify_checkpoint
from tests.team.devices import PROVIDER, identity

if TYPE_CHECKING:
    from pathlib import Path

    from meshconsole.crypto.identity import Identity

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
    monkeypatch.setattr("meshconsole.node.audit.log.os.write", lambda fd, data: write(fd, data[:10]))
    with pytest.raises(Fatal, match="Cannot write"):
        log.append("lost", 300.0)
    monkeypatch.undo()
    assert path.read_bytes() == before
    log.append("kept", 301.0)
    log.close()
    assert [record.act for record in read_audit(path, KEY)][-2:] == ["act", "kept"]


def shortened(path: Path, keep_bytes: int, me: Identity) -> int:
    """The number of the last record that went."""
    log = AuditLog(path, KEY)
    log.open()
    place = place_to_cut(path, KEY, keep_bytes)
    assert place is not None
    last, from_byte = place
    copy = log.copy_behind(sign_cut(me, last.seq, last.digest, 100), from_byte)
    log.append("meanwhile", 400.0)
    log.put_in_place(copy)
    log.append("after", 401.0)
    log.close()
    return last.seq


def test_a_log_lets_its_beginning_go_and_goes_on(path: Path) -> None:
    before = path.stat().st_size
    digests = [record.digest for record in read_audit(path, KEY)]
    last = shortened(path, before // 2, identity())
    assert last == 3
    records = read_audit(path, KEY)
    assert [record.seq for record in records] == [4, 5, 6, 7]
    assert [record.act for record in records[-2:]] == ["meanwhile", "after"]
    assert [record.digest for record in records[:2]] == digests[3:]
    places = read_places(path, KEY)
    assert (places.before, places.last) == (3, 7)
    assert all(places.holds(n, digests[n - 1]) for n in range(1, 6))
    assert not places.holds(3, digests[0]), "the cut says what stood last"
    assert not places.holds(4, digests[0])
    assert not places.holds(8, digests[0])
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_can_be_shortened_again_and_again(path: Path) -> None:
    me = identity()
    for _ in range(5):
        shortened(path, 2000, me)
    log = AuditLog(path, KEY)
    assert log.open().last == log.seq == 15
    log.close()


@pytest.mark.parametrize("cut", ["gone", "moved", "another's place"])
def test_a_shortened_log_without_its_signed_beginning_is_a_changed_one(
    path: Path, tmp_path: Path, cut: str
) -> None:
    me = identity()
    shortened(path, path.stat().st_size // 2, me)
    first, *rest = path.read_bytes().splitlines(keepends=True)
    if cut == "gone":
        lines = rest
    elif cut == "moved":
        lines = [rest[0], first, *rest[1:]]
    else:
        lines = [first, *rest[1:]]
    path.write_bytes(b"".join(lines))
    with pytest.raises(CorruptData, match=r"line [12] "):
        read_audit(path, KEY)


def test_a_power_cut_before_the_copy_is_in_place_changes_nothing(path: Path) -> None:
    log = AuditLog(path, KEY)
    log.open()
    before = path.read_bytes()
    place = place_to_cut(path, KEY, 1000)
    assert place is not None
    copy = log.copy_behind(sign_cut(identity(), place[0].seq, place[0].digest, 100), place[1])
    os.close(copy.descriptor)
    log.close()
    assert path.read_bytes() == before
    assert shortened(path, len(before) // 2, identity()) == 3


def test_a_cut_is_no_checkpoint_and_a_checkpoint_no_cut() -> None:
    me = identity()
    cut = sign_cut(me, 3, "ab" * 32, 100)
    assert verify_cut(cut, me.bundle, PROVIDER).seq == 3
    with pytest.raises(Refused):
        verify_checkpoint(cut, me.bundle, PROVIDER)
    covered = sign_checkpoint(me, Checkpoint(1, 3, 3, "ab" * 32, "log", 0, 0, "cd" * 32), 100)
    with pytest.raises(Refused):
        verify_cut(covered, me.bundle, PROVIDER)
    other = me.sign_control(4204, (), cut.content, 100, b"mc/checkpoint/v1")
    with pytest.raises(Refused):
        verify_cut(other, me.bundle, PROVIDER)
    with pytest.raises(Refused):
        verify_cut(cut, identity().bundle, PROVIDER)


@given(st.text() | st.dictionaries(st.text(max_size=4), st.integers() | st.text()).map(str))
def test_any_text_is_a_cut_or_refused(content: str) -> None:
    event = Event("00" * 32, "00" * 32, 1, 4204, (), content, "00" * 64)
    with pytest.raises(Refused):
        read_cut(event)
