"""What is found wrong with the links of a node."""

from __future__ import annotations

from meshconsole.content.store.blocks import BlocksState
from meshconsole.core.status import LinkStatus, PeerStatus
from meshconsole.node.whats_wrong import blocks_of, reach_of

LINK = LinkStatus("websocket", "192.0.2.1:7447", 0.0)


def a_peer(name: str, *, linked: bool, hears_us: bool | None = None) -> PeerStatus:
    links = (LINK,) if linked else ()
    return PeerStatus(name * 64, name, "member", "up" if linked else "down", links, hears_us)


def test_alone_in_the_team_nothing_is_wrong() -> None:
    assert not list(reach_of(()))


def test_nobody_is_linked() -> None:
    [found] = reach_of((a_peer("a", linked=False), a_peer("b", linked=False)))
    assert found.code == "no-links"


def test_who_does_not_hear_is_named() -> None:
    deaf = tuple(a_peer(name, linked=True, hears_us=False) for name in "abcde")
    [found] = reach_of((*deaf, a_peer("f", linked=True, hears_us=True), a_peer("e", linked=True)))
    assert (found.code, found.remedy) == ("not-heard", "See: meshconsole why a")
    assert "a, b, c and 2 more" in found.text


def test_unknown_is_not_deaf() -> None:
    assert not list(reach_of((a_peer("a", linked=True),)))


def test_blocks_that_cannot_be_reached_and_those_that_may_be_lost() -> None:
    assert not list(blocks_of(BlocksState("Kubo at http://127.0.0.1:5001")))
    away, risk = blocks_of(BlocksState("Kubo", "It is down.", "Start it.", ("It does not sync",)))
    assert (away.code, away.remedy) == ("blocks-away", "Start it.")
    assert away.text.endswith("It is down.")
    assert (risk.code, risk.about) == ("blocks-at-risk", "It does not sync")
