"""The NAT matrix: two nodes behind routers of their own, a teammate and a TURN server in between.

The route is known by construction: where it has to be direct there is no TURN server, and where it has to
be relayed the two routers are cut off from each other.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from scripts.machine import Failure
from tests.netlab.lab import missing
from tests.netlab.team import has_link, peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.netlab.figures import Ledger
    from tests.netlab.lab import Lab
    from tests.netlab.nat import Nat
    from tests.netlab.team import Status, Team

pytestmark = [pytest.mark.netlab, pytest.mark.soak, pytest.mark.timeout(300)]

HUB = "10.77.0.13"
TURN = f"turn:mesh:secret@{HUB}:3478"


@pytest.mark.parametrize(
    ("key", "nat", "servers", "relayed"),
    [
        ("nat-cone", "full-cone", [f"nat.stun_servers=stun:{HUB}:3478"], False),
        ("nat-restricted", "restricted", [f"nat.stun_servers=stun:{HUB}:3478"], False),
        ("nat-symmetric", "symmetric", [f"nat.turn_servers={TURN}"], True),
        ("nat-no-udp", "udp-blocked", [f"nat.turn_servers={TURN}?transport=tcp"], True),
    ],
)
def test_two_behind_nat_have_a_data_channel(
    key: str,
    nat: Nat,
    servers: list[str],
    relayed: bool,
    lab: Lab,
    team: Callable[..., Team],
    ledger: Ledger,
) -> None:
    reason = missing("turnserver")
    if reason:
        pytest.skip(reason)
    lab.hosts("a", "b", "c")
    three = team("a", "b", "c")
    three.start("capabilities.webrtc_hub=false")
    three.until_linked()
    for node in three.nodes.values():
        node.command("stop")
    three.kill()
    for number, name in ((31, "a"), (32, "b")):
        gateway = f"192.168.{number}.1"
        lab.router(
            f"r{number}", wan=f"10.77.0.{number}/24", lan=f"{gateway}/24", inside=f"home-{name}", nat=nat
        )
        lab.replug(name, f"home-{name}", f"192.168.{number}.10/24", gateway)
    lab.spawn(
        "c",
        *("turnserver", "-n", "--no-tls", "--no-dtls", "-L", HUB, "-E", HUB, "-p", "3478"),
        *("-a", "-u", "mesh:secret", "-r", "mesh", "--no-cli", "--log-file", "stdout"),
        *("--pidfile", f"/tmp/turnserver-{time.monotonic_ns()}.pid"),
    )
    if relayed:
        lab.partition(["r31.wan0"], ["r32.wan0"])
    three.start(*servers)
    for name in ("a", "b"):
        three.until(name, "a link to c", lambda status: has_link(status, "c"), 60)
    began = time.monotonic()

    def has_channel(status: Status) -> bool:
        return any(link["path"] == "webrtc" for link in peer(status, "b")["links"])

    try:
        three.until("a", "a data channel to b", has_channel, 45)
    except Failure:
        ledger.measured(key, "no data channel after 45 s", is_met=False)
        return
    took = time.monotonic() - began
    text = f"{'relayed' if relayed else 'direct'}, {took:.1f} s after both had the teammate"
    ledger.measured(key, text, is_met=took <= 3)
