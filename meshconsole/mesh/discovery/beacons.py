"""The rung of beacons: this node shows itself to its team on the local link, and hears the others.

A beacon goes out by every way at once (`datagrams/port.py`), sealed: a stranger sees random bytes. Who is
heard and has no link is answered directly, so that both sides know of each other though only one of them
can show itself to everybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
from typing import TYPE_CHECKING

from meshconsole.mesh.datagrams.messages import HEARD, MAX_HEARD, MAX_HOSTS, Beacon, plain_beacon
from meshconsole.mesh.endpoints import join_address, split_address
from meshconsole.mesh.messages import encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from meshconsole.mesh.datagrams.messages import Way
    from meshconsole.mesh.datagrams.port import DatagramPort
    from meshconsole.mesh.datagrams.sealing import Sealer
    from meshconsole.mesh.emcon import Emcon
    from meshconsole.mesh.hearing import Hearing

BEACON_S = 3.0
SEEK_S = 0.8
"""While a teammate was lost a short while ago: the way may be back at any moment."""
SEEK_FOR_S = 300.0
CALM_S = 20.0
"""While every teammate is linked."""
BURST_S = (0.0, *(0.3 for _ in range(8)), *(0.7 for _ in range(12)))
"""At the start, and when the network has changed, until all are linked: where 80 % of what goes to everybody
is lost, as Wi-Fi may lose it, one round of three datagrams arrives in one of three cases."""
AT_LEAST = 3
"""Rounds of a burst: others may look for this node."""
ANSWER_S = 0.5
"""Between answers to one peer."""
MAX_ANSWERED = 256
ON_THE_LINK = ipaddress.IPv6Address("fe80::").packed
"""Among a beacon's hosts: its sender answers at the link-local address that this came from, whichever."""


class BeaconRung:
    """`found(npub, addresses)` for whoever shows itself; `all_linked()` while nobody is looked for,
    `lost_lately()` while somebody was linked less than SEEK_FOR_S ago."""

    def __init__(
        self,
        npub: str,
        boot: bytes,
        port: DatagramPort,
        sealer: Sealer,
        hearing: Hearing,
        emcon: Emcon,
        *,
        listen: Callable[[], tuple[str, ...]],
        on_the_link: bool,
        found: Callable[[str, list[str]], None],
        is_linked: Callable[[str], bool],
        all_linked: Callable[[], bool],
        lost_lately: Callable[[], bool],
        now: Callable[[], float],
        random: Random,
    ) -> None:
        self._npub = npub
        self._boot = boot
        self._port = port
        self._sealer = sealer
        self._hearing = hearing
        self._emcon = emcon
        self._listen = listen
        self._on_the_link = on_the_link
        self._found = found
        self._is_linked = is_linked
        self._all_linked = all_linked
        self._lost_lately = lost_lately
        self._now = now
        self._random = random
        self._id = os.urandom(8)
        self._answered: dict[str, float] = {}
        self._soon = asyncio.Event()
        self.sent = 0

    @property
    def line(self) -> str:
        if self._port.trouble:
            return self._port.trouble
        heard = len(self._hearing.lately(self._now()))
        if not self._emcon.may_announce:
            return f"listening only; {heard} of this team heard"
        return f"{self.sent} sent, {heard} of this team heard"

    def refresh(self) -> None:
        """The network or the team's key has changed: a burst, soon."""
        self._soon.set()

    async def run(self) -> None:
        while True:
            self._soon.clear()
            for number, pause in enumerate(BURST_S):
                if number >= AT_LEAST and self._all_linked():
                    break
                await asyncio.sleep(pause * (0.75 + 0.5 * self._random.random()))
                self._round()
            while not self._soon.is_set():
                pause = SEEK_S if self._lost_lately() else CALM_S if self._all_linked() else BEACON_S
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause * (0.75 + 0.5 * self._random.random())):
                        await self._soon.wait()
                if not self._soon.is_set():
                    self._round()

    def received(self, beacon: Beacon, address: str) -> None:
        """A beacon of the team's came from `address`."""
        npub = beacon.npub.hex()
        if npub == self._npub:
            return
        now = self._now()
        hears_us = self._mark in {beacon.heard[at : at + HEARD] for at in range(0, len(beacon.heard), HEARD)}
        self._hearing.heard(npub, address, beacon.way, now, hears_us=hears_us, hears=beacon.heard)
        if self._is_linked(npub):
            return
        self._found(npub, _dialable(beacon, address))
        if beacon.way != "answer" and now - self._answered.get(npub, -ANSWER_S) >= ANSWER_S:
            self._answer(npub, address, now)

    def _answer(self, npub: str, address: str, now: float) -> None:
        if not (self._emcon.may_announce and self._sealer.keys):
            return
        self._answered.pop(npub, None)
        self._answered[npub] = now
        if len(self._answered) > MAX_ANSWERED:
            del self._answered[next(iter(self._answered))]
        self.sent += self._port.to(address, self._sealed("answer"))

    def _round(self) -> None:
        if self._emcon.may_announce:
            self.sent += self._port.everywhere(self._sealed)

    def _sealed(self, way: Way) -> bytes:
        listen = self._listen()
        port = split_address(listen[0])[1]
        if not self._sealer.keys:
            return plain_beacon(self._id, port)
        marks = (ON_THE_LINK,) if self._on_the_link else ()
        hosts = (*marks, *map(_packed, listen[: MAX_HOSTS - len(marks)]))
        lately = self._hearing.lately(self._now())[-MAX_HEARD:]
        heard = b"".join(bytes.fromhex(npub)[:HEARD] for npub in lately)
        beacon = Beacon(bytes.fromhex(self._npub), self._boot, port, way, tuple(filter(None, hosts)), heard)
        return self._sealer.seal(encode(beacon))

    @property
    def _mark(self) -> bytes:
        return bytes.fromhex(self._npub)[:HEARD]


def _dialable(beacon: Beacon, address: str) -> list[str]:
    """Where it came from first: that much is known to work in this network, in one direction. A link-local
    address comes last, since it leads nowhere from another link."""
    came_from = split_address(address)[0]
    is_local = ipaddress.ip_address(came_from.partition("%")[0]).is_link_local
    hosts = [] if is_local else [came_from]
    for packed in beacon.hosts:
        if len(packed) not in (4, 16):
            continue
        ip = ipaddress.ip_address(packed)
        if not (ip.is_loopback or ip.is_unspecified or ip.is_multicast or ip.is_link_local):
            hosts.append(str(ip))
    if is_local and "%" in came_from and ON_THE_LINK in beacon.hosts:
        hosts.append(came_from)
    return list(dict.fromkeys(join_address(host, beacon.port) for host in hosts))


def _packed(address: str) -> bytes:
    try:
        return ipaddress.ip_address(split_address(address)[0]).packed
    except ValueError:
        return b""
