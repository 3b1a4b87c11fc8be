"""Real nodes as processes, in homes that vanish afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshconsole.control.blocking import stream
from meshconsole.control.messages import StatusPush, Subscribe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from meshconsole.core.status import NodeStatus

COMMAND = [sys.executable, "-m", "meshconsole"]
ROOT = Path(__file__).resolve().parent.parent
WAIT_S = 60.0
OPEN = (
    "privacy.share_with_team_only=false",
    "privacy.require_authentication=false",
    "relay.rate_limits=false",
    "limits.max_bandwidth_mbps=0",
)
"""Settings of a node that refuses nothing, so that the machine is measured and not a limit."""


class BenchNode:
    """A home, and the process that runs it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.address = ""
        self.process: subprocess.Popen[bytes] | None = None
        self.start_s = 0.0

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def command(self, *arguments: str) -> str:
        """A command's output. Raises CalledProcessError."""
        done = subprocess.run(
            [*COMMAND, *arguments, "--home", str(self.home)],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        if done.returncode:
            raise SystemExit(f"`meshconsole {' '.join(arguments)}`: {done.stderr.strip()}")
        return done.stdout

    def json(self, *arguments: str) -> Any:  # noqa: ANN401 - whatever the command prints
        return json.loads(self.command(*arguments, "--json"))

    def start(self, *settings: str) -> None:
        read_end, write_end = os.pipe()
        options = ["--home", str(self.home), "--listen", "127.0.0.1:0", "--ready-fd", str(write_end)]
        options += [word for setting in settings for word in ("--set", setting)]
        began = time.monotonic()
        with (self.home.parent / f"{self.home.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "node", *options],
                stdout=log,
                stderr=log,
                pass_fds=(write_end,),
                cwd=ROOT,
            )
        os.close(write_end)
        with open(read_end) as ready:
            words = ready.readline().split()
        if words[:1] != ["ready"]:
            raise SystemExit(f"The node did not start; see {log.name}.")
        self.start_s = time.monotonic() - began
        self.address = words[1]

    def wait(self, ready: Callable[[NodeStatus], bool]) -> None:
        """Until a pushed status satisfies `ready`."""
        deadline = time.monotonic() + WAIT_S
        for push in stream(self.home / "control.sock", Subscribe(fps=10, events=False, blobs=False)):
            if isinstance(push, StatusPush) and ready(push.status):
                return
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.home.name}: what was waited for did not happen in {WAIT_S:.0f} s.")

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=15)
            self.process = None


@contextmanager
def one_node(*settings: str, team: bool = True) -> Iterator[BenchNode]:
    with tempfile.TemporaryDirectory(prefix="meshconsole-bench-") as folder, ExitStack() as stack:
        node = BenchNode(Path(folder) / "alpha")
        node.command("init", "--yes", "--name", "alpha", *(("--team", "Falcon") if team else ()))
        stack.callback(node.stop)
        node.start(*settings)
        yield node


@contextmanager
def a_pair(*settings: str) -> Iterator[tuple[BenchNode, BenchNode]]:
    """Two nodes of one team, linked."""
    with tempfile.TemporaryDirectory(prefix="meshconsole-bench-") as folder, ExitStack() as stack:
        alpha, bravo = BenchNode(Path(folder) / "alpha"), BenchNode(Path(folder) / "bravo")
        alpha.command("init", "--yes", "--name", "alpha", "--team", "Falcon")
        bravo.command("init", "--yes", "--name", "bravo")
        for node in (alpha, bravo):
            stack.callback(node.stop)
            node.start(*settings)
        bravo.command("team", "join", alpha.json("team", "invite", "--address", alpha.address)["text"])
        for node in (alpha, bravo):
            node.wait(lambda status: any(peer.links for peer in status.peers))
        yield alpha, bravo
