"""identify: what a peer says of itself. Pure. Source: libp2p/specs, identify."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshconsole.content.formats.protobuf import BYTES, bytes_field, decode_text, expect, fields
from meshconsole.content.libp2p.keys import PublicKey
from meshconsole.content.libp2p.multiaddr import Multiaddr, decodable
from meshconsole.core.errors import RemoteError
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from meshconsole.content.libp2p.keys import PeerId

IDENTIFY = "/ipfs/id/1.0.0"
IDENTIFY_PUSH = "/ipfs/id/push/1.0.0"
PROTOCOL_VERSION = "ipfs/0.1.0"
MAX_MESSAGE_BYTES = 16 << 10
MAX_ADDRESSES = 32
MAX_PROTOCOLS = 128
MAX_AGENT = 64

_KEY, _LISTEN, _PROTOCOLS, _OBSERVED, _VERSION, _AGENT = 1, 2, 3, 4, 5, 6


@dataclass(frozen=True, slots=True)
class Identified:
    """`agent` is the peer's own word, made safe to show."""

    agent: str = ""
    protocols: frozenset[str] = frozenset()
    listen: tuple[Multiaddr, ...] = ()
    observed: Multiaddr | None = None


def encode_identify(
    key: bytes, agent: str, protocols: tuple[str, ...], listen: tuple[Multiaddr, ...], observed: Multiaddr
) -> bytes:
    return b"".join(
        (
            bytes_field(_KEY, key),
            *(bytes_field(_LISTEN, address.encode()) for address in listen),
            *(bytes_field(_PROTOCOLS, protocol.encode()) for protocol in protocols),
            bytes_field(_OBSERVED, observed.encode()),
            bytes_field(_VERSION, PROTOCOL_VERSION.encode()),
            bytes_field(_AGENT, agent.encode()),
        )
    )


def decode_identify(data: bytes, peer: PeerId) -> Identified:
    """Raises RemoteError("bad-identify" | "bad-protobuf" | "bad-varint" | "bad-key")."""
    agent = ""
    protocols: set[str] = set()
    listen: list[bytes] = []
    observed: list[bytes] = []
    for number, wire, _, value in fields(data):
        if number in (_KEY, _LISTEN, _PROTOCOLS, _OBSERVED, _AGENT):
            expect(number, wire, BYTES)
        if number == _KEY and PublicKey.decode(bytes(value)).peer != peer:
            raise RemoteError("bad-identify", "The peer says that its key is another than it has shown.")
        if number == _LISTEN:
            listen.append(bytes(value))
        elif number == _OBSERVED:
            observed = [bytes(value)]
        elif number == _AGENT:
            agent = safe(decode_text(value), MAX_AGENT)
        elif number == _PROTOCOLS:
            protocols.add(decode_text(value))
            if len(protocols) > MAX_PROTOCOLS:
                raise RemoteError("bad-identify", f"The peer names more than {MAX_PROTOCOLS} protocols.")
    return Identified(
        agent,
        frozenset(protocols),
        tuple(decodable(listen, MAX_ADDRESSES)),
        next(decodable(observed, 1), None),
    )
