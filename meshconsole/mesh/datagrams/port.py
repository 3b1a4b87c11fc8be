"""The sockets of datagrams: to everybody near by every way there is, and to one address.

Everybody near is reached by IPv6 and IPv4 multicast to all nodes of the link (`ff02::1`, `224.0.0.1`) and
by broadcast, from every interface: each of them is filtered somewhere. Nobody joins these groups, so no
membership report leaves even a node that only listens. What is heard by everybody comes to `shared_port`,
which all nodes of one machine share; what is sent comes from the node's own port, which answers go to.

`may_send` is asked before each datagram: radio silence is kept here, below every sender.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from typing import TYPE_CHECKING

from meshconsole.core.limits import TokenBucket
from meshconsole.mesh.datagrams.sealing import MAX_DATAGRAM
from meshconsole.mesh.endpoints import is_loopback, join_address, split_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.mesh.addresses import Interface
    from meshconsole.mesh.datagrams.messages import Way

log = logging.getLogger(__name__)

ALL_NODES_6 = "ff02::1"
ALL_NODES_4 = "224.0.0.1"
AT_ONCE = 64
"""Datagrams that are read before anything else gets its turn."""
HEARD_PER_S = 1000.0
_NO_LOOK = frozenset({"", "0.0.0.0", "::", "*"})


class DatagramPort:
    """`receive(datagram, address)` gets everything, HOST:PORT of its sender beside it."""

    def __init__(
        self,
        receive: Callable[[bytes, str], None],
        *,
        may_send: Callable[[], bool],
        now: Callable[[], float],
    ) -> None:
        self._receive = receive
        self._may_send = may_send
        self._now = now
        self._own4: socket.socket | None = None
        self._own6: socket.socket | None = None
        self._open: list[socket.socket] = []
        self._shared_port = 0
        self._only_host = ""
        self._budget = TokenBucket(HEARD_PER_S, 2 * HEARD_PER_S)
        self.interfaces: tuple[Interface, ...] = ()
        self.dropped = 0
        """Datagrams beyond HEARD_PER_S."""
        self.trouble = ""
        """Why datagrams are not heard or sent here, if they are not."""

    @property
    def is_open(self) -> bool:
        return bool(self._open)

    def open(self, host: str, own_port: int, shared_port: int) -> None:
        """`host` is where the node listens: one address, or everywhere. Never raises: see `trouble`."""
        self._shared_port = shared_port
        self._only_host = "" if host in _NO_LOOK else host
        self.trouble = ""
        for family, anywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            is_v6 = family == socket.AF_INET6
            if self._only_host and (":" in self._only_host) != is_v6:
                continue
            own = self._bound(family, self._only_host or anywhere, own_port, shared=False)
            own = own or self._bound(family, self._only_host or anywhere, 0, shared=False)
            self._bound(family, anywhere, shared_port, shared=True)
            if is_v6:
                self._own6 = own
            else:
                self._own4 = own

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        for one in self._open:
            loop.remove_reader(one)
            one.close()
        self._open.clear()
        self._own4 = self._own6 = None

    def everywhere(self, make: Callable[[Way], bytes]) -> int:
        """Sends what `make` gives for each way out of each interface; the number of datagrams sent."""
        return sum(self._out_of(interface, make) for interface in self.interfaces if self._uses(interface))

    def to(self, address: str, datagram: bytes) -> bool:
        """To HOST:PORT, an IP address."""
        host, port = split_address(address)
        if ":" not in host:
            return self._send(self._own4, datagram, (host, port))
        bare, _, scope = host.partition("%")
        number = next((i.number for i in self.interfaces if i.name == scope), 0)
        return self._send(self._own6, datagram, (bare, port, 0, number))

    def _out_of(self, interface: Interface, make: Callable[[Way], bytes]) -> int:
        port, sent = self._shared_port, 0
        if interface.has_ipv6:
            where = (ALL_NODES_6, port, 0, interface.number)
            sent += self._send(self._own6, make("multicast-6"), where)
        for own, broadcast in interface.ipv4:
            if self._only_host and own != self._only_host:
                continue
            if self._own4 is not None:
                with contextlib.suppress(OSError):
                    self._own4.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
            sent += self._send(self._own4, make("multicast-4"), (ALL_NODES_4, port))
            if broadcast != own:
                sent += self._send(self._own4, make("broadcast"), (broadcast, port))
        return sent

    def _uses(self, interface: Interface) -> bool:
        """Loopback only for a node that answers nowhere else, or while there is nothing else."""
        if not interface.is_loopback:
            return not is_loopback(join_address(self._only_host, 1))
        others = any(not other.is_loopback and other.ipv4 for other in self.interfaces)
        return not others or is_loopback(join_address(self._only_host, 1))

    def _send(
        self, own: socket.socket | None, datagram: bytes, where: tuple[str, int] | tuple[str, int, int, int]
    ) -> bool:
        if own is None or not self._may_send():
            return False
        try:
            own.sendto(datagram, where)
        except OSError as error:
            # A way that is not there (no route, no broadcast) is the ordinary case; others are tried.
            log.debug("a datagram to %s was not sent: %s", where[0], error)
            return False
        return True

    def _bound(self, family: int, host: str, port: int, *, shared: bool) -> socket.socket | None:
        one = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if shared:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            else:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            one.bind((host, port))
        except OSError as error:
            one.close()
            if family == socket.AF_INET and (shared or port == 0):
                self.trouble = f"port {port} cannot be used: {error.strerror}"
            return None
        self._open.append(one)
        asyncio.get_running_loop().add_reader(one, self._read, one)
        return one

    def _read(self, one: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                datagram, sender = one.recvfrom(MAX_DATAGRAM + 1)
            except OSError:
                return
            if not self._budget.try_take(1, self._now()):
                self.dropped += 1
                continue
            address = _address(sender, self.interfaces)
            if len(datagram) > MAX_DATAGRAM or (self._is_local() and not is_loopback(address)):
                continue
            self._receive(datagram, address)

    def _is_local(self) -> bool:
        return bool(self._only_host) and is_loopback(join_address(self._only_host, 1))


def _address(sender: tuple[str, int] | tuple[str, int, int, int], interfaces: tuple[Interface, ...]) -> str:
    host, port = sender[0].partition("%")[0], sender[1]
    if len(sender) == 4 and ipaddress.ip_address(host).is_link_local:
        name = next((i.name for i in interfaces if i.number == sender[3]), str(sender[3]))
        host = f"{host}%{name}"
    return join_address(host, port)
