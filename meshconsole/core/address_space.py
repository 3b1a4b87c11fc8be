"""To which network an IP address belongs: what strangers tell is judged before it is dialled. Pure.

Addresses that wrap an IPv4 address (mapped, NAT64, 6to4, Teredo) belong to none: where they lead is not what
they look like. Source: IANA's special-purpose address registries; RFC 4291, 6052, 8215, 3056, 4380.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

_NOT_PUBLIC_4 = (IPv4Network("192.88.99.0/24"),)  # 6to4 relays, RFC 7526
_NOT_PRIVATE_4 = (IPv4Network("0.0.0.0/8"), IPv4Network("240.0.0.0/4"))
_UNICAST = IPv6Network("2000::/3")
"""All that IANA has given out for the public network."""
_NOT_PUBLIC_6 = (IPv6Network("3fff::/20"), IPv6Network("2001::/23"))  # documentation, RFC 9637; protocols
_WRAPPED = tuple(
    map(
        IPv6Network,
        ("::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"),
    )
)


def is_public(ip: IPv4Address | IPv6Address) -> bool:
    """One machine of the public network."""
    if not ip.is_global or ip.is_multicast:
        return False
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in _NOT_PUBLIC_4)
    return ip in _UNICAST and not any(ip in network for network in (*_WRAPPED, *_NOT_PUBLIC_6))


def is_private(ip: IPv4Address | IPv6Address) -> bool:
    """One machine of a network that is not the public one; this machine too."""
    if ip.is_global or ip.is_multicast or ip.is_unspecified:
        return False
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in _NOT_PRIVATE_4)
    return not any(ip in network for network in _WRAPPED)
