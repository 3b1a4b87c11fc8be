"""libp2p in whole nodes: off until the owner wants it, for whom the team vouches, closed in radio silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.machine import Machine
    from tests.homes import Homes

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def connected(status: dict[str, Any]) -> list[str]:
    libp2p = status["libp2p"] or {"peers": ()}
    return [peer["name"] for peer in libp2p["peers"] if peer["connected"]]


def test_teammates_are_let_in_because_their_links_vouch_for_them(
    machine: Callable[[str], Machine], init: Homes
) -> None:
    alpha, bravo = machine("alpha"), machine("bravo")
    init(alpha, "--team", "Falcon")
    init(bravo)
    for node in (alpha, bravo):
        node.start("p2p.listen=127.0.0.1:0", "p2p.enable=true")
    bravo.command("team", "join", alpha.json("team", "invite")["text"])
    bravo.wait("a link", lambda status: any(peer["links"] for peer in status["peers"]))
    (address,) = bravo.json("blobs", "peers")["addresses"]
    alpha.command("config", "set", f"p2p.peers={address}")
    bravo.wait("alpha over libp2p", lambda status: connected(status) == ["alpha"])
    shown = bravo.command("blobs", "peers").stdout
    assert "connected" in shown
    assert "meshconsole/" in shown
    bravo.command("emcon", "receive-only")
    alpha.wait("bravo's silence", lambda status: not connected(status))
    assert bravo.json("blobs", "peers") is None
    assert "is off" in bravo.command("blobs", "peers").stdout
