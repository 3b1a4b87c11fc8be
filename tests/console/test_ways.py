"""The way to a peer, in the words of the pane and of `meshconsole peers`."""

from __future__ import annotations

import pytest

from meshconsole.console.words import loss_in_words, way_in_words
from meshconsole.core.status import LinkStatus, PeerStatus

NEAR = LinkStatus("websocket", "192.168.1.7:7447", 0.0, loss_percent=50.0)
NEAR_V6 = LinkStatus("websocket", "[fe80::1%eth0]:7447", 0.0)
FAR = LinkStatus("websocket", "8.8.8.8:7447", 0.0)
NAMED = LinkStatus("websocket", "hub.example:7447", 0.0)
CHANNEL = LinkStatus("webrtc", "8.8.8.8:41002", 0.0, loss_percent=12.4)
TURNED = LinkStatus("webrtc", "8.8.8.8:41002", 0.0, relayed=True)


def peer(*links: LinkStatus, via: str = "") -> PeerStatus:
    return PeerStatus("a" * 64, "alpha", "member", "up" if links else "down", links, via=via)


@pytest.mark.parametrize(
    ("links", "words"),
    [
        ((NEAR,), "lan"),
        ((NEAR_V6,), "lan"),
        ((FAR,), "direct"),
        ((NAMED,), "direct"),
        ((CHANNEL, NEAR), "lan+webrtc"),
        ((TURNED,), "turn"),
        ((CHANNEL, CHANNEL), "webrtc"),
    ],
)
def test_links(links: tuple[LinkStatus, ...], words: str) -> None:
    assert way_in_words(peer(*links)) == words


def test_without_a_link() -> None:
    assert [way_in_words(peer(via=via)) for via in ("hub", "carried", "")] == ["via hub", "carried", ""]


def test_the_loss_of_the_best_link() -> None:
    assert loss_in_words(peer(NEAR, CHANNEL, FAR)) == "12 %"
    assert loss_in_words(peer(FAR)) == ""
