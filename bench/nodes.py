"""Real nodes as processes, in homes that vanish afterwards."""

from __future__ import annotations

import signal
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
OPEN = (
    "privacy.share_with_team_only=false",
    "privacy.require_authentication=false",
    "relay.rate_limits=false",
    "limits.max_bandwidth_mbps=0",
)
"""Settings of a node that refuses nothing, so that the machine is measured and not a limit."""


@contextmanager
def one_node(*settings: str) -> Iterator[Machine]:
    """A node with a team of its own."""
    with tempfile.TemporaryDirectory(prefix="meshconsole-bench-") as folder, ExitStack() as stack:
        node = Machine(Path(folder), "alpha")
        node.command("init", "--yes", "--name", "alpha", "--team", "Falcon")
        stack.callback(node.kill, signal.SIGTERM)
        node.start(*settings)
        yield node


def pid_of(node: Machine) -> int:
    assert node.process is not None
    return node.process.pid


@contextmanager
def a_pair(*settings: str) -> Iterator[tuple[Machine, Machine]]:
    """Two nodes of one team, linked."""
    with tempfile.TemporaryDirectory(prefix="meshconsole-bench-") as folder, ExitStack() as stack:
        alpha, bravo = Machine(Path(folder), "alpha"), Machine(Path(folder), "bravo")
        alpha.command("init", "--yes", "--name", "alpha", "--team", "Falcon")
        bravo.command("init", "--yes", "--name", "bravo")
        for node in (alpha, bravo):
            stack.callback(node.kill, signal.SIGTERM)
            node.start(*settings)
        bravo.command("team", "join", alpha.json("team", "invite", "--address", alpha.address)["text"])
        for node in (alpha, bravo):
            node.wait("a link", lambda status: any(peer["links"] for peer in status["peers"]))
        yield alpha, bravo
