"""The console in a real tmux, driven by its send-keys: as most people run it over a line that breaks."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.console.terminal import LONG_S, ROOT, Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TMUX = shutil.which("tmux")
pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(TMUX is None, reason="tmux is not installed; get it with: apt install tmux"),
]
OPTIONS = ("default-terminal screen", "status off", "escape-time 0", "set-clipboard on")
WALK = (
    ("1", "> 1 Peers"),
    ("2", "> 2 Events"),
    ("3", "> 3 Storage"),
    ("4", "> 4 Limits"),
    ("5", "> 5 Files"),
    ("6", "FINGERPRINT"),
    ("7", "AUDIT LOG"),
    ("8", "WHAT, AND WHAT TO DO"),
    ("9", "> 9 Map"),
    ("?", "WHAT IT DOES"),
)


class Tmux:
    """A server of its own, without anybody's configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tmux.conf").write_text("\n".join(f"set -g {option}" for option in OPTIONS) + "\n")

    def client(self, *words: str) -> Terminal:
        assert TMUX is not None
        return Terminal(
            "-S", str(self.folder / "s"), "-f", str(self.folder / "tmux.conf"), *words, program=(TMUX,)
        )

    def say(self, *words: str) -> str:
        assert TMUX is not None
        command = [TMUX, "-S", str(self.folder / "s"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def keys(self, *keys: str) -> None:
        self.say("send-keys", "-t", "0", *keys)

    def pane(self) -> int:
        """A descriptor of the program in the pane, ready to read when it has ended."""
        return os.pidfd_open(int(self.say("display-message", "-p", "-t", "0", "#{pane_pid}")))


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    server = Tmux(tmp_path)
    yield server
    assert TMUX is not None
    subprocess.run([TMUX, "-S", str(tmp_path / "s"), "kill-server"], capture_output=True, check=False)


def test_a_walk_a_note_other_sizes_and_coming_back(tmux: Tmux) -> None:
    program = f"cd '{ROOT}' && exec '{sys.executable}' -m tests.console.on_a_terminal busy"
    with tmux.client("new-session", program) as terminal:
        terminal.until_shown("falcon-2")
        for key, shown in WALK:
            tmux.keys(key)
            terminal.until_shown(shown)
        # A key too soon after Esc makes a sequence of both: each Esc is seen to have done its work.
        for gone in ("WHAT IT DOES", "WHO HEARS WHOM"):
            tmux.keys("Escape")
            terminal.until_gone(gone)
        tmux.keys("n")
        terminal.until_shown("note to alpha")
        tmux.keys("-l", "the bridge is open")
        tmux.keys("Enter")
        terminal.until_shown("team note  stored      the bridge is open")
        tmux.keys("Escape")
        terminal.until_gone("note to alpha")
        tmux.keys("G", "y")
        terminal.until_shown("clipboard")
        assert len(tmux.say("show-buffer")) == 64
        for width, height, shown in (
            (50, 16, "4 Limits  5 Files >"),
            (120, 40, "2 of 6 here"),
            (80, 24, "3 Storage"),
        ):
            terminal.resize(width, height)
            terminal.until_shown(shown)
        ended = tmux.pane()
        tmux.say("detach-client")
        assert terminal.ended() == 0
    assert not select.select([ended], [], [], 0)[0]
    with tmux.client("attach-session") as terminal:
        terminal.until_shown("the bridge is open")
        tmux.say("kill-session")
        assert terminal.ended() == 0
    assert select.select([ended], [], [], LONG_S)[0], "the console outlives its session"
    os.close(ended)
