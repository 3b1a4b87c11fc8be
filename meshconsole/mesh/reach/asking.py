"""Questions to the network, each over a socket of its own: who answers, and does anybody.

Nodes announce themselves by mDNS, so each also answers a question for its service: one to all (multicast)
and one to it alone. A device that answers the second and not the first is behind a network that filters
multicast; one that answers either is running, whatever its TCP port says.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ifaddr

from meshconsole.mesh.discovery.advertisement import SERVICE
from meshconsole.mesh.endpoints import split_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from meshconsole.mesh.reach.diagnosis import Tcp

MDNS_GROUP, MDNS_PORT = "224.0.0.251", 5353
ASK_EVERY_S = 0.4
CONNECT_S = 3.0
MAX_ANSWERS = 256
_PTR, _IN_UNICAST = 12, 0x8001
_NO_WAY = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EACCES})


@dataclass(frozen=True, slots=True)
class Advert:
    """What a node said in its answer. `tag` is the team's mark."""

    id: str
    tag: str
    port: int


@dataclass(slots=True)
class Answers:
    """By host, what it answered to a question to all, and to one to it alone."""

    to_all: dict[str, Advert] = field(default_factory=dict)
    to_one: dict[str, Advert] = field(default_factory=dict)


async def ask_by_mdns(own_hosts: Iterable[str], hosts: Iterable[str], for_s: float) -> Answers:
    """Asks everybody on the networks of `own_hosts`, and each of `hosts` alone; IPv6 is left out.

    Returns when all of `hosts` have answered both kinds of question, or after `for_s`.
    """
    found, wanted = Answers(), {host for host in hosts if _is_v4(host)}
    enough = asyncio.Event()

    def look() -> None:
        if wanted and wanted <= found.to_all.keys() and wanted <= found.to_one.keys():
            enough.set()

    async with contextlib.AsyncExitStack() as stack:
        alone = await _open(stack, _Asker(found.to_one, look), "0.0.0.0")
        groups = []
        for own in filter(_is_v4, own_hosts):
            with contextlib.suppress(OSError):  # an interface without multicast
                groups.append(await _open(stack, _Asker(found.to_all, look), own))
        until = time.monotonic() + for_s
        while not enough.is_set() and time.monotonic() < until:
            for group in groups:
                _send(group, MDNS_GROUP)
            for host in wanted:
                _send(alone, host)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(ASK_EVERY_S, max(0.01, until - time.monotonic()))):
                    await enough.wait()
    return found


class _Asker(asyncio.DatagramProtocol):
    def __init__(self, answered: dict[str, Advert], look: Callable[[], None]) -> None:
        self._answered = answered
        self._look = look

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        advert = read_answer(data)
        if advert is not None and (addr[0] in self._answered or len(self._answered) < MAX_ANSWERS):
            self._answered[addr[0]] = advert
            self._look()

    def error_received(self, exc: Exception) -> None:
        """A host without mDNS, or without a way to it: that it does not answer says the same."""


async def _open(stack: contextlib.AsyncExitStack, asker: _Asker, own_host: str) -> asyncio.DatagramTransport:
    """Raises OSError."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        if own_host != "0.0.0.0":
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own_host))
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        sender.bind((own_host, 0))
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: asker, sock=sender)
    except OSError:
        sender.close()
        raise
    stack.callback(transport.close)
    return transport


def _send(transport: asyncio.DatagramTransport, host: str) -> None:
    transport.sendto(make_question(os.urandom(2)), (host, MDNS_PORT))


def make_question(number: bytes) -> bytes:
    """For all that are of our service, to be answered to the asker alone (RFC 6762 §5.4, §6.7)."""
    labels = b"".join(bytes([len(label)]) + label for label in SERVICE.encode().split(b"."))
    # A number of its own each time: responders pass over what looks like the same datagram again.
    return number + struct.pack("!HHHHH", 0, 1, 0, 0, 0) + labels + struct.pack("!HH", _PTR, _IN_UNICAST)


def read_answer(data: bytes) -> Advert | None:
    """None for what is no answer of a meshconsole node."""
    from zeroconf import DNSIncoming, DNSService, DNSText  # type: ignore[attr-defined]

    incoming = DNSIncoming(data)
    if not incoming.valid or not incoming.is_response():
        return None
    instance, tag, port = "", "", 0
    for record in incoming.answers():
        if isinstance(record, DNSService) and record.name.endswith(f".{SERVICE}"):
            instance, port = record.name.removesuffix(f".{SERVICE}"), record.port
        elif isinstance(record, DNSText) and record.name.endswith(f".{SERVICE}"):
            tag = next(
                (word[2:].decode("ascii", "replace") for word in _words(record.text) if word[:2] == b"t="), ""
            )
    return Advert(instance[:32], tag[:32], port) if port else None


def _words(text: bytes) -> Iterable[bytes]:
    """Of a TXT record: strings with their length before each (RFC 1035 §3.3.14)."""
    at = 0
    while at < len(text):
        yield text[at + 1 : at + 1 + text[at]]
        at += 1 + text[at]


async def connect(address: str) -> Tcp:
    """What TCP finds at HOST:PORT."""
    try:
        host, port = split_address(address)
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return "silent"
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        return "unreachable" if error.errno in _NO_WAY else "silent"
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return "open"


def on_own_network(hosts: Iterable[str]) -> bool:
    """Whether one of them is on a network that this machine has an address of; an IPv6 address of the link
    always is. May take a millisecond."""
    own = [
        ipaddress.ip_network(f"{ip.ip}/{ip.network_prefix}", strict=False)
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
        if isinstance(ip.ip, str)
    ]
    there = [address for address in map(_ip, hosts) if address is not None]
    return any(_is_of_the_link(address) or any(address in network for network in own) for address in there)


def _is_of_the_link(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.version == 6 and address.is_link_local


def _is_v4(host: str) -> bool:
    address = _ip(host)
    return address is not None and address.version == 4


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
