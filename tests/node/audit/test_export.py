"""An exported audit log is checked by itself; the first bad line is named."""

from __future__ import annotations

from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshconsole.cli.audit import merge
from meshconsole.core.errors import CorruptData, Fatal
from meshconsole.node.audit.cut import sign_cut
from meshconsole.node.audit.export import Export, read_export, write_export
from meshconsole.node.audit.log import GENESIS, AuditLog, AuditRecord, Places, read_audit
from meshconsole.team.checkpoints import Checkpoint, sign_checkpoint
from tests.team.devices import NOW, PROVIDER, identity

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = bytes([7]) * 32


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("export")
    log = AuditLog(folder / "audit.log", KEY)
    log.open()
    for number in range(5):
        log.append("act", 100.0 + number, device=f"name {number}")
    log.close()
    records = read_audit(folder / "audit.log", KEY)
    me = identity()
    covered = Checkpoint(1, 1, 4, records[3].digest, "log", 9, 9, "ab" * 32)
    export = Export(me.npub, "alpha", tuple(records), me.bundle_event(NOW), sign_checkpoint(me, covered, NOW))
    write_export(folder / "out", export)
    return Path(folder / "out").read_bytes()


def read(tmp_path: Path, data: bytes) -> tuple[Export, int]:
    (tmp_path / "export").write_bytes(data)
    return read_export(tmp_path / "export", PROVIDER)


def test_it_reads_back_and_says_what_is_signed(tmp_path: Path, exported: bytes) -> None:
    export, vouched = read(tmp_path, exported)
    assert [record.detail["device"] for record in export.records] == [f"name {n}" for n in range(5)]
    assert vouched == 4


def test_without_a_checkpoint_nothing_is_signed(tmp_path: Path, exported: bytes) -> None:
    _, vouched = read(tmp_path, b"\n".join(exported.splitlines()[:-1]) + b"\n")
    assert vouched == 0


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda lines: [b"{}", *lines[1:]], 1),
        (lambda lines: [lines[0], lines[1].replace(b"name 0", b"name 9"), *lines[2:]], 3),
        (lambda lines: [lines[0], *lines[2:]], 2),
        (lambda lines: [*lines[:3], *lines[4:]], 4),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], 2),
        (lambda lines: [*lines[:2], b"x", *lines[2:]], 3),
        (lambda lines: [lines[0], lines[1].replace(b":", b": ", 1), *lines[2:]], 2),
        (lambda lines: [*lines[:4], lines[6]], 4),
        (lambda lines: [*lines[:6], lines[6].replace(b'\\"n\\":1', b'\\"n\\":2')], 7),
    ],
)
def test_the_first_bad_line_is_named(
    tmp_path: Path, exported: bytes, change: Callable[[list[bytes]], list[bytes]], line: int
) -> None:
    with pytest.raises(CorruptData, match=f"line {line} "):
        read(tmp_path, b"\n".join(change(exported.splitlines())) + b"\n")


def test_a_last_record_changed_after_the_checkpoint_is_not_covered(tmp_path: Path, exported: bytes) -> None:
    """What no signature covers can be changed by whoever holds the file: the reader is told how far."""
    lines = exported.splitlines()
    lines[5] = lines[5].replace(b"name 4", b"name 9")
    export, vouched = read(tmp_path, b"\n".join(lines) + b"\n")
    assert export.records[4].detail == {"device": "name 9"}
    assert vouched == 4


def test_a_file_that_is_not_there_is_named_in_full(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match=f"^{tmp_path}/none is not a file"):
        read_export(tmp_path / "none", PROVIDER)


def test_an_existing_file_is_left_alone(tmp_path: Path, exported: bytes) -> None:
    export, _ = read(tmp_path, exported)
    with pytest.raises(Fatal, match="exists already"):
        write_export(tmp_path / "export", export)


def test_a_moment_that_is_none_does_not_keep_the_rest_from_being_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = AuditRecord(1, 1e300, "act", {}, GENESIS)
    me = identity()
    write_export(tmp_path / "export", Export(me.npub, "alpha", (record,), me.bundle_event(NOW)))
    merge(Namespace(files=[str(tmp_path / "export")], json=False))
    assert "(no such moment) alpha 1 act" in capsys.readouterr().out


HOSTILE = [b"", b"{}", b'{"x":' + b"[" * 100_000, b'{"cut":{"x":' + b"[" * 100_000, b'{"device":"\xff"}']


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary() | st.sampled_from(HOSTILE), st.integers(0, 6))
def test_any_bytes_in_any_line_are_named_or_read(
    tmp_path: Path, exported: bytes, hostile: bytes, at: int
) -> None:
    lines = exported.splitlines()
    with suppress(CorruptData):
        export, _ = read(tmp_path, b"\n".join([*lines[:at], hostile, *lines[at + 1 :]]))
        assert len(export.records) <= 5


@pytest.fixture(scope="module")
def shortened(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Records 4 to 6 behind a cut, the checkpoint at record 5."""
    folder = tmp_path_factory.mktemp("shortened")
    me = identity()
    places, records = Places(), []
    for number in range(6):
        records.append(AuditRecord(number + 1, 100.0, "act", {"n": str(number)}, places.head))
        places.add(records[-1])
    covered = Checkpoint(1, 1, 5, records[4].digest, "log", 9, 9, "ab" * 32)
    write_export(
        folder / "out",
        Export(
            me.npub,
            "alpha",
            tuple(records[3:]),
            me.bundle_event(NOW),
            sign_checkpoint(me, covered, NOW),
            sign_cut(me, 3, records[2].digest, NOW),
        ),
    )
    return Path(folder / "out").read_bytes()


def test_a_shortened_log_is_checked_from_its_signed_beginning(tmp_path: Path, shortened: bytes) -> None:
    export, vouched = read(tmp_path, shortened)
    assert [record.seq for record in export.records] == [4, 5, 6]
    assert vouched == 5
    without_checkpoint = b"\n".join(shortened.splitlines()[:-1]) + b"\n"
    assert read(tmp_path, without_checkpoint)[1] == 3


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda lines: [lines[0], *lines[2:]], 2),
        (lambda lines: [*lines[:2], *lines[3:]], 3),
        (lambda lines: [lines[0], lines[1].replace(b'\\"seq\\":3', b'\\"seq\\":2'), *lines[2:]], 2),
        (lambda lines: [*lines[:3], lines[5]], 3),
        (lambda lines: [*lines[:3], lines[3].replace(b'"4"', b'"9"'), lines[5]], 4),
    ],
)
def test_the_first_bad_line_of_a_shortened_log_is_named(
    tmp_path: Path, shortened: bytes, change: Callable[[list[bytes]], list[bytes]], line: int
) -> None:
    with pytest.raises(CorruptData, match=f"line {line} "):
        read(tmp_path, b"\n".join(change(shortened.splitlines())) + b"\n")
