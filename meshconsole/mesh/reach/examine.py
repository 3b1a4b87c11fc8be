"""Tries everything with one device, all at once, and writes down what came of it. Judges nothing."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from typing import TYPE_CHECKING, Literal

from meshconsole.core.errors import MeshconsoleError, RemoteError, Unavailable
from meshconsole.core.text import safe
from meshconsole.mesh.addresses import host_addresses
from meshconsole.mesh.emcon import SILENCE
from meshconsole.mesh.endpoints import join_address, split_address, with_port
from meshconsole.mesh.linking import OwnAddress
from meshconsole.mesh.links.websocket import WebSocketPipe, dial
from meshconsole.mesh.reach.asking import Answers, ask_by_mdns, connect, on_own_network
from meshconsole.mesh.reach.diagnosis import AddressSeen, LinkSeen, Seen, Welcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.mesh.links.link import Link
    from meshconsole.mesh.reach.reach import Heard, Reach
    from meshconsole.mesh.roster import Device

MAX_ADDRESSES = 6
MAX_PATIENCE_S = 9.0
LISTEN_S = 4.0
"""For echoes, and for answers by mDNS; a peer that hears us says something every three seconds."""
HANDSHAKE_S = 6.0
FRESH_S = 60.0
NOTHING_HEARD = "Nothing was heard"
SAID = "(said the peer)"
"""How a link ends whose other side hears nothing, and that it was the other that said so (links/link.py)."""


async def examine(reach: Reach, who: str) -> Seen:
    """Takes up to ten seconds. Nothing here fails: what does not work is what is to be seen. Raises Fatal if
    `who` is not clear."""
    for asked in reach.find(who):
        reach.on_asked(asked.npub)
    device = reach.device(who) if reach.find(who) else None
    if device is not None and device.removed:
        return Seen(safe(device.name, 64), device.npub, is_member=True, was_removed=True)
    if not reach.emcon.may_send:
        name, npub = (device.name, device.npub) if device is not None else (who, "")
        return Seen(safe(name, 64), npub, is_member=device is not None, silence="ours")
    if device is None:
        return await _stranger(reach, who)
    return await _member(reach, device)


async def _member(reach: Reach, device: Device) -> Seen:
    began = reach.now()
    session = reach.links.sessions.get(device.npub)
    links = [link for link in session.links if link.closed is None] if session is not None else []
    own_hosts = await asyncio.to_thread(host_addresses)
    addresses = _addresses(reach, device, links)
    async with asyncio.TaskGroup() as group:
        pinged = [group.create_task(_ping(reach, device.npub, link)) for link in links]
        asked = group.create_task(ask_by_mdns(own_hosts, _hosts(addresses), LISTEN_S))
        echoed = group.create_task(_echo_around(reach, device.npub))
        turn = group.create_task(_turn(reach))
    seen_links = tuple(task.result()[0] for task in pinged)
    heard = next((task.result()[1] for task in pinged if task.result()[1]), None) or echoed.result()
    is_linked = any(link.answers for link in seen_links)
    answers = asked.result()
    may_dial = not is_linked and reach.emcon.may_dial
    found = [] if is_linked else _found_now(reach, answers, own_hosts, addresses)
    async with asyncio.TaskGroup() as group:
        tried = [
            group.create_task(_try(reach, at, answers, handshake=may_dial, is_its_own=at in addresses))
            for at in (*addresses, *found)
        ]
    seen_addresses = tuple(task.result() for task in tried)
    last_words = reach.links.records[device.npub].last_reason if not links else ""
    showed = reach.hearing.of(device.npub)
    return Seen(
        safe(device.name, 64),
        device.npub,
        is_member=True,
        silence=_silence(reach, last_words, is_linked=is_linked),
        links=seen_links,
        addresses=tuple(at for at in seen_addresses if at.is_its_own or at.welcome != "stranger"),
        is_last_missing=all(
            other.removed or other.npub == device.npub or other.npub in reach.links.sessions
            for other in reach.members()
        ),
        said_deaf=_was_said_lately(reach, device.npub, last_words),
        is_heard=showed is not None and showed.at >= began,
        beacons=reach.hearing.ways(device.npub, reach.now()),
        beacons_now=reach.hearing.ways(device.npub, reach.now(), since=began),
        via=tuple(reach.name(npub) for npub in heard.path[1:-1]) if heard is not None else None,
        clock_offset_s=heard.clock_offset_s if heard is not None else None,
        has_turn=bool(turn.result()),
        turn_answers=any(turn.result()),
        same_network=any(at.on_own_network for at in seen_addresses),
    )


def _was_said_lately(reach: Reach, npub: str, last_words: str) -> bool:
    """That nothing was heard of this device; what was said long ago may have had another cause."""
    last_heard = reach.links.records[npub].last_heard
    is_fresh = last_heard is not None and reach.clock() - last_heard < FRESH_S
    return is_fresh and last_words.startswith(NOTHING_HEARD) and last_words.endswith(SAID)


def _silence(reach: Reach, last_words: str, *, is_linked: bool) -> Literal["", "ours", "theirs"]:
    if last_words.startswith(SILENCE) and last_words.endswith(SAID):
        return "theirs"
    # It answers whoever dials, and dials nobody itself.
    return "ours" if not (is_linked or reach.emcon.may_dial) else ""


async def _stranger(reach: Reach, who: str) -> Seen:
    """Nobody of the team: looks who else is here."""
    own_hosts = await asyncio.to_thread(host_addresses)
    answers = await ask_by_mdns(own_hosts, (), LISTEN_S / 2)
    near = [
        join_address(host, advert.port)
        for host, advert in answers.to_all.items()
        if host not in own_hosts and not reach.rungs.is_ours(advert.id, advert.tag)
    ]
    near.extend(c.address for c in reach.ladder.candidates() if c.outcome == "stranger")
    if _is_address(who):
        near.insert(0, who)
    async with asyncio.TaskGroup() as group:
        unique = tuple(dict.fromkeys(near))[:MAX_ADDRESSES]
        tried = [group.create_task(_try(reach, address, answers, handshake=True)) for address in unique]
    seen = tuple(task.result() for task in tried)
    strangers = tuple(at.address for at in seen if at.welcome == "stranger")
    return Seen(safe(who, 64), "", is_member=False, addresses=seen, strangers=strangers)


def _addresses(reach: Reach, device: Device, links: Iterable[Link]) -> tuple[str, ...]:
    """Where it is or was, the likeliest first. A link's other end is the device; its port may not be."""
    record = reach.links.records[device.npub]
    port = next((split_address(a)[1] for a in record.addresses if _is_address(a)), 0)
    known = [with_port(link.address, port) for link in links if port and link.pipe.path == "websocket"]
    known.extend(c.address for c in reach.ladder.candidates(device.npub))
    known.extend(address for address in record.addresses if _is_address(address))
    known.extend(reach.rungs.remembered(device.npub))
    return tuple(dict.fromkeys(known))[:MAX_ADDRESSES]


def _found_now(
    reach: Reach, answers: Answers, own_hosts: tuple[str, ...], known: tuple[str, ...]
) -> list[str]:
    """Nodes that nobody linked stands behind, those with the team's mark first: the device may be one of
    them. Without the mark it may still be, after a change of the team's key that this node missed."""
    taken = {*own_hosts, *_hosts(known)}
    for session in reach.links.sessions.values():
        for link in session.links:
            # A link by IPv6 says nothing of where its device answers by IPv4: that it has said itself.
            taken |= {link.address.rpartition(":")[0], *_hosts(filter(_is_address, link.hello.listen))}
    free = [(host, advert) for host, advert in answers.to_all.items() if host not in taken]
    free.sort(key=lambda found: not reach.rungs.is_ours(found[1].id, found[1].tag))
    return [join_address(host, advert.port) for host, advert in free][:MAX_ADDRESSES]


async def _ping(reach: Reach, npub: str, link: Link) -> tuple[LinkSeen, Heard | None]:
    """One echo: the link repeats by itself what is lost. A slow one gets the time that it needs."""
    began, heard = reach.now(), None
    patience_s = min(MAX_PATIENCE_S, max(LISTEN_S, 4 * (link.rtt_s or 0.0)))
    with contextlib.suppress(Unavailable):
        heard = await reach.echo(npub, link=link, timeout_s=patience_s)
    is_heard = link.silent_s <= reach.now() - began or _is_heard_by_kernel(link)
    return LinkSeen(link.pipe.path, safe(link.address, 80), heard is not None, is_heard), heard


async def _echo_around(reach: Reach, npub: str) -> Heard | None:
    try:
        return await reach.echo(npub, around=True, timeout_s=LISTEN_S)
    except Unavailable:
        return None


async def _turn(reach: Reach) -> tuple[bool, ...]:
    """Whether each of the TURN servers answers."""
    await reach.ice.ask()
    return tuple(server.is_alive for server in reach.ice.servers if server.kind == "turn")


async def _try(
    reach: Reach, address: str, answers: Answers, *, handshake: bool, is_its_own: bool = True
) -> AddressSeen:
    host = split_address(address)[0]
    tcp = await connect(address)
    welcome: Welcome = await _knock(reach, address) if handshake and tcp == "open" else ""
    advert = answers.to_all.get(host)
    return AddressSeen(
        safe(address, 80),
        tcp,
        welcome,
        is_its_own=is_its_own,
        on_own_network=await asyncio.to_thread(on_own_network, [host]),
        answers_alone=host in answers.to_one,
        answers_all=advert is not None,
        is_marked=advert is not None and reach.rungs.is_ours(advert.id, advert.tag),
    )


async def _knock(reach: Reach, address: str) -> Welcome:
    """A real attempt: what comes of it is a link."""
    links = reach.links
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            pipe = await dial(address)
            link, device = await links.open(pipe, dialled=True)
    except OwnAddress:
        return ""
    except RemoteError as error:
        if error.code == "unknown-peer":
            return "stranger"
        return "refuses-us" if error.code == "refused-by-peer" else "broken"
    except (MeshconsoleError, TimeoutError):
        return "broken"
    links.nursery.spawn(f"link to {address}", _carry(reach, link, device))
    return "member"


async def _carry(reach: Reach, link: Link, device: Device) -> None:
    await reach.links.carry(link, device)


def _is_heard_by_kernel(link: Link) -> bool:
    """The other side sends again and again what it has no acknowledgement of: nothing new for us to read."""
    silent_s = link.pipe.kernel_silent_s if isinstance(link.pipe, WebSocketPipe) else None
    return silent_s is not None and silent_s < LISTEN_S


def _hosts(addresses: Iterable[str]) -> list[str]:
    return [split_address(address)[0] for address in addresses]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(split_address(text)[0])
    except (Unavailable, ValueError):
        return False
    return True
