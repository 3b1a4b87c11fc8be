"""The journal's records: durable one by one, and read again as far as they are whole."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import MeshconsoleError
from meshconsole.relay.journal import BLOCK, BYTES, Journal

if TYPE_CHECKING:
    from pathlib import Path

KEY = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def journal(path: Path, key: bytes = KEY, log_id: str = "log") -> Journal:
    return Journal(path, key, log_id)


def fresh(path: Path) -> Journal:
    made = journal(path)
    made.make()
    made.begin_anew()
    return made


def written(path: Path, *records: bytes) -> Journal:
    made = fresh(path)
    for record in records:
        made.append(record)
    return made


def test_records_are_read_again_in_order(path: Path) -> None:
    records = [b"one", b"", b"x" * BLOCK, b"y" * (3 * BLOCK), b"last"]
    written(path, *records).close()
    assert journal(path).read() == records
    assert path.stat().st_size == BYTES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"yyyy" not in path.read_bytes()


def test_there_is_nothing_in_no_file_an_empty_one_or_another(path: Path) -> None:
    assert journal(path).read() == []
    for content in (b"", b"x" * 100, os.urandom(BYTES)):
        path.write_bytes(content)
        assert journal(path).read() == []


def test_another_key_or_another_log_opens_nothing(path: Path) -> None:
    written(path, b"one").close()
    assert journal(path, key=bytes(32)).read() == []
    assert journal(path, log_id="other").read() == []


def test_a_new_round_hides_what_is_left_of_the_one_before(path: Path) -> None:
    made = written(path, b"one", b"two", b"three")
    made.begin_anew()
    made.append(b"four")
    made.close()
    assert journal(path).read() == [b"four"]


def test_whoever_has_read_begins_anew_before_appending(path: Path) -> None:
    """A record that was not acknowledged may have been sealed with the next nonce."""
    written(path, b"one").close()
    again = journal(path)
    assert again.read() == [b"one"]
    again.make()
    assert again.read() == [b"one"]
    assert not again.has_room(1)
    again.begin_anew()
    assert again.has_room(1)


@given(at=st.integers(0, 5 * BLOCK - 1), bit=st.integers(0, 7))
def test_records_end_before_the_first_that_was_changed(
    at: int, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal"
    records = [b"one", b"two", b"x" * 5000]
    written(path, *records).close()
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)
    found = journal(path).read()
    assert found == records[: len(found)]
    if at >= BLOCK:
        assert len(found) >= min(2, at // BLOCK - 1)


@pytest.mark.parametrize(
    ("end", "whole"),
    [(0, 0), (BLOCK, 0), (BLOCK + 10, 0), (2 * BLOCK, 1), (2 * BLOCK + 10, 1), (2 * BLOCK + 30, 2)],
)
def test_a_file_that_was_cut_off_gives_what_is_whole(path: Path, end: int, whole: int) -> None:
    written(path, b"one", b"two").close()
    os.truncate(path, end)
    assert journal(path).read() == [b"one", b"two"][:whole]
    again = fresh(path)
    assert path.stat().st_size == BYTES
    again.append(b"three")
    again.close()
    assert journal(path).read() == [b"three"]


def test_it_takes_no_more_than_fits(path: Path) -> None:
    made = fresh(path)
    count = 0
    while made.has_room(100):
        made.append(bytes(100))
        count += 1
    assert count == BYTES // BLOCK - 1
    assert path.stat().st_size == BYTES
    assert len(journal(path).read()) == count
    assert made.has_room(BYTES - BLOCK - 20) is False
    made.begin_anew()
    assert made.has_room(BYTES - BLOCK - 20)
    assert not made.has_room(BYTES - BLOCK - 19)
    made.close()


def test_after_a_failure_nothing_more_is_taken_in_this_round(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = written(path, b"one")

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fail)
        with pytest.raises(MeshconsoleError):
            made.append(b"two")
    assert not made.has_room(1)
    made.begin_anew()
    made.append(b"three")
    made.close()
    assert journal(path).read() == [b"three"]


@pytest.mark.parametrize("written", [-1, 100])
def test_where_the_disk_has_no_room_for_the_file_nothing_is_taken(
    path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    def full(descriptor: int, data: bytes, at: int) -> int:
        if written < 0:
            raise OSError(28, "No space left on device")
        return written

    made = journal(path)
    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", full)
        with pytest.raises(MeshconsoleError, match="no space"):
            made.make()
    made.begin_anew()
    assert not made.has_room(1)
    made.make()
    assert made.has_room(1)
    made.close()


def test_no_nonce_serves_twice_whatever_breaks_a_record_off(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when somebody presses Ctrl+C twice while the loop writes."""
    made = written(path, b"one")
    write = os.pwrite

    def broken_off(descriptor: int, data: bytes, at: int) -> int:
        write(descriptor, data, at)
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", broken_off)
        with pytest.raises(KeyboardInterrupt):
            made.append(b"two")
    assert not made.has_room(1)
    made.begin_anew()
    made.append(b"three")
    made.close()
    assert journal(path).read() == [b"three"]


@pytest.mark.parametrize("first", [True, False], ids=["the first of a round", "a later one"])
def test_what_was_not_acknowledged_is_taken_back(
    path: Path, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    """The disk has it, and said that it has not: whoever sent it was told so."""
    made = fresh(path) if first else written(path, b"one")

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fail)
        with pytest.raises(MeshconsoleError):
            made.append(b"two")
    made.close()
    assert journal(path).read() == ([] if first else [b"one"])


def test_no_more_is_read_than_a_journal_has(path: Path) -> None:
    written(path, b"one").close()
    os.truncate(path, 1 << 40)
    assert journal(path).read() == [b"one"]
