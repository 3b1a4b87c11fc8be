"""This machine's own addresses, as others may dial them."""

from __future__ import annotations

import ipaddress

import ifaddr

from meshconsole.mesh.endpoints import join_address

_CONTAINER_BRIDGES = ("docker", "br-", "veth", "virbr", "lxcbr", "cni", "podman")
"""Interfaces that lead to containers of this machine only; nobody else can dial them."""

_EVERYWHERE = ("", "0.0.0.0", "::", "*")
MAX_ADDRESSES = 8


def host_addresses() -> tuple[str, ...]:
    """IPv4 first, then global IPv6; loopback only when there is nothing else. May take a millisecond."""
    found: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = []
    for adapter in ifaddr.get_adapters():
        if adapter.name.startswith(_CONTAINER_BRIDGES):
            continue
        for ip in adapter.ips:
            address = ipaddress.ip_address(ip.ip if isinstance(ip.ip, str) else ip.ip[0])
            if not (address.is_loopback or address.is_link_local or address.is_unspecified):
                found.append(address)
    found.sort(key=lambda address: (address.version, address))
    return tuple(str(address) for address in found[:MAX_ADDRESSES]) or ("127.0.0.1",)


def listen_addresses(listen: str, port: int, hosts: tuple[str, ...]) -> tuple[str, ...]:
    """HOST:PORT of everything this node answers on. `listen` is `node.listen`, `port` the real port."""
    host = listen.rpartition(":")[0].strip("[]")
    if host in _EVERYWHERE:
        only_v4 = host == "0.0.0.0"
        return tuple(join_address(h, port) for h in hosts if not (only_v4 and ":" in h))
    return (join_address(host, port),)
