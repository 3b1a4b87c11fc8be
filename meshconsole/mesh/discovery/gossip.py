"""The rung of gossip: teammates tell each other where their teammates answer. Pure.

Whoever has links tells on each of them, so a hub that everybody reaches brings those together who cannot
find each other. What is told is a hint like every other one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import Unavailable
from meshconsole.mesh.endpoints import is_loopback, split_address
from meshconsole.mesh.messages import MAX_TOLD, MAX_TOLD_ADDRESSES, Told

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

AGAIN_S = 60.0
"""Between two tellings of the same to the same peer: none. Of what has changed: so long at least."""
NOTHING = Told(())


class Telling(msgspec.Struct):
    """What was told to one peer, and when."""

    said: Told = NOTHING
    at: float = -AGAIN_S
    _made_of: Mapping[str, Sequence[str]] | None = None

    def due(
        self, known: Mapping[str, Sequence[str]], to: str, now: float, first: Callable[[], Collection[str]]
    ) -> Told | None:
        """`known` are addresses by npub, of devices that belong, the same object while they are the same;
        `to` need not be told of itself, and `first` are those of whom it makes the most."""
        if known is self._made_of or now - self.at < AGAIN_S:
            return None
        self._made_of = known
        told = tell(known, to, first())
        if told == self.said:
            return None
        self.said, self.at = told, now
        return told


def tell(known: Mapping[str, Sequence[str]], to: str, first: Collection[str] = ()) -> Told:
    peers = []
    for npub, addresses in sorted(known.items(), key=lambda item: (item[0] not in first, item[0])):
        useful = tuple(a for a in addresses if not is_loopback(a) and "%" not in a)[:MAX_TOLD_ADDRESSES]
        if npub != to and useful:
            peers.append((bytes.fromhex(npub), useful))
            if len(peers) == MAX_TOLD:
                break
    return Told(tuple(peers))


def read_told(told: Told) -> list[tuple[str, str]]:
    """Pairs of npub and address; what is no address is left out."""
    found = []
    for npub, addresses in told.peers:
        for address in addresses:
            try:
                host, _ = split_address(address)
            except Unavailable:
                continue
            if "%" in host:
                continue  # an interface of the one who told it
            found.append((npub.hex(), address))
    return found
