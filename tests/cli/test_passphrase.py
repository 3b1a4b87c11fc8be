"""Where a passphrase may come from: the environment or a file, never the arguments."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

import pytest

from meshconsole.cli.home import PASSPHRASE_VARIABLE, given_passphrase, passphrase_for
from meshconsole.core.errors import Fatal

if TYPE_CHECKING:
    from pathlib import Path

    from meshconsole.core.home import Home


def from_file(path: Path) -> str | None:
    return given_passphrase(Namespace(passphrase_file=str(path)))


def test_the_first_line_of_a_file(home: Home, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("correct horse \r\nsecond line\n")
    assert from_file(tmp_path / "secret") == "correct horse "


def test_a_file_wins_over_the_environment(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "of the environment")
    (tmp_path / "secret").write_text("of the file")
    assert from_file(tmp_path / "secret") == "of the file"
    assert given_passphrase(Namespace(passphrase_file=None)) == "of the environment"


@pytest.mark.parametrize("content", [b"", b"\nsecond", b"\xff\xfe\n"])
def test_a_file_without_a_passphrase_is_refused(content: bytes, home: Home, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(Fatal):
        from_file(tmp_path / "secret")


def test_a_missing_file_is_named(home: Home, tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="nowhere cannot be read: No such file"):
        from_file(tmp_path / "nowhere")


def test_no_question_without_a_terminal(stopped_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert passphrase_for(stopped_home, Namespace(passphrase_file=None)) is None


def test_a_home_with_a_key_file_is_not_asked_about(
    stopped_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_home.unlock_key.write_bytes(bytes(32))

    def ask(question: str) -> str:
        raise AssertionError(question)

    monkeypatch.setattr("meshconsole.cli.home.ask_passphrase", ask)
    assert passphrase_for(stopped_home, Namespace(passphrase_file=None)) is None
