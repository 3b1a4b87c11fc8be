"""Without a terminal: a node in the foreground, from nothing to a stop, as processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshconsole.core.home import Home

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "meshconsole"]


class Running:
    """`meshconsole ARGUMENTS` as a process whose output is read line by line."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "MESHCONSOLE_NODE_LISTEN": "127.0.0.1:0"},
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.fixture
def running(home: Home) -> Iterator[Running]:
    running = Running("run")
    yield running
    running.process.kill()
    running.process.communicate()


def test_a_first_run_without_a_terminal(home: Home, running: Running) -> None:
    word, address = running.line().split()
    assert (word, address.rpartition(":")[0]) == ("ready", "127.0.0.1")
    status = json.loads(command("status", "--json").stdout)
    assert status["listen"] == [address]
    assert status["team"] is None

    second = command("run")
    assert second.returncode == 3
    assert "already runs" in second.stderr

    assert command("config", "set", "limits.max_connections=8").stdout == "Saved, and in force.\n"
    assert command("stop").returncode == 0
    code, out, err = running.end()
    assert (code, out) == (0, "")
    assert "listens on this machine only" in err
    assert "Traceback" not in err
    assert "max_connections = 8" in home.config.read_text()


def test_it_stops_in_good_order_when_it_is_told_to(home: Home, running: Running) -> None:
    running.line()
    running.process.send_signal(signal.SIGTERM)
    code, _, err = running.end()
    assert code == 0
    assert "Traceback" not in err
    assert not home.control_socket.exists()


def test_a_passphrase_is_taken_from_a_file(home: Home, tmp_path: Path) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse\n")
    assert command("init", "--yes", "--passphrase-file", str(secret)).returncode == 0
    wrong = tmp_path / "wrong"
    wrong.write_text("battery staple\n")
    assert "passphrase is wrong" in command("node", "--passphrase-file", str(wrong)).stderr
    running = Running("node", "--passphrase-file", str(secret))
    try:
        waiting = Path(f"/proc/{running.process.pid}/cmdline")
        assert b"correct horse" not in waiting.read_bytes()
    finally:
        running.process.terminate()
        running.end()
