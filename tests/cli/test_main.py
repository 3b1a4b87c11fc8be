"""How commands end when something goes wrong: a sentence and an exit code, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from meshconsole import __version__
from meshconsole.cli import reading
from meshconsole.cli.main import COMMANDS, main
from meshconsole.core.errors import (
    CorruptData,
    Fatal,
    LocalError,
    MeshconsoleError,
    Refused,
    RemoteError,
    Unavailable,
)

if TYPE_CHECKING:
    from meshconsole.core.home import Home

ROOT = Path(__file__).resolve().parents[2]


def failing_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(home: Home) -> None:
        raise error

    monkeypatch.setattr(reading, "node_status", fail)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Fatal("No.", hint="Do this."), 1),
        (Fatal("No.", hint="Do this.", exit_code=4), 4),
        (CorruptData("No.", hint="Do this."), 1),
        (Refused("restricted", "No.", hint="Do this."), 5),
        (Unavailable("No.", hint="Do this."), 69),
        (LocalError("No.", hint="Do this."), 70),
        (RemoteError("bad-frame", "No.", hint="Do this."), 76),
    ],
)
def test_errors_of_ours(
    error: MeshconsoleError,
    code: int,
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing_with(error, monkeypatch)
    assert main(["status"]) == code
    assert capsys.readouterr().err == "meshconsole: No. Do this.\n"


def test_an_error_s_text_cannot_drive_the_terminal(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing_with(Refused("restricted", "No \x1b]52;c;aGk=\x07 way."), monkeypatch)
    main(["status"])
    assert "\x1b" not in capsys.readouterr().err


def test_a_bug_is_confessed_in_one_sentence(
    stopped_home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing_with(ZeroDivisionError("the innards"), monkeypatch)
    assert main(["status"]) == 70
    said = capsys.readouterr().err
    details = stopped_home.path / "bugs.log"
    assert said.startswith("meshconsole: This should not have happened (ZeroDivisionError).")
    assert str(details) in said
    assert said.count("\n") == 1
    assert "Traceback" in details.read_text()
    assert details.stat().st_mode & 0o077 == 0


def test_a_bug_without_a_home_is_written_elsewhere(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing_with(ZeroDivisionError(), monkeypatch)
    monkeypatch.setenv("TMPDIR", str(home.path.parent))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert main(["status"]) == 70
    assert len(list(home.path.parent.glob("meshconsole-bug-*.log"))) == 1
    assert "meshconsole-bug-" in capsys.readouterr().err


def test_an_interrupt_is_quiet(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing_with(KeyboardInterrupt(), monkeypatch)
    assert main(["status"]) == 130
    assert capsys.readouterr().err == ""


def test_a_reader_that_leaves_is_no_error(home: Home) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "meshconsole", "config", "show"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        text=True,
        check=False,
    )
    os.close(write_end)
    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])
    assert end.value.code == 0
    assert "--home" in capsys.readouterr().out


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"meshconsole {__version__}\n"
