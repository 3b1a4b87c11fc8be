"""What the first run asks, and the words it explains itself with. Pure.

Both the console's dialog and `meshconsole init` fill in `FirstRun`; the node makes a home from it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from meshconsole.core.config import Config


class FirstRun(msgspec.Struct, frozen=True):
    """The owner's answers. Every one of them can be changed later."""

    name: str
    team: Literal["create", "join", "later"]
    team_name: str = ""
    invite: str = ""
    config: Config = Config()
    suite: int = 1
    """Of the team's genesis, and of this device's keys for good: 1 is MC1, 2 is MC2."""


class OptIn(msgspec.Struct, frozen=True):
    """One capability, explained: what others get, what it costs, gives and needs."""

    key: str
    title: str
    shares: str
    costs: str
    gives: str
    needs: str


OPT_INS = (
    OptIn(
        key="nostr_relay",
        title="Nostr relay",
        shares="Notes and team records that this node holds, sealed, to team members only.",
        costs="Storage up to the limit below; about 1 kB per note. Little bandwidth.",
        gives="Messages reach members who were away, and any Nostr client can use this node.",
        needs="One TCP port (7447) that teammates on the same network can reach.",
    ),
    OptIn(
        key="ipfs_node",
        title="IPFS node",
        shares="Sealed blocks of the team's files; without the team key they are noise.",
        costs="Storage up to the limit below, and bandwidth while others fetch.",
        gives="Files survive the loss of the device they came from.",
        needs="Free disk space. No extra port.",
    ),
    OptIn(
        key="webrtc_hub",
        title="WebRTC hub",
        shares="A second path for the same encrypted link; peers learn this node's addresses.",
        costs="About 20 MB of memory once the first such link is up, and UDP traffic.",
        gives="Links through NAT, and a second path when the first one breaks.",
        needs="UDP between the peers; STUN or TURN servers only across NAT.",
    ),
)
