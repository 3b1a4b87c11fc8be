"""The way to a device without a link, by how its newest event came."""

from __future__ import annotations

from meshconsole.core.status import LinkStatus, PeerStatus
from meshconsole.node.routes import LATELY_S, MAX_DEVICES, Routes

ALPHA, HUB = "a" * 64, "b" * 64
PEER = PeerStatus(ALPHA, "alpha", "member", "down")


def way(*via: str, peer: PeerStatus = PEER, age: float = 1.0) -> str:
    routes = Routes()
    for one in via:
        routes.saw(ALPHA, one, 100.0)
    return routes.marked(peer, {HUB: "hub"}.__getitem__, 100.0 + age).via


def test_the_newest_event_tells() -> None:
    assert way("import", f"link {HUB}") == "hub"
    assert way(f"link {HUB}", "import") == "carried"
    assert way("uplink wss://relay.example") == "uplink"


def test_what_says_nothing_of_a_way() -> None:
    assert way() == way(f"link {ALPHA}") == way("client 192.0.2.1") == way("local") == ""


def test_a_way_over_others_grows_old_and_what_was_carried_does_not() -> None:
    assert not way(f"link {HUB}", age=LATELY_S)
    assert way("import", age=10 * LATELY_S) == "carried"


def test_who_has_a_link_needs_no_other_way() -> None:
    linked = PeerStatus(ALPHA, "alpha", "member", "up", (LinkStatus("websocket", "192.0.2.1:1", 0.0),))
    assert not way(f"link {HUB}", peer=linked)


def test_the_memory_is_bounded() -> None:
    routes = Routes()
    for number in range(MAX_DEVICES + 5):
        routes.saw(f"{number:064x}", "import", 1.0)
    assert len(routes._newest) == MAX_DEVICES
