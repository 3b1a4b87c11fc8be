"""Where devices of a team meet in a DHT, and how they know each other's records there. Pure.

The place is a key that only holders of the team's key can compute; it is another one every day and in
every epoch, so that whoever keeps records of the DHT cannot follow a team. Each device leaves its record
under a peer id that is as short-lived: teammates compute which ids they may meet, and pass over every
other. What stands in a record is a hint, as everywhere: who answers there, the link's handshake proves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.content.formats.cid import SHA2_256
from meshconsole.content.libp2p.keys import OwnKey
from meshconsole.content.libp2p.multiaddr import Multiaddr, tcp_address
from meshconsole.crypto.encoding import expand, lp
from meshconsole.mesh.endpoints import join_address, split_address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.content.libp2p.kademlia import Found
    from meshconsole.content.libp2p.keys import PeerId

DAY_S = 86_400
EDGE_S = 7200
"""Before and after midnight (UTC) the neighbouring day counts too: clocks differ."""
MAX_ADDRESSES = 8


def place(team_key: bytes, day: int) -> bytes:
    """The key, as the multihash of a block that does not exist."""
    return bytes((SHA2_256, 32)) + expand(team_key, lp("mc/dht-place/v1", day), 32)


def short_lived_key(team_key: bytes, day: int, npub: str) -> OwnKey:
    """Under which a device speaks to the DHT on that day. Every teammate can compute it."""
    return OwnKey(expand(team_key, lp("mc/dht-peer/v1", day, npub), 32))


def days_to_tell(now: float) -> tuple[int, ...]:
    """`now` is in seconds since the epoch."""
    return tuple(sorted({int(now) // DAY_S, (int(now) + EDGE_S) // DAY_S}))


def days_to_ask(now: float) -> tuple[int, ...]:
    return tuple(sorted({(int(now) + apart) // DAY_S for apart in (-EDGE_S, 0, EDGE_S)}))


def record_of(listen: Iterable[str]) -> tuple[Multiaddr, ...]:
    """Where a device answers, as its record says it. `listen` are HOST:PORT."""
    ends = (split_address(address) for address in listen)
    return tuple(tcp_address(host, port, ("ws", "")) for host, port in ends)[:MAX_ADDRESSES]


def teammates_among(
    providers: Iterable[Found], team_key: bytes, day: int, npubs: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """The addresses (HOST:PORT) of each device whose record stands there."""
    expected: dict[PeerId, str] = {short_lived_key(team_key, day, npub).peer: npub for npub in npubs}
    found: dict[str, tuple[str, ...]] = {}
    for provider in providers:
        npub = expected.get(provider.peer)
        if npub is not None:
            ends = [each.websocket for each in provider.addresses]
            found[npub] = tuple(join_address(*end) for end in ends if end is not None)[:MAX_ADDRESSES]
    return found
