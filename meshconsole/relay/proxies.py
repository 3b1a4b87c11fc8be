"""Whose connection it is that a proxy passes on: X-Forwarded-For, from proxies that the owner trusts. Pure.

The header grows to the right: each proxy appends whom it saw. So it is read from the right, and the first
address that is not a trusted proxy's is the client's; whatever stands left of it the client may have written
itself. From anybody else the header is not looked at.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Network = IPv4Network | IPv6Network
MAX_HOPS = 16


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses or networks, such as "127.0.0.1" and "10.0.0.0/8". Raises ValueError for anything else."""
    return tuple(ip_network(text, strict=False) for text in texts)


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    plain = (ip.ipv4_mapped if ip.version == 6 else None) or ip
    return any(plain in network for network in trusted if network.version == plain.version)


def client_address(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """The client's address, `peer` itself where nobody trusted says otherwise. `forwarded` are the values of
    all X-Forwarded-For headers in their order."""
    if not forwarded or not is_trusted(peer, trusted):
        return peer
    hops = [hop.strip() for value in forwarded for hop in value.split(",")][-MAX_HOPS:]
    for hop in reversed(hops):
        address = _address(hop)
        if address is None:
            return peer  # a trusted proxy that writes nonsense is not believed at all
        if not is_trusted(address, trusted):
            return address
    return peer


def _address(hop: str) -> str | None:
    """Some proxies write a port too: 192.0.2.1:4711, [2001:db8::1]:4711."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return str(ip_address(hop))
    except ValueError:
        return None
