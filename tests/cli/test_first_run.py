"""`meshconsole` on a new device: the questions, a home, a node in the background, the console on it."""

from __future__ import annotations

import signal
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from meshconsole.cli import console as command
from meshconsole.cli.main import main
from meshconsole.cli.reading import node_status
from meshconsole.console import run as console_run
from meshconsole.core.config import Config, with_values
from meshconsole.core.setup import FirstRun
from tests.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from meshconsole.core.home import Home

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
PASSPHRASE = "correct horse battery"
CONFIG = with_values(Config(), {"node": {"name": "hawk", "listen": "127.0.0.1:0"}})


@pytest.fixture
def new_home(home: Home) -> Iterator[Home]:
    """A node that was left in the background is stopped afterwards."""
    yield home
    if home.control_socket.exists():
        main(["stop"])


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[FirstRun, str] | None]:
    """What the dialog gives: the last one. The console itself is left at once."""
    given: list[tuple[FirstRun, str] | None] = []

    def ask(**asked: object) -> tuple[FirstRun, str] | None:
        assert callable(asked["check_invite"])
        return given[-1]

    def show(socket_path: Path, *, options: object) -> int:
        assert socket_path.exists()
        return 0

    monkeypatch.setattr(command, "has_terminal", lambda: True)
    monkeypatch.setattr(console_run, "run_first_run", ask)
    monkeypatch.setattr(console_run, "run_console", show)
    return given


def test_the_answers_become_a_node_that_goes_on(
    new_home: Home, answers: list[tuple[FirstRun, str] | None]
) -> None:
    answers.append((FirstRun("hawk", "create", "Falcon", config=CONFIG), PASSPHRASE))
    assert main([]) == 0
    status = node_status(new_home)
    assert status.team is not None
    assert (status.name, status.team.name) == ("hawk", "Falcon")
    assert not new_home.unlock_key.exists()

    with closing(Terminal("attach", "--read-only")) as terminal:
        terminal.expect_on_screen("team Falcon")
        terminal.process.send_signal(signal.SIGTERM)
        terminal.end()
    assert main(["stop"]) == 0
    assert not new_home.control_socket.exists()

    with closing(Terminal("node")) as terminal:
        terminal.expect(f"Passphrase of {new_home.path}: ")
        terminal.type(PASSPHRASE)
        terminal.expect("serving on")
        assert PASSPHRASE not in terminal.seen
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.end() == 0


def test_a_team_that_cannot_be_joined_is_no_reason_to_lose_the_node(
    new_home: Home,
    answers: list[tuple[FirstRun, str] | None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("builtins.input", lambda _: "")
    answers.append((FirstRun("hawk", "join", invite="MC1-NOTHING", config=CONFIG), ""))
    assert main([]) == 0
    assert "Not joined: That is not an invite" in capsys.readouterr().out
    assert node_status(new_home).team is None


def test_questions_that_are_left_make_nothing(
    new_home: Home, answers: list[tuple[FirstRun, str] | None], capsys: pytest.CaptureFixture[str]
) -> None:
    answers.append(None)
    assert main([]) == 1
    assert "Nothing was made" in capsys.readouterr().err
    assert not new_home.path.exists()


def test_invites_are_checked_while_they_are_typed() -> None:
    check: Callable[[str], str] = command._what_is_wrong_with
    assert "does not begin with MC1-" in check("hello")


def test_the_dialog_comes_up_and_can_be_ended(new_home: Home) -> None:
    with closing(Terminal(environment={"MESHCONSOLE_NODE_LISTEN": "127.0.0.1:0"})) as terminal:
        terminal.expect_on_screen("Your name")
        terminal.type("")
        terminal.expect_on_screen("Your team")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.end() != 0
    assert not new_home.path.exists()
