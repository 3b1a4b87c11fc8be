"""The guests of this node, as its commands and limits see them. What they need is loaded by the first."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import msgspec

from meshconsole.control import guests as c
from meshconsole.control import messages as m
from meshconsole.core.config import serves_clients
from meshconsole.core.errors import Refused
from meshconsole.core.kinds import TEXT_NOTE
from meshconsole.core.reachability import Finding
from meshconsole.core.text import safe
from meshconsole.core.verdict import Verdict, refuse
from meshconsole.mesh.emcon import SILENCE, Emcon
from meshconsole.node.ground import SWITCHED_OFF
from meshconsole.relay.guests import NAME_TAG, ROOM, ROOM_TAG

if TYPE_CHECKING:
    from meshconsole.core.status import GuestStatus, Severity
    from meshconsole.mesh.guests.book import Admitted
    from meshconsole.mesh.guests.guests import Guests
    from meshconsole.node.ground import Ground

GUESTS = "guests"
"""In the node's state."""
LOOKED_AT = 50


class Guesting:
    """The guests' `House`."""

    def __init__(self, node: Ground) -> None:
        self._node = node
        self._guests: Guests | None = None
        node.door.counts.append(lambda: self.connections)

    async def start(self) -> None:
        """Guests of before a restart find the page again, where its port is fixed."""
        port = self._node.config.guests.port
        if port and self._node.state.get(GUESTS, tuple[msgspec.Raw, ...], ()):
            await (await self._made()).serve(port)

    async def stop(self) -> None:
        if self._guests is not None:
            await self._guests.stop()

    def status(self) -> tuple[GuestStatus, ...]:
        return self._guests.status() if self._guests is not None else ()

    def findings(self) -> tuple[Finding, ...]:
        """Of netcheck: where guests come in, while any may."""
        url = self._guests.url if self._guests is not None else ""
        if not url:
            return ()
        verdict = self.may_stay()
        if not verdict.accepted:
            return (Finding("guests", "note", f"nobody is let in: {verdict.sentence}"),)
        here = f"{self.connections} here over data channels"
        return (Finding("guests", "good", f"their page is at {url}, on this machine alone; {here}"),)

    def recheck(self) -> None:
        if self._guests is not None:
            self._guests.recheck()

    @property
    def connections(self) -> int:
        return self._guests.connections if self._guests is not None else 0

    # --- Commands ----------------------------------------------------------------------------------

    async def handle(self, command: c.GuestCommand) -> m.Reply:
        """Raises MeshconsoleError."""
        guests = await self._made()
        match command:
            case c.OpenGuestLink(name=name, hours=hours, link_s=link_s):
                settings = self._node.config.guests
                url, until = await guests.open_link(name, hours or settings.hours, link_s, settings.port)
                return m.done(data=c.GuestLinkData(url, until))
            case c.ListGuests():
                return m.done(data=c.GuestsData(guests.status()))
            case c.AdmitGuest(code=code, name=name, hours=hours):
                guest = await guests.admit(code, name, hours)
                return m.done(f"{safe(guest.name)} is a guest now.", c.GuestsData(guests.status()))
            case c.RefuseGuest(code=code):
                guests.refuse(code)
                return m.done("That browser was told no.")
            case c.RemoveGuest(who=who):
                removed = await guests.remove(who)
                return m.done(f"{safe(removed.name)} is no guest any more.")
            case c.SayToGuests(text=text):
                return await self._say(text)

    async def _say(self, text: str) -> m.Reply:
        if not text.strip():
            raise Refused("invalid", "The note is empty.")
        node = self._node
        tags = ((ROOM_TAG, ROOM), (NAME_TAG, node.config.node.name))
        event = node.identity.sign(TEXT_NOTE, tags, text, node.clock.stamp())
        verdict = await node.publish(event)
        if not verdict.accepted:
            return m.Reply(verdict)
        views = tuple(view for view in node.recent.newest(LOOKED_AT) if view.id == event.id)
        return m.done("Said to the guests. It is not sealed.", m.EventsData(views))

    async def _made(self) -> Guests:
        if self._guests is None:
            from meshconsole.mesh.guests.book import Admitted
            from meshconsole.mesh.guests.guests import Guests

            saved = await asyncio.to_thread(self._node.state.get, GUESTS, tuple[Admitted, ...], ())
            if self._guests is None:
                meter = self._node.governor.bandwidth
                clock = self._node.clock.time
                self._guests = Guests(self._node.relay, self, saved, meter, clock, time.monotonic)
        return self._guests

    # --- The House ---------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self._node.config.node.name

    def may_stay(self) -> Verdict:
        config = self._node.config
        if not Emcon(config.privacy.emcon).may_send:
            return refuse("restricted", SILENCE)
        if not config.capabilities.webrtc_hub:
            return refuse("restricted", "this node makes no data channels (capabilities.webrtc_hub)")
        if not serves_clients(config):
            return refuse("restricted", SWITCHED_OFF)
        return Verdict(True)

    def may_come(self) -> Verdict:
        verdict = self.may_stay()
        if not verdict.accepted:
            return verdict
        return self._node.door.admit("client", "")

    async def save(self, guests: tuple[Admitted, ...]) -> None:
        await asyncio.to_thread(self._node.state.put, GUESTS, guests)

    def record(self, act: str, **detail: str) -> None:
        self._node.record(act, **detail)

    def notice(self, severity: Severity, text: str, remedy: str = "") -> None:
        self._node.notice(severity, text, remedy)

    def changed(self) -> None:
        self._node.control.status_changed()
