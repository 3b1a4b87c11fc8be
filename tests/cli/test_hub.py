"""What a member of a team hub may type: the script that sshd runs, and the program behind it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from meshconsole.cli.hub import COMMANDS, HARMLESS, HUB_VARIABLE
from meshconsole.cli.main import main
from scripts.cli_tree import leaves

if TYPE_CHECKING:
    from meshconsole.core.home import Home

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "ssh" / "hub"
NAMES_A_PLACE = {"file", "files", "through", "in_browser", "home"}
"""Arguments that name a file or a program, or do without a terminal."""


def typed(words: str) -> subprocess.CompletedProcess[str]:
    """What the script makes of it; `echo` stands for the program."""
    environment = os.environ | {"SSH_ORIGINAL_COMMAND": words, "MESHCONSOLE": "/bin/echo"}
    return subprocess.run(
        ["sh", str(SCRIPT)], env=environment, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize(
    "words",
    [
        "attach --in-browser",
        "attach --through=id",
        "attach --thr id",
        "attach --theme x --through id",
        'attach --theme=x\r--through=sh\r-c\r"id"',
        "status\t--json",
        "send one\ntwo",
        "status --hom=/",
        "status --home /",
        "team -- members --home=/",
        "status --*",
        "audit -x",
        "web",
        "meshconsole",
        " ",
    ],
    ids=ascii,
)
def test_the_script_passes_on_nothing_that_is_not_known(words: str) -> None:
    done = typed(words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(".\n") or done.stderr.endswith("FILE\n")


@pytest.mark.parametrize(
    "words",
    [
        "attach --theme=x --fps 3 --no-mouse",
        "meshconsole events --limit 5 --json",
        "send -- --home ist hier; $(id) * grüße",
        "send -5 - an alle",
        "team --json invite --for 7d --no-qr",
        "dial-stdio",
    ],
)
def test_the_script_passes_on_what_is_for_members(words: str) -> None:
    done = typed(words)
    assert (done.returncode, done.stdout) == (0, f"{words.removeprefix('meshconsole ')}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["attach", "--in-browser"],
        ["attach", "--through", "id"],
        ["status", "--home", "/"],
        ["--home", "/", "status"],
        ["team", "members", "--home=/"],
        ["audit", "export", "x"],
        ["audit", "merge", "/etc/passwd"],
        ["web"],
        ["run"],
        [],
        ["blobs", "add", "/etc/passwd"],
        ["config", "show"],
    ],
    ids=" ".join,
)
def test_the_program_refuses_it_too_where_the_hub_s_mark_is_set(
    arguments: list[str],
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    del home
    monkeypatch.setenv(HUB_VARIABLE, "1")
    assert main(arguments) == 5
    assert "at this hub" in capsys.readouterr().err.lower()


def test_every_argument_of_the_hub_s_commands_is_known_to_be_harmless_or_not() -> None:
    """A new one is refused at a hub until it is listed."""
    for leaf in leaves():
        if leaf.words[0] in COMMANDS:
            for action in leaf.parser._actions:
                if action.dest not in ("help", "==SUPPRESS=="):
                    assert (action.dest in HARMLESS) != (action.dest in NAMES_A_PLACE), (leaf.words, action)


def test_no_command_understands_half_an_option() -> None:
    parsers = [leaf.parser for leaf in leaves()]
    assert len(parsers) > 100
    assert [parser.prog for parser in parsers if parser.allow_abbrev] == []


@pytest.mark.parametrize(
    "words", [["status", "--jso"], ["--hom=/", "status"], ["team", "members", "--hom=/"]]
)
def test_half_an_option_is_wrong_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert "--help" in capsys.readouterr().err
