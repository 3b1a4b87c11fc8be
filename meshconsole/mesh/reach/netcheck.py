"""What this machine's network carries: each line one check, with the one thing to do."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import ifaddr

from meshconsole.core.errors import Unavailable
from meshconsole.core.reachability import OLDEST_CREDIBLE_TIME, Finding
from meshconsole.core.text import safe
from meshconsole.mesh.addresses import host_addresses
from meshconsole.mesh.endpoints import is_loopback
from meshconsole.mesh.reach.asking import ask_by_mdns, connect, on_own_network

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from meshconsole.mesh.ice import Server
    from meshconsole.mesh.reach.reach import Reach

LISTEN_S = 1.5
ECHO_S = 1.0
CLOCK_GROUP, MAX_CLOCKS = 3, 8
"""Fewer clocks than the first do not outvote this one."""
CLOCK_S = 60.0
_ECHO_GROUP = "239.255.74.47"
"""A group of the site's own (RFC 2365), where nothing else is said: for hearing ourselves."""
_TUNNELS = ("tun", "tap", "wg", "ppp", "tailscale", "zt", "utun", "nordlynx", "proton")
_SYNCHRONIZED = Path("/run/systemd/timesync/synchronized")
_ROUTES = Path("/proc/net/route")


async def netcheck(reach: Reach) -> tuple[Finding, ...]:
    if not reach.emcon.may_send:
        remedy = "Back with: meshconsole emcon open"
        silence = Finding("emission", "note", "this node keeps radio silence: nothing was tried", remedy)
        return (silence, *await _interfaces(), *_default_route())
    parts = await asyncio.gather(
        _interfaces(), _to_oneself(), _neighbours(reach), _own_port(reach), _servers(reach), _clocks(reach)
    )
    return (*(finding for part in parts for finding in part), *_default_route())


async def _interfaces() -> list[Finding]:
    found = []
    for adapter in await asyncio.to_thread(ifaddr.get_adapters):
        hosts = [f"{_text(ip)}/{ip.network_prefix}" for ip in adapter.ips]
        if not all(ipaddress.ip_interface(host.partition("%")[0]).ip.is_loopback for host in hosts):
            found.append(Finding("interface", "good", f"{safe(adapter.nice_name, 32)}: {', '.join(hosts)}"))
    if not found:
        remedy = "Connect a cable or join a network."
        found.append(Finding("interface", "bad", "there is none but loopback", remedy))
    return found


async def _to_oneself() -> list[Finding]:
    """Whether this machine lets out, and lets in again, what is for all: a first, local condition."""
    own = [host for host in await asyncio.to_thread(host_addresses) if ":" not in host]
    heard = await asyncio.gather(*(_own_echo(host, _ECHO_GROUP) for host in own))
    spread = await asyncio.gather(*(_own_echo(host, "255.255.255.255") for host in own))
    return [
        *(_echo_finding("multicast", host, works) for host, works in zip(own, heard, strict=True)),
        *(_echo_finding("broadcast", host, works) for host, works in zip(own, spread, strict=True)),
    ]


def _echo_finding(check: str, host: str, works: bool) -> Finding:
    if works:
        return Finding(check, "good", f"own echo heard on {host}")
    remedy = f"A firewall on this machine drops {check}; others are found by their addresses only."
    return Finding(check, "note", f"no echo of its own on {host}", remedy)


async def _own_echo(host: str, target: str) -> bool:
    loop = asyncio.get_running_loop()
    word = os.urandom(8)
    heard = asyncio.Event()

    class Listener(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            if data == word:
                heard.set()

    with contextlib.ExitStack() as stack:
        try:
            listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            listener.bind(("", 0))
            if target == _ECHO_GROUP:
                group = socket.inet_aton(_ECHO_GROUP) + socket.inet_aton(host)
                listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
            sender = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(host))
            sender.setblocking(False)
            sender.bind((host, 0))
            port = listener.getsockname()[1]
            transport, _ = await loop.create_datagram_endpoint(Listener, sock=listener.dup())
            stack.callback(transport.close)
            sender.sendto(word, (target, port))
        except OSError:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ECHO_S):
                await heard.wait()
    return heard.is_set()


async def _neighbours(reach: Reach) -> list[Finding]:
    """Others heard by mDNS, and whether linked devices of this network are among them."""
    if not reach.config.discovery.mdns:
        return [Finding("mdns", "note", "switched off: discovery.mdns")]
    own = await asyncio.to_thread(host_addresses)
    linked = {
        link.address.rpartition(":")[0].strip("[]")
        for session in reach.links.sessions.values()
        for link in session.links
        if link.pipe.path == "websocket" and not is_loopback(link.address)
    }
    linked = {host for host in linked if on_own_network([host])}
    answers = await ask_by_mdns(own, linked, LISTEN_S)
    others = [host for host in answers.to_all if host not in own]
    deaf = sorted(host for host in answers.to_one if host not in answers.to_all and host not in own)
    if deaf:
        return [
            Finding(
                "mdns",
                "bad",
                f"{', '.join(deaf)} answers a question to it alone, and none to all: this network does not "
                "carry multicast",
                "Switch off client isolation or IGMP snooping at the access point.",
            )
        ]
    count = f"{len(others)} other node{'' if len(others) == 1 else 's'} answered"
    return [Finding("mdns", "good" if others else "note", count)]


async def _own_port(reach: Reach) -> list[Finding]:
    found = []
    for address in reach.rungs.listen():
        tcp = await connect(address)
        if tcp == "open":
            found.append(Finding("port", "good", f"{address} takes connections"))
        else:
            remedy = "Look at the firewall of this machine, and at node.listen."
            found.append(Finding("port", "bad", f"{address} takes no connection from here: {tcp}", remedy))
    return found


async def _servers(reach: Reach) -> list[Finding]:
    await reach.ice.ask()
    if not reach.ice.servers:
        return [
            Finding("servers", "good", "no STUN or TURN server is configured: links on own networks only")
        ]
    return [_server(server) for server in reach.ice.servers]


def _server(server: Server) -> Finding:
    if not server.is_alive:
        remedy = f"Start the server, or correct nat.{server.kind}_servers."
        return Finding("servers", "bad", server.line, remedy)
    host = server.mapped.rpartition(":")[0].strip("[]")
    behind = ": it is behind NAT" if host and host not in host_addresses() else ""
    return Finding("servers", "good", f"{server.line}{behind}")


def _default_route() -> Iterator[Finding]:
    """A VPN that takes everything is a usual reason for not seeing one's neighbours."""
    try:
        lines = _ROUTES.read_text().splitlines()[1:]
    except OSError:
        return
    devices = [words[0] for words in map(str.split, lines) if words[1:2] == ["00000000"]]
    tunnels = [device for device in devices if device.startswith(_TUNNELS)]
    if tunnels:
        remedy = "Let the local network past the VPN, or switch it off."
        text = f"the default route goes through {', '.join(tunnels)}, a VPN by its name"
        yield Finding("route", "note", text, remedy)
    elif devices:
        yield Finding("route", "good", f"the default route goes through {', '.join(dict.fromkeys(devices))}")
    else:
        yield Finding("route", "note", "there is no default route: this network only")


async def _clocks(reach: Reach) -> list[Finding]:
    if time.time() < OLDEST_CREDIBLE_TIME:
        text = f"it shows {time.strftime('%Y-%m-%d')}: it was never set"
        return [Finding("clock", "bad", text, "Set the clock; nothing depends on it, but times mislead.")]
    is_set = await asyncio.to_thread(_SYNCHRONIZED.exists)
    quality = "set by the network" if is_set else "this machine's own"
    npubs = [npub for npub, session in reach.links.sessions.items() if session.best is not None]
    offsets = await _offsets(reach, npubs[:MAX_CLOCKS])
    if len(offsets) < CLOCK_GROUP:
        return [Finding("clock", "good", f"{quality}; too few devices are linked to compare")]
    median = statistics.median(offsets)
    text = f"{quality}; {median:+.1f} s from the middle of {len(offsets)} linked devices"
    if abs(median) >= CLOCK_S:
        return [Finding("clock", "bad", text, "Set the clock of this machine.")]
    return [Finding("clock", "good", text)]


async def _offsets(reach: Reach, npubs: Iterable[str]) -> list[float]:
    async def offset(npub: str) -> float | None:
        try:
            return (await reach.echo(npub, timeout_s=LISTEN_S)).clock_offset_s
        except Unavailable:
            return None

    found = await asyncio.gather(*(offset(npub) for npub in npubs))
    return [each for each in found if each is not None]


def _text(ip: ifaddr.IP) -> str:
    return ip.ip if isinstance(ip.ip, str) else ip.ip[0]
