"""The NAT matrix: two nodes behind routers, their own or the same, a teammate and a TURN server outside.

The route is known by construction: where it has to be direct there is no TURN server, and where it has to
be relayed the two routers are cut off from each other. What the nodes say of it is compared with that.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
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
STUN = f"nat.stun_servers=stun:{HUB}:3478"
TURN = f"nat.turn_servers=turn:mesh:secret@{HUB}:3478"
WITHIN_S = 3
PATIENCE_S = 45


@dataclass(frozen=True)
class Scene:
    """The router of each. `theirs` is None where both are behind `ours`: then `isolated` says that they do
    not hear each other there, as guests of one access point do not."""

    ours: Nat
    theirs: Nat | None
    server: str
    relayed: bool = False
    isolated: bool = False
    hairpin: bool = False


SCENES = {
    "nat-cone": Scene("full-cone", "full-cone", STUN),
    "nat-restricted": Scene("restricted", "restricted", STUN),
    "nat-cone-symmetric": Scene("full-cone", "symmetric", STUN),
    "nat-restricted-symmetric": Scene("restricted", "symmetric", TURN, relayed=True),
    "nat-symmetric": Scene("symmetric", "symmetric", TURN, relayed=True),
    "nat-no-udp": Scene("udp-blocked", "udp-blocked", f"{TURN}?transport=tcp", relayed=True),
    "nat-same": Scene("restricted", None, STUN),
    "nat-hairpin": Scene("full-cone", None, STUN, isolated=True, hairpin=True),
    "nat-no-hairpin": Scene("full-cone", None, TURN, relayed=True, isolated=True),
}


@pytest.mark.parametrize("key", SCENES)
def test_two_behind_nat_are_linked(key: str, lab: Lab, team: Callable[..., Team], ledger: Ledger) -> None:
    reason = missing("turnserver")
    if reason:
        pytest.skip(reason)
    scene = SCENES[key]
    lab.hosts("a", "b", "c")
    three = team("a", "b", "c")
    three.start("capabilities.webrtc_hub=false")
    three.until_linked()
    for node in three.nodes.values():
        node.command("stop")
    three.kill()
    build(lab, scene)
    three.start(scene.server)
    for name in ("a", "b"):
        three.until(name, "a link to c", lambda status: has_link(status, "c"), 60)
    began = time.monotonic()
    is_near = scene.theirs is None and not scene.isolated

    def is_linked(status: Status) -> bool:
        return any(is_near or link["path"] == "webrtc" for link in peer(status, "b")["links"])

    try:
        three.until("a", "a link to b", is_linked, PATIENCE_S)
    except Failure:
        ledger.measured(key, f"no link after {PATIENCE_S} s", is_met=False)
        return
    took = time.monotonic() - began
    # Either may be the one that uses its relay; the other sees an address like any.
    ends = [peer(three[one].json("status"), other)["links"] for one, other in (("a", "b"), ("b", "a"))]
    relayed = any(link["relayed"] for links in ends for link in links)
    text = f"{'relayed' if relayed else 'direct'}, {took:.1f} s after both had the teammate"
    ledger.measured(key, text, is_met=took <= WITHIN_S and relayed == scene.relayed)


def build(lab: Lab, scene: Scene) -> None:
    """Everybody to their places, and the server for STUN and TURN to c."""
    places = [(31, "a", 10, scene.ours)]
    if scene.theirs is not None:
        places.append((32, "b", 10, scene.theirs))
    for number, name, _, nat in places:
        lab.router(
            f"r{number}",
            wan=f"10.77.0.{number}/24",
            lan=f"192.168.{number}.1/24",
            inside=f"home-{name}",
            nat=nat,
            hairpin=scene.hairpin,
        )
    if scene.theirs is None:
        places.append((31, "b", 11, scene.ours))
    for number, name, host, _ in places:
        home = "a" if number == 31 else "b"
        lab.replug(name, f"home-{home}", f"192.168.{number}.{host}/24", f"192.168.{number}.1")
    lab.spawn(
        "c",
        *("turnserver", "-n", "--no-tls", "--no-dtls", "-L", HUB, "-E", HUB, "-p", "3478"),
        *("-a", "-u", "mesh:secret", "-r", "mesh", "--no-cli", "--log-file", "stdout"),
        *("--pidfile", f"/tmp/turnserver-{time.monotonic_ns()}.pid"),
    )
    if scene.isolated:
        lab.partition(["a"], ["b"])
    elif scene.relayed:
        lab.partition(["r31.wan0"], ["r32.wan0"])
