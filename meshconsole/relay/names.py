"""Is that URL one of ours? NIP-42 logins name the relay they are meant for.

The check keeps a hostile relay from passing a member's login on to this one. It is lenient in what
does not matter for that: a relay of a team without internet has as many URLs as it has addresses,
names, ports and tunnels, so only the host counts, and every host that can only mean this machine.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import ifaddr

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

LOOK_AGAIN_S = 1.0
"""A look at the network interfaces costs 0.3 ms, and one message may name thousands of URLs."""


def names_this_machine(url: str, extra: Collection[str] = ()) -> bool:
    """`extra` are hosts that the owner or the connection vouch for. Never raises for a bad URL."""
    host = host_of(url)
    if host is None:
        return False
    address = _address(host)
    if address is not None and (address.is_loopback or str(address) in _own_addresses()):
        return True
    return host in {"localhost", *own_names()} or host in {name.lower() for name in extra}


def names_this_relay(url: str, ports: Collection[int], urls: Collection[str]) -> bool:
    """Stricter, for what cannot be undone: one of `urls`, spelled alike or as good as alike, or one of
    this machine's names with one of `ports`. Never raises for a bad URL."""
    place = _place(url)
    if place is None:
        return False
    if any(place == _place(known) for known in urls):
        return True
    _, port, path = place
    return not path and port in ports and names_this_machine(url)


def _place(url: str) -> tuple[str, int, str] | None:
    """Host, port and path: what is left of a relay's URL when spelling is taken off."""
    host = host_of(url)
    try:
        parts = urlsplit(url.strip())
        usual = _PORTS[parts.scheme]
        port = parts.port or usual
    except (ValueError, KeyError):
        return None
    return None if host is None else (host, port, parts.path.rstrip("/"))


_PORTS = {"ws": 80, "wss": 443}


def host_of(url: str) -> str | None:
    """The host in lower case, without brackets, zone and final dot; None if there is none."""
    try:
        host = urlsplit(url.strip()).hostname
    except ValueError:
        return None
    if not host:
        return None
    host = host.partition("%")[0].rstrip(".").lower()
    address = _address(host)
    return str(address) if address is not None else host


def path_of(url: str) -> str:
    """ "/" where there is none, or no URL."""
    try:
        return urlsplit(url.strip()).path or "/"
    except ValueError:
        return "/"


def own_names() -> set[str]:
    """This machine's name, bare and as mDNS announces it."""
    name = socket.gethostname().rstrip(".").lower()
    short = name.partition(".")[0]
    return {name, short, f"{short}.local"}


class OwnAddresses:
    """This machine's addresses, as of a moment ago. `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: frozenset[str] = frozenset()
        self._looked_at: float | None = None

    def __call__(self) -> frozenset[str]:
        now = self._clock()
        if self._looked_at is None or now - self._looked_at >= LOOK_AGAIN_S:
            self._looked_at = now
            with contextlib.suppress(OSError):  # no file descriptor is left: what was known holds
                self._known = frozenset(_addresses_of_interfaces())
        return self._known


_own_addresses = OwnAddresses()


def _addresses_of_interfaces() -> Iterator[str]:
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            if (address := _address(ip.ip if isinstance(ip.ip, str) else ip.ip[0])) is not None:
                yield str(address)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
