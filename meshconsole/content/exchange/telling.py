"""Who is told of a want, with how many hops, and what is said when that changes (`wants.py`, law 4). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.content.exchange.asking import MAX_HOPS, Open, Peer, may_ask
from meshconsole.content.exchange.bitswap import Want

if TYPE_CHECKING:
    from collections.abc import Mapping


def should_tell(want: Open, name: str, peer: Peer) -> bool:
    """Those who know of it too, where it may go further than they were told."""
    if want.towards and name not in want.towards:
        return False
    hops = want.hops_to(name) if may_ask(want, name, peer) else None
    return hops is not None and hops < want.told.get(name, MAX_HOPS + 1)


def tell(want: Open, name: str, peer: Peer, *, block: bool) -> None:
    want.told[name] = hops = want.hops_to(name) or 0
    peer.wants.append(Want(want.cid, block, hops=hops))
    if block:
        peer.asked[want.cid.multihash] += 1


def tell_less(want: Open, peers: Mapping[str, Peer]) -> None:
    """Of the askers that are left, some may just pass on what we told them: so the hops that they say grow,
    and a want that goes around in a circle ends."""
    for name, told in list(want.told.items()):
        peer = peers[name]
        hops = want.hops_to(name) if may_ask(want, name, peer) else None
        if hops is None:
            peer.forget(want)
            del want.told[name]
            want.holders.pop(name, None)
            if want.owed_by == name:
                want.owed_by = None
        elif hops > told:
            tell(want, name, peer, block=want.owed_by == name)
