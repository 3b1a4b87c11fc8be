"""Other IPFS programs that exchange blocks with the node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.cli.ask import ask_for
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_json, print_table, say
from meshconsole.console.words import size_in_words
from meshconsole.control.messages import GetStatus, StatusData

if TYPE_CHECKING:
    import argparse

    from meshconsole.core.status import Libp2pPeer


def list_peers(parsed: argparse.Namespace) -> None:
    libp2p = ask_for(home_of(parsed.home), GetStatus(), StatusData).status.libp2p
    if parsed.json:
        print_json(libp2p)
        return
    if libp2p is None:
        say("libp2p is off. Switch it on: meshconsole config set p2p.enable=true")
        return
    if libp2p.trouble:
        say(f"libp2p does not work: {libp2p.trouble}")
        return
    for address in libp2p.addresses:
        say(f"this node  {address}")
    if libp2p.dht:
        say(f"DHT        {libp2p.dht}")
    if libp2p.peers:
        print_table(("state", "who", "in", "out", "program", "peer", "address"), map(_peer, libp2p.peers))
    else:
        say("No peers. Name nodes of the team that run other programs in p2p.peers.")
    for reason, count in libp2p.refused.items():
        say(f"refused {count} times: {reason}")


def _peer(peer: Libp2pPeer) -> tuple[str, ...]:
    state = "connected" if peer.connected else f"away: {peer.note}" if peer.note else "away"
    who = peer.name or ("team" if peer.team else "stranger")
    sizes = size_in_words(peer.bytes_in), size_in_words(peer.bytes_out)
    return state, who, *sizes, peer.agent, peer.peer, peer.address
