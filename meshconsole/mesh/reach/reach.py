"""Echoes sent and awaited, and two questions that people ask: how far is it, and which way.

Why not, and what is wrong here, are asked of it by `examine.py` and `netcheck.py`: nothing of them is needed
until somebody does.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import Fatal, Refused, Unavailable
from meshconsole.core.reachability import Hop, Pong
from meshconsole.core.text import safe
from meshconsole.mesh.emcon import SILENCE
from meshconsole.mesh.links.frames import Channel, Precedence
from meshconsole.mesh.reach.echoes import Echo, Echoed, Echoes, Message, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.core.config import Config
    from meshconsole.mesh.discovery.rungs import Rungs
    from meshconsole.mesh.emcon import Emcon
    from meshconsole.mesh.hearing import Hearing
    from meshconsole.mesh.ice import IceServers
    from meshconsole.mesh.ladder import Ladder
    from meshconsole.mesh.linking import Links
    from meshconsole.mesh.links.link import Link
    from meshconsole.mesh.roster import Device, Membership
    from meshconsole.mesh.session import PeerSession

ECHO_S = 5.0


class Heard(msgspec.Struct, frozen=True):
    """An echo that came back, and the link that it went out on where there was one to the target."""

    path: tuple[str, ...]
    """Devices from this one to the target."""
    rtt_s: float
    clock_offset_s: float
    link: Link | None


class Reach:
    """`clock` is seconds since the epoch, `now` monotonic."""

    def __init__(
        self,
        me: str,
        links: Links,
        ladder: Ladder,
        rungs: Rungs,
        hearing: Hearing,
        emcon: Emcon,
        ice: IceServers,
        membership: Membership,
        config: Config,
        *,
        clock: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self.me = me
        self.links = links
        self.ladder = ladder
        self.rungs = rungs
        self.hearing = hearing
        self.emcon = emcon
        self.ice = ice
        self.config = config
        self._membership = membership
        self.clock = clock
        self.now = now
        self._echoes = Echoes(me)
        self.on_asked: Callable[[str], None] = lambda _npub: None
        """A person asks about that device: what is tried now and then may be tried now."""
        self._awaited: dict[bytes, asyncio.Future[Echoed]] = {}

    # What people ask.

    async def ping(self, who: str) -> Pong:
        """Raises Unavailable if no echo comes back, Fatal if there is no such device."""
        device = self.device(who)
        self.on_asked(device.npub)
        heard = await self.echo(device.npub)
        link = heard.link
        return Pong(
            device.npub,
            safe(device.name, 64),
            round(heard.rtt_s * 1000, 2),
            via=tuple(self.name(npub) for npub in heard.path[1:-1]),
            path=link.pipe.path if link is not None else "",
            address=safe(link.address, 80) if link is not None else "",
            clock_offset_s=round(heard.clock_offset_s, 3),
        )

    async def trace(self, who: str) -> tuple[Hop, ...]:
        """The devices on the way, with the round trip to each. Raises as `ping`."""
        device = self.device(who)
        heard = await self.echo(device.npub)
        hops = []
        for npub in heard.path[1:-1]:
            try:
                rtt = (await self.echo(npub)).rtt_s
            except Unavailable:
                hops.append(Hop(npub, self.name(npub)))
                continue
            hops.append(Hop(npub, self.name(npub), round(rtt * 1000, 2)))
        return (*hops, Hop(device.npub, self.name(device.npub), round(heard.rtt_s * 1000, 2)))

    # Devices.

    def members(self) -> tuple[Device, ...]:
        """All but this one, also those that were removed."""
        team = self._membership.team
        return tuple(d for d in team.members() if d.npub != self.me) if team is not None else ()

    def find(self, who: str) -> tuple[Device, ...]:
        """By name, by the beginning of the key, or by an address that is known to be its own."""
        begins = who.lower() if len(who) >= 4 else "-"
        named = [d for d in self.members() if d.name == who or d.npub.startswith(begins)]
        if not named:
            at = {c.npub for c in self.ladder.candidates() if c.npub and c.address == who}
            named = [d for d in self.members() if d.npub in at]
        present = [d for d in named if not d.removed]
        return tuple(present or named)

    def device(self, who: str) -> Device:
        """The one that is meant. Raises Fatal."""
        found = self.find(who)
        if len(found) == 1:
            return found[0]
        if found:
            raise Fatal(f"{len(found)} devices fit {safe(who, 64)!r}.", hint="Give more of the key.")
        raise Fatal(f"The team has no device {safe(who, 64)!r}.", hint="See: meshconsole team members")

    def name(self, npub: str) -> str:
        names = (safe(device.name, 64) for device in self.members() if device.npub == npub)
        return next(names, npub[:8])

    # Echoes.

    async def echo(
        self, npub: str, *, link: Link | None = None, around: bool = False, timeout_s: float = ECHO_S
    ) -> Heard:
        """Over that link, or by whatever way there is; `around`: by any but a link of its own. Raises
        Unavailable, and Refused in radio silence."""
        if not self.emcon.may_send:
            raise Refused("restricted", SILENCE, hint="Change it: meshconsole emcon open")
        echo_id = os.urandom(8)
        answered: asyncio.Future[Echoed] = asyncio.get_running_loop().create_future()
        self._awaited[echo_id] = answered
        try:
            sent, began, out = self.clock(), self.now(), link
            neighbours = [n for n in self._neighbours() if not (around and n == npub)]
            for neighbour, message in self._echoes.ask(echo_id, npub, neighbours):
                if link is None or neighbour == npub:
                    out = self._send(neighbour, message, link) or out
            async with asyncio.timeout(timeout_s):
                echoed = await answered
            rtt = self.now() - began
        except TimeoutError:
            raise Unavailable(
                f"{self.name(npub)} did not answer within {timeout_s:.0f} s.",
                hint=f"Find out why: meshconsole why {self.name(npub)}",
            ) from None
        finally:
            del self._awaited[echo_id]
        path = tuple(step.hex() for step in echoed.path)
        offset = echoed.at_ms / 1000 - (sent + rtt / 2)
        return Heard(path, rtt, offset, out if len(path) == 2 else None)

    def receive(self, session: PeerSession, link: Link, payload: bytes) -> None:
        """Raises RemoteError for what breaks a rule."""
        message = decode(payload)
        if not self.emcon.may_send:
            return
        if isinstance(message, Echo):
            at_ms = int(self.clock() * 1000)
            answers = self._echoes.receive_echo(session.npub, message, self._neighbours(), self.now(), at_ms)
            for neighbour, answer in answers:
                # By the link that it came on: that is what the other side measures.
                self._send(neighbour, answer, link if neighbour == session.npub else None)
            return
        passed = self._echoes.receive_echoed(session.npub, message)
        if isinstance(passed, Echoed):
            waiting = self._awaited.get(passed.id)
            if waiting is not None and not waiting.done():
                waiting.set_result(passed)
            return
        for neighbour, answer in passed:
            self._send(neighbour, answer, None)

    def _neighbours(self) -> list[str]:
        return [npub for npub, session in self.links.sessions.items() if session.best is not None]

    def _send(self, npub: str, message: Message, link: Link | None) -> Link | None:
        """The link that took it; what finds no room is lost, as on any network."""
        session = self.links.sessions.get(npub)
        out = link or (session.best if session is not None else None)
        if out is None or not out.post(Channel.ECHOES, Precedence.IMMEDIATE, encode(message)):
            return None
        return out
