"""The client's half of kad-dht: messages, and the iterative lookup. Pure.

Peers and keys are points: the SHA-256 of their bytes, and how far two of them are apart is their XOR. A
lookup asks those that it knows to be nearest, ALPHA at a time, hears of nearer ones, and is over when the K
nearest that answer have answered. Everything is bounded, for whoever answers may invent peers.

Source: libp2p/specs, kad-dht.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

from meshconsole.content.formats.protobuf import BYTES, VARINT, bytes_field, expect, fields, varint_field
from meshconsole.content.libp2p.keys import PeerId
from meshconsole.content.libp2p.multiaddr import Multiaddr, decodable
from meshconsole.core.errors import RemoteError

PUBLIC = "/ipfs/kad/1.0.0"
LAN = "/ipfs/lan/kad/1.0.0"

ADD_PROVIDER, GET_PROVIDERS, FIND_NODE = 2, 3, 4
K = 20
ALPHA = 10
MAX_MESSAGE_BYTES = 256 << 10
MAX_PEERS = 64
"""Of each kind in one message."""
MAX_ADDRESSES = 8
"""Of one peer."""
MAX_KNOWN = 512
"""Peers that one lookup keeps in mind: the nearest ones."""
MAX_QUERIES = 128

_TYPE, _KEY, _CLOSER, _PROVIDERS = 1, 2, 8, 9
_PEER_ID, _PEER_ADDRESS = 1, 2

State = Literal["heard", "asked", "answered", "failed"]


@dataclass(frozen=True, slots=True)
class Found:
    """A peer and where it is said to answer."""

    peer: PeerId
    addresses: tuple[Multiaddr, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    closer: tuple[Found, ...] = ()
    providers: tuple[Found, ...] = ()


def encode_query(kind: int, key: bytes, provider: Found | None = None) -> bytes:
    """`provider` is this node itself, for ADD_PROVIDER."""
    out = varint_field(_TYPE, kind) + bytes_field(_KEY, key)
    if provider is not None:
        peer = bytes_field(_PEER_ID, provider.peer.multihash)
        peer += b"".join(bytes_field(_PEER_ADDRESS, address.encode()) for address in provider.addresses)
        out += bytes_field(_PROVIDERS, peer)
    return out


def decode_answer(data: bytes) -> Answer:
    """Raises RemoteError("bad-protobuf" | "bad-varint" | "oversize")."""
    closer: list[Found] = []
    providers: list[Found] = []
    count = 0
    for number, wire, _, value in fields(data):
        if number == _TYPE:
            expect(number, wire, VARINT)
        if number not in (_CLOSER, _PROVIDERS):
            continue
        expect(number, wire, BYTES)
        count += 1
        if count > 2 * MAX_PEERS:
            raise RemoteError("oversize", f"An answer names more than {2 * MAX_PEERS} peers.")
        if (found := _decode_peer(value)) is not None:
            (closer if number == _CLOSER else providers).append(found)
    return Answer(tuple(closer[:MAX_PEERS]), tuple(providers[:MAX_PEERS]))


def _decode_peer(data: memoryview) -> Found | None:
    """None for an id that is none: one bad entry spoils no others."""
    peer: PeerId | None = None
    addresses: list[bytes] = []
    for number, wire, _, value in fields(data):
        if number == _PEER_ID:
            expect(number, wire, BYTES)
            try:
                peer = PeerId.decode(bytes(value))
            except RemoteError:
                return None
        elif number == _PEER_ADDRESS:
            expect(number, wire, BYTES)
            if len(addresses) < 2 * MAX_ADDRESSES:
                addresses.append(bytes(value))
    if peer is None:
        return None
    return Found(peer, tuple(decodable(addresses, 2 * MAX_ADDRESSES))[:MAX_ADDRESSES])


def point(key: bytes) -> int:
    return int.from_bytes(hashlib.sha256(key).digest(), "big")


@dataclass(slots=True)
class _Known:
    found: Found
    distance: int
    state: State = "heard"


@dataclass(slots=True)
class Lookup:
    """`key` is a peer id or a multihash. `own` is left out."""

    key: bytes
    own: PeerId
    queries: int = 0
    _known: dict[PeerId, _Known] = field(default_factory=dict)

    def hear(self, peers: tuple[Found, ...]) -> None:
        target = point(self.key)
        for found in peers:
            known = self._known.get(found.peer)
            if found.peer == self.own or (known is not None and known.found.addresses):
                continue
            if known is not None:
                known.found = found
                continue
            self._known[found.peer] = _Known(found, point(found.peer.multihash) ^ target)
        if len(self._known) > MAX_KNOWN:
            far = sorted(self._known.values(), key=lambda one: one.distance)[MAX_KNOWN:]
            for one in far:
                if one.state != "asked":
                    del self._known[one.found.peer]

    def due(self) -> list[Found]:
        """Whom to ask now; each is answered by `answered` or `failed`."""
        asked = sum(one.state == "asked" for one in self._known.values())
        room = min(ALPHA - asked, MAX_QUERIES - self.queries)
        nearest = [one for one in self._nearest() if one.state == "heard" and one.found.addresses]
        due = nearest[: max(0, room)]
        for one in due:
            one.state = "asked"
        self.queries += len(due)
        return [one.found for one in due]

    def answered(self, peer: PeerId, closer: tuple[Found, ...]) -> None:
        self._known[peer].state = "answered"
        self.hear(closer)

    def failed(self, peer: PeerId) -> None:
        self._known[peer].state = "failed"

    @property
    def is_over(self) -> bool:
        if any(one.state == "asked" for one in self._known.values()):
            return False
        waiting = [one for one in self._nearest() if one.state == "heard" and one.found.addresses]
        return not waiting or self.queries >= MAX_QUERIES

    @property
    def closest(self) -> tuple[Found, ...]:
        """The K nearest that have answered."""
        return tuple(one.found for one in self._nearest() if one.state == "answered")

    def addresses_of(self, peer: PeerId) -> tuple[Multiaddr, ...]:
        known = self._known.get(peer)
        return known.found.addresses if known is not None else ()

    def _nearest(self) -> list[_Known]:
        alive = [one for one in self._known.values() if one.state != "failed"]
        return sorted(alive, key=lambda one: one.distance)[:K]
