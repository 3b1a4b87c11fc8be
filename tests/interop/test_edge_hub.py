"""A whole node as a team's hub: Kubo pins a file of its own there, and the hub fetches it by libp2p."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from scripts.machine import Machine, free_port
from tests.interop.kubo_node import Kubo, needs_kubo

if TYPE_CHECKING:
    from pathlib import Path

    from tests.homes import Homes

pytestmark = [*needs_kubo, pytest.mark.e2e, pytest.mark.slow]

DATA = bytes(range(256)) * 8_000
WITHIN_S = 60.0


def test_kubo_pins_its_own_file_to_a_hub(tmp_path: Path, init: Homes) -> None:
    kubo = Kubo(tmp_path / "kubo", "unixfs-v1-2025")
    hub = Machine(tmp_path, "hub", None)
    try:
        init(hub, "--team", "Falcon")
        edge, p2p = free_port(), free_port()
        hub.start(
            f"edge.listen=127.0.0.1:{edge}",
            "p2p.enable=true",
            f"p2p.listen=127.0.0.1:{p2p}",
            f"p2p.peers=/p2p/{json.loads(kubo.say('id', '--enc=json'))['ID']}",
        )
        token = hub.json("edge", "token", "kubo")["token"]
        kubo.say("pin", "remote", "service", "add", "hub", f"http://127.0.0.1:{edge}", token)
        with kubo.daemon():
            cid = kubo.say("add", "-Q", data=DATA)
            kubo.say("pin", "remote", "add", "--service=hub", "--name=map", "--background", cid)
            deadline = time.monotonic() + WITHIN_S
            while hub.json("edge", "pins")[0]["status"] != "pinned":
                assert time.monotonic() < deadline, hub.json("edge", "pins")
                time.sleep(0.2)
            told = kubo.say("pin", "remote", "ls", "--service=hub", "--enc=json")
            assert json.loads(told)["Cid"] == cid
    finally:
        hub.kill()
