"""Who hears whom, from what a node knows."""

from __future__ import annotations

import msgspec

from meshconsole.core.mesh_map import MapRow, mesh_map
from meshconsole.core.status import LinkStatus, PeerStatus
from tests.cli.falcon import ALPHA, BRAVO, CHARLIE, STATUS

LINK = LinkStatus("websocket", "192.0.2.1:7447", 0.0)


def rows(*peers: PeerStatus) -> tuple[MapRow, ...]:
    return mesh_map(msgspec.structs.replace(STATUS, peers=peers))


def test_links_and_beacons_both_count() -> None:
    bravo = PeerStatus(BRAVO, "bravo", "member", "up", (LINK,), True, hears=(ALPHA, CHARLIE, BRAVO))
    charlie = PeerStatus(CHARLIE, "charlie", "member", "down", hears_us=False, heard_by=("broadcast",))
    assert rows(bravo, charlie) == (
        MapRow(ALPHA, "alpha", (BRAVO, CHARLIE), here=True),
        MapRow(BRAVO, "bravo", (ALPHA, CHARLIE)),
        MapRow(CHARLIE, "charlie", (), (ALPHA,)),
    )


def test_a_suspect_peer_is_not_said_to_be_heard() -> None:
    suspect = PeerStatus(BRAVO, "bravo", "member", "suspect", (LINK,))
    assert rows(suspect) == (MapRow(ALPHA, "alpha", here=True), MapRow(BRAVO, "bravo"))


def test_how_a_device_without_a_link_is_reached() -> None:
    away = PeerStatus(BRAVO, "bravo", "member", "down", via="hub")
    linked = PeerStatus(CHARLIE, "charlie", "member", "up", (LINK,), via="hub")
    assert [row.via for row in rows(away, linked)] == ["", "hub", ""]
