"""What a headless node loads and holds, seen from outside: relay, store, files and mDNS."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.machine import Machine
    from tests.homes import Homes

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

RESIDENT_KB = 45_000_000 // 1024
"""What the product promises for such a node. For a second after rare work it holds more."""
OWN_KB = 42_000_000 // 1024
"""Of it what no other process shares and no cache holds, with some reserve for other versions of Python and
for other nodes on this machine: each of their beacons is heard."""
LINKED_KB = 56_000_000 // 1024
"""With data channels to two teammates; 60 MB are promised."""
UNUSED = {
    *("textual", "rich", "aiortc", "aioice", "av", "pylibsrtp", "psycopg", "psycopg_binary"),
    *("tomlkit", "psutil", "sqlite_utils", "pyrage", "segno", "shamir_mnemonic", "platformdirs"),
    *("logging.handlers", "multiprocessing", "pickle", "sysconfig", "unittest"),
    *("meshconsole.console", "meshconsole.node.metrics", "meshconsole.relay.postgres"),
    *("meshconsole.mesh.links.webrtc", "meshconsole.edge", "meshconsole.node.edge_room", "h11"),
}
"""What an idle node without WebRTC does without; it is imported where it is used."""
SETTLED_WITHIN_S = 30.0


@pytest.fixture
def node(machine: Callable[[str], Machine], init: Homes) -> Machine:
    """It tells of each import on its log."""
    made = machine("alpha")
    init(made, "--team", "Falcon")
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


def settled(node: Machine, wanted_kb: int) -> int:
    """The least that is resident until it is `wanted_kb`: a node gives back what its start used."""
    deadline = time.monotonic() + SETTLED_WITHIN_S
    least = held(node)["VmRSS"]
    while least > wanted_kb and time.monotonic() < deadline:
        time.sleep(0.2)
        least = min(least, held(node)["VmRSS"])
    return least


def test_an_idle_headless_node_is_small(node: Machine) -> None:
    assert settled(node, RESIDENT_KB) <= RESIDENT_KB
    assert held(node)["RssAnon"] <= OWN_KB
    loaded = set(re.findall(r"^import time: .*\| +(\S+)$", node.log.read_text(), re.MULTILINE))
    assert {"meshconsole.node.node", "zeroconf"} <= loaded
    assert loaded & UNUSED == set()


def test_a_node_with_data_channels_is_not_much_larger(
    alpha: Machine, machine: Callable[..., Machine], init: Homes
) -> None:
    others = [machine("bravo"), machine("charlie")]
    for node in others:
        init(node)
        node.start()
        node.command("team", "join", alpha.json("team", "invite", "--address", alpha.address)["text"])
    alpha.wait("two data channels", lambda status: channels(status) == 2)
    assert settled(alpha, LINKED_KB) <= LINKED_KB


def channels(status: dict[str, Any]) -> int:
    return sum(link["path"] == "webrtc" for peer in status["peers"] for link in peer["links"])
