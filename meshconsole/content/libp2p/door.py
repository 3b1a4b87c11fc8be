"""Who may begin a handshake. Pure; `now` is in seconds of any clock.

Laws:
1. At most MAX_HANDSHAKES are under way, MAX_OF_ONE_HOST of them from one host: whoever opens ten thousand
   connections keeps others from coming in no longer than a handshake may take.
2. A host may begin so many a minute, half of them at once. Hosts are IPv4 addresses or IPv6 /64 networks.
3. MAX_HOSTS are remembered, those seen last.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from dataclasses import dataclass, field

from meshconsole.core.limits import TokenBucket

MAX_HANDSHAKES = 64
MAX_OF_ONE_HOST = 16
MAX_HOSTS = 1024


@dataclass(slots=True)
class Door:
    """`per_minute` of 0 is no limit."""

    per_minute: int
    _under_way: Counter[str] = field(default_factory=Counter)
    _buckets: OrderedDict[str, TokenBucket] = field(default_factory=OrderedDict)

    def enter(self, host: str, now: float) -> str:
        """ "" if a handshake may begin, which `leave` ends; else why not."""
        host = _network(host)
        if self._under_way.total() >= MAX_HANDSHAKES:
            return "too many handshakes are under way"
        if self._under_way[host] >= MAX_OF_ONE_HOST:
            return "too many handshakes of this host are under way"
        if not self._bucket(host).try_take(1, now):
            return "this host opens too many connections"
        self._under_way[host] += 1
        return ""

    def leave(self, host: str) -> None:
        host = _network(host)
        self._under_way[host] -= 1
        if not self._under_way[host]:
            del self._under_way[host]

    def _bucket(self, host: str) -> TokenBucket:
        bucket = self._buckets.get(host)
        if bucket is None:
            bucket = self._buckets[host] = TokenBucket(self.per_minute / 60, max(1.0, self.per_minute / 2))
            if len(self._buckets) > MAX_HOSTS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(host)
        return bucket


def _network(host: str) -> str:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
