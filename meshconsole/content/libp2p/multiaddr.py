"""Addresses of libp2p peers as text and bytes. Pure. Source: multiformats/multiaddr, protocols.csv.

Of the many protocols those are known whose form is; what others bring is kept as bytes only as far as its
length can be told. This node dials `/ip4|ip6|dns|dns4|dns6/HOST/tcp/PORT`, with `/p2p/PEER` behind.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshconsole.content.formats.varint import decode_varint, encode_varint
from meshconsole.content.libp2p.keys import PeerId
from meshconsole.core.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_BYTES = 512
MAX_PARTS = 16
MAX_NAME = 255

_CODES = {
    "ip4": 4,
    "tcp": 6,
    "ip6": 41,
    "ip6zone": 42,
    "dns": 53,
    "dns4": 54,
    "dns6": 55,
    "dnsaddr": 56,
    "udp": 273,
    "p2p-circuit": 290,
    "p2p": 421,
    "tls": 448,
    "sni": 449,
    "noise": 454,
    "quic": 460,
    "quic-v1": 461,
    "webtransport": 465,
    "certhash": 466,
    "ws": 477,
    "wss": 478,
    "http": 480,
    "webrtc-direct": 280,
    "webrtc": 281,
}
_NAMES = {code: name for name, code in _CODES.items()}
_FIXED = {"ip4": 4, "ip6": 16, "tcp": 2, "udp": 2}
_WITH_LENGTH = frozenset({"dns", "dns4", "dns6", "dnsaddr", "p2p", "ip6zone", "sni", "certhash"})
_DIALLED = ("ip4", "ip6", "dns", "dns4", "dns6")


@dataclass(frozen=True, slots=True)
class Multiaddr:
    """Names of protocols and their values as text."""

    parts: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> Multiaddr:
        """Raises RemoteError("bad-multiaddr") with a sentence for whoever typed it."""
        words = text.split("/")
        if words[0] or len(words) < 2 or len(text) > MAX_BYTES:
            raise RemoteError("bad-multiaddr", "An address looks like /ip4/192.0.2.1/tcp/4001/p2p/PEER.")
        parts: list[tuple[str, str]] = []
        rest = iter(words[1:])
        for name in rest:
            name = "p2p" if name == "ipfs" else name
            if name not in _CODES:
                raise RemoteError("bad-multiaddr", f"/{name} is not known in an address.")
            value = next(rest, "") if name in _FIXED or name in _WITH_LENGTH else ""
            parts.append((name, value))
        address = cls(tuple(parts))
        address.encode()
        return address

    @classmethod
    def decode(cls, data: bytes) -> Multiaddr:
        """Raises RemoteError("bad-multiaddr" | "bad-varint" | "bad-peer-id")."""
        if len(data) > MAX_BYTES:
            raise RemoteError("bad-multiaddr", f"An address is over {MAX_BYTES} bytes.")
        parts: list[tuple[str, str]] = []
        position = 0
        while position < len(data):
            code, position = decode_varint(data, position)
            name = _NAMES.get(code)
            if name is None or len(parts) == MAX_PARTS:
                raise RemoteError("bad-multiaddr", "An address has a part that is not known.")
            length = _FIXED.get(name, 0)
            if name in _WITH_LENGTH:
                length, position = decode_varint(data, position)
            value = data[position : position + length]
            if len(value) != length:
                raise RemoteError("bad-multiaddr", "An address ends inside one of its parts.")
            position += length
            parts.append((name, _value_text(name, value)))
        if not parts:
            raise RemoteError("bad-multiaddr", "An address is empty.")
        return cls(tuple(parts))

    def encode(self) -> bytes:
        """Raises RemoteError("bad-multiaddr" | "bad-peer-id")."""
        out = bytearray()
        for name, text in self.parts:
            value = _value_bytes(name, text)
            out += encode_varint(_CODES[name])
            if name in _WITH_LENGTH:
                out += encode_varint(len(value))
            out += value
        return bytes(out)

    @property
    def peer(self) -> PeerId | None:
        """Whom it names, if the last part does."""
        name, value = self.parts[-1]
        return PeerId.parse(value) if name == "p2p" else None

    @property
    def host_port(self) -> tuple[str, int] | None:
        """Where to dial by TCP; None if this is no such address."""
        names = [name for name, _ in self.parts]
        if names[:2] in ([dialled, "tcp"] for dialled in _DIALLED) and names[2:] in ([], ["p2p"]):
            return self.parts[0][1], int(self.parts[1][1])
        return None

    @property
    def is_name(self) -> bool:
        """It begins with a name that somebody else says where it leads."""
        return self.parts[0][0].startswith("dns")

    @property
    def websocket(self) -> tuple[str, int] | None:
        """HOST and PORT of `/ip4|ip6/HOST/tcp/PORT/ws`, with `/p2p/PEER` behind or without."""
        names = [name for name, _ in self.parts]
        if names[:1] in (["ip4"], ["ip6"]) and names[1:] in (["tcp", "ws"], ["tcp", "ws", "p2p"]):
            return self.parts[0][1], int(self.parts[1][1])
        return None

    def with_peer(self, peer: PeerId) -> Multiaddr:
        return self if self.peer is not None else Multiaddr((*self.parts, ("p2p", str(peer))))

    def __str__(self) -> str:
        return "".join(f"/{name}/{value}" if value else f"/{name}" for name, value in self.parts)


def tcp_address(host: str, port: int, *more: tuple[str, str]) -> Multiaddr:
    """Of an IP address or a DNS name."""
    try:
        kind = f"ip{ipaddress.ip_address(host).version}"
    except ValueError:
        kind = "dns"
    return Multiaddr(((kind, host), ("tcp", str(port)), *more))


def decodable(addresses: Iterable[bytes], most: int) -> Iterator[Multiaddr]:
    """Those of the first `most` that are understood here; peers have addresses of many kinds."""
    for data, _ in zip(addresses, range(most), strict=False):
        try:
            yield Multiaddr.decode(data)
        except RemoteError:
            continue


def _value_bytes(name: str, text: str) -> bytes:
    try:
        if name == "p2p":
            return PeerId.parse(text).multihash
        if name in ("ip4", "ip6"):
            address = ipaddress.ip_address(text)
            if f"ip{address.version}" != name:
                raise ValueError
            return address.packed
        if name in ("tcp", "udp"):
            if not (text.isascii() and text.isdecimal()):
                raise ValueError
            return int(text).to_bytes(2, "big")
        if name == "certhash":
            return bytes.fromhex(text)
        if name in _WITH_LENGTH and not 0 < len(text) <= MAX_NAME:
            raise ValueError
        return text.encode("ascii")
    except (ValueError, OverflowError):
        raise RemoteError("bad-multiaddr", f"{text!r} cannot stand after /{name} in an address.") from None


def _value_text(name: str, value: bytes) -> str:
    if name == "p2p":
        return str(PeerId.decode(value))
    if name in ("ip4", "ip6"):
        return str(ipaddress.ip_address(value))
    if name in ("tcp", "udp"):
        return str(int.from_bytes(value, "big"))
    if name == "certhash":
        return value.hex()
    try:
        text = value.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if name in _WITH_LENGTH and (not text or "/" in text or not text.isprintable()):
        raise RemoteError("bad-multiaddr", f"A part /{name} of an address is no name.")
    return text
