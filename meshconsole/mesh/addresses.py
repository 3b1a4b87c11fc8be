"""This machine's own addresses, as others may dial them, and the networks it is in."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NamedTuple

import ifaddr

from meshconsole.mesh.endpoints import join_address

if TYPE_CHECKING:
    from collections.abc import Iterable

_CONTAINER_BRIDGES = ("docker", "br-", "veth", "virbr", "lxcbr", "cni", "podman")
"""Interfaces that lead to containers of this machine only; nobody else can dial them."""

_EVERYWHERE = ("", "0.0.0.0", "::", "*")
MAX_ADDRESSES = 8
MAX_INTERFACES = 16

_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


class Interface(NamedTuple):
    """One network that this machine is in. `number` is the system's; `ipv4` are pairs of an own address
    and the broadcast address that goes with it."""

    name: str
    number: int
    ipv4: tuple[tuple[str, str], ...]
    has_ipv6: bool
    is_loopback: bool = False


class Networks(NamedTuple):
    """`hosts` are what others may dial: IPv4 first, then global IPv6, loopback only when there is nothing
    else. `own` are all addresses, those of the link and of containers' bridges too."""

    hosts: tuple[str, ...]
    own: frozenset[str]
    interfaces: tuple[Interface, ...]


def networks() -> Networks:
    """May take a millisecond."""
    found: list[_Ip] = []
    own: set[str] = set()
    interfaces: list[Interface] = []
    for adapter in ifaddr.get_adapters():
        ips = [(_address(ip.ip), ip.network_prefix) for ip in adapter.ips]
        own |= {str(address) for address, _ in ips}
        if adapter.name.startswith(_CONTAINER_BRIDGES):
            continue
        interfaces.append(_interface(adapter.name, adapter.index or 0, ips))
        found += [a for a, _ in ips if not (a.is_loopback or a.is_link_local or a.is_unspecified)]
    found.sort(key=lambda address: (address.version, address))
    hosts = tuple(str(address) for address in found[:MAX_ADDRESSES]) or ("127.0.0.1",)
    return Networks(hosts, frozenset(own), tuple(sorted(interfaces)[:MAX_INTERFACES]))


def host_addresses() -> tuple[str, ...]:
    return networks().hosts


def listen_addresses(listen: str, port: int, hosts: tuple[str, ...]) -> tuple[str, ...]:
    """HOST:PORT of everything this node answers on. `listen` is `node.listen`, `port` the real port."""
    host = listen.rpartition(":")[0].strip("[]")
    if host in _EVERYWHERE:
        only_v4 = host == "0.0.0.0"
        return tuple(join_address(h, port) for h in hosts if not (only_v4 and ":" in h))
    return (join_address(host, port),)


def answers_on_the_link(listen: str) -> bool:
    """Whether a node that listens there answers at its link-local addresses (IPv6) too."""
    return listen.rpartition(":")[0].strip("[]") in ("", "::", "*")


def _interface(name: str, index: int, ips: Iterable[tuple[_Ip, int]]) -> Interface:
    ipv4, has_ipv6, is_loopback = [], False, False
    for address, prefix in ips:
        is_loopback = is_loopback or address.is_loopback
        if address.version == 6:
            has_ipv6 = True
        else:
            network = ipaddress.IPv4Network((str(address), prefix), strict=False)
            ipv4.append((str(address), str(network.broadcast_address)))
    return Interface(name, index, tuple(sorted(ipv4)), has_ipv6, is_loopback)


def _address(ip: str | tuple[str, int, int]) -> _Ip:
    return ipaddress.ip_address(ip if isinstance(ip, str) else ip[0])
