"""A console here on a node elsewhere: the command that reaches it; real processes, a scripted node."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import TYPE_CHECKING

import pytest

from meshconsole.cli.console import NOT_HERE, _options, _through
from meshconsole.cli.hub import HUB_VARIABLE, NO_PATHS
from meshconsole.cli.main import _parse
from meshconsole.control.blocking import call, stream
from meshconsole.control.bridge import bridge
from meshconsole.control.messages import GetStatus, StatusData, StatusPush, Subscribe
from meshconsole.core.errors import Unavailable

if TYPE_CHECKING:
    from meshconsole.core.home import Home
    from tests.cli.scripted_node import ScriptedNode

DIAL = [sys.executable, "-m", "meshconsole", "dial-stdio"]


def test_several_connections_through_a_command_and_no_process_stays(home: Home, node: ScriptedNode) -> None:
    del node
    with bridge([*DIAL, "--home", str(home.path)]) as reached:
        pushes = stream(reached.path, Subscribe(fps=4, events=False, blobs=False))
        assert isinstance(next(pushes), StatusPush)
        data = call(reached.path, GetStatus()).or_raise().data
        assert isinstance(data, StatusData)
        started = list(reached._started)
        assert len(started) == 2
        assert started[0].poll() is None
        assert reached.path.parent.stat().st_mode & 0o777 == 0o700
    assert [process.poll() is not None for process in started] == [True, True]
    assert not reached.path.exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ([*DIAL, "--home", "nowhere"], "No node runs in this home."),
        (["sh", "-c", "echo no route to the hub >&2"], "no route to the hub"),
    ],
)
def test_what_the_command_says_is_told(home: Home, command: list[str], said: str) -> None:
    with pytest.raises(Unavailable, match=said):
        _through(home, argparse.Namespace(through=shlex.join(command)))


@pytest.mark.parametrize(
    ("words", "at_hub", "why"),
    [
        (["attach"], False, ""),
        (["attach", "--through", "ssh hub dial-stdio"], False, NOT_HERE),
        (["attach", "--no-mouse"], True, NO_PATHS),
    ],
)
def test_a_console_knows_whether_a_path_means_the_same_file_to_the_node(
    home: Home, monkeypatch: pytest.MonkeyPatch, words: list[str], at_hub: bool, why: str
) -> None:
    if at_hub:
        monkeypatch.setenv(HUB_VARIABLE, "1")
    assert _options(home, _parse(words)).no_paths == why
    assert len(f"13:37:02 {why}") <= 78, "it is cut on a terminal of 80 columns"


def test_a_command_that_is_not_there_is_named(home: Home) -> None:
    with pytest.raises(Unavailable, match="not-there"):
        _through(home, argparse.Namespace(through="not-there --at all"))
