"""What a headless node loads and holds, seen from outside: relay, store, files and mDNS, no link."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.machine import Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

RESIDENT_KB = 60_000_000 // 1024
"""What the product promises for such a node."""
OWN_KB = 42_000_000 // 1024
"""Of it what no other process shares and no cache holds, with some reserve for other versions of Python."""
UNUSED = {
    *("textual", "rich", "aiortc", "aioice", "av", "pylibsrtp", "psycopg", "psycopg_binary"),
    *("tomlkit", "psutil", "sqlite_utils", "pyrage", "segno", "shamir_mnemonic", "platformdirs"),
    *("logging.handlers", "multiprocessing", "pickle", "sysconfig", "unittest"),
    *("meshconsole.console", "meshconsole.node.metrics", "meshconsole.relay.postgres"),
    "meshconsole.mesh.links.webrtc",
}
"""What an idle node without WebRTC does without; it is imported where it is used."""
SETTLED_WITHIN_S = 30.0


@pytest.fixture
def node(machine: Callable[[str], Machine]) -> Machine:
    """It tells of each import on its log."""
    made = machine("alpha")
    made.command("init", "--yes", "--name", "alpha", "--team", "Falcon")
    made.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    made.start("capabilities.webrtc_hub=false")
    return made


def held(node: Machine) -> dict[str, int]:
    """In KiB, by the names of proc_pid_status(5)."""
    assert node.process is not None
    lines = Path(f"/proc/{node.process.pid}/status").read_text().splitlines()
    return {
        name: int(value.split()[0])
        for name, _, value in (line.partition(":") for line in lines)
        if "kB" in value
    }


def test_an_idle_headless_node_is_small(node: Machine) -> None:
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while held(node)["VmRSS"] > RESIDENT_KB and time.monotonic() < deadline:
        time.sleep(0.2)  # it gives back what its start used once discovery runs
    assert held(node)["VmRSS"] <= RESIDENT_KB
    assert held(node)["RssAnon"] <= OWN_KB
    loaded = set(re.findall(r"^import time: .*\| +(\S+)$", node.log.read_text(), re.MULTILINE))
    assert {"meshconsole.node.node", "zeroconf"} <= loaded
    assert loaded & UNUSED == set()
