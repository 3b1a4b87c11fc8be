"""The guests of this node: links that invite them, browsers that wait, and those who are here.

The page is served from the first link on until nobody is invited, waits or is a guest any more. What the
owner has decided holds once it is saved, before a browser hears of it, and is written to the audit log; a
guest who breaks the rules is one no longer. Pages, channels and the loop that looks after them end with
`stop`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from meshconsole.core.errors import MeshconsoleError, Refused, Unavailable
from meshconsole.core.status import GuestStatus
from meshconsole.core.text import safe
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse
from meshconsole.mesh.addresses import host_addresses
from meshconsole.mesh.guests import messages as g
from meshconsole.mesh.guests.book import CODE_DIGITS, Admitted, GuestBook, Link
from meshconsole.mesh.guests.describing import with_own_addresses
from meshconsole.mesh.guests.page import GuestPage
from meshconsole.mesh.guests.port import GuestPort
from meshconsole.relay.login import proven_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.core.status import Severity
    from meshconsole.mesh.guests.page import Visit
    from meshconsole.mesh.links.pipe import Meter
    from meshconsole.mesh.links.webrtc import DataChannelAnswer
    from meshconsole.relay.relay import Relay

log = logging.getLogger(__name__)

TEND_S = 2.0
COME_AGAIN_S = 1.0
"""Between two channels of one guest: each costs a handshake."""
MAX_LOGIN = 4096
NOT_ANY_MORE = refuse("restricted", "you are not a guest here any more")
TIME_IS_OVER = "Your time as a guest is over."
REMOVED = "The owner has ended your visit."
CAME_AGAIN = "You came in again from another page."
NO_WAY = "No way for a data channel was found in time. Is UDP between this browser and the node shut off?"


class House(Protocol):
    """The node, as far as guests need it."""

    @property
    def name(self) -> str: ...

    def may_stay(self) -> Verdict:
        """Whether this node has guests at all, as it is set now."""

    def may_come(self) -> Verdict:
        """Whether there is a place for one more, too."""

    async def save(self, guests: tuple[Admitted, ...]) -> None:
        """Durable when it returns."""

    def record(self, act: str, **detail: str) -> None: ...

    def notice(self, severity: Severity, text: str, remedy: str = "") -> None: ...

    def changed(self) -> None:
        """There is something new to show."""


@dataclass(eq=False, slots=True)
class _Visit:
    npub: str
    code: str
    welcome: asyncio.Future[g.Welcome]


class Guests:
    """`clock` is in seconds since the epoch, `now` is monotonic. Makes nothing but itself before a link is
    opened."""

    def __init__(
        self,
        relay: Relay,
        house: House,
        saved: tuple[Admitted, ...],
        meter: Meter,
        clock: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self._relay = relay
        self._house = house
        self._meter = meter
        self._clock = clock
        self._now = now
        self._book = GuestBook(saved, lambda: f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}")
        self._visits: dict[str, _Visit] = {}
        self._here: dict[str, GuestPort] = {}
        self._came: dict[str, float] = {}
        self._page: GuestPage | None = None
        self._opening = asyncio.Lock()
        self._saving = asyncio.Lock()
        """From what is to be saved until it holds."""
        self._tending: asyncio.Task[None] | None = None

    # --- The owner ---------------------------------------------------------------------------------

    async def open_link(self, name: str, hours: float, link_s: float, port: int) -> tuple[str, float]:
        """A URL, and until when it can be used. Raises Refused, Fatal."""
        verdict = self._house.may_stay()
        if not verdict.accepted:
            raise Refused(verdict.code, verdict.sentence)
        link = Link(secrets.token_urlsafe(16), self._clock() + link_s, name, hours)
        self._book.open_link(link, self._clock())
        page = await self.serve(port)
        self._house.record("guest-link", until=str(int(link.until)), name=name)
        return f"{page.url}#{link.token}", link.until

    async def admit(self, code: str, name: str, hours: float | None) -> Admitted:
        """Raises Refused, and what saving raises."""
        async with self._saving:
            waiting, guest = self._book.to_admit(code, name, hours, self._clock())
            await self._house.save((*self._book.without(guest), guest))
            self._book.admit(waiting, guest)
        self._house.record("guest-admitted", npub=guest.npub, name=guest.name, until=str(int(guest.until)))
        self._answered(code, g.Welcome(guest.name, guest.until))
        return guest

    def refuse(self, code: str) -> None:
        """Raises Refused."""
        waiting = self._book.refuse(code)
        self._house.record("guest-refused", npub=waiting.npub, name=waiting.name)
        self._answered(code, Refused("restricted", "The owner of this node said no."))

    async def remove(self, who: str) -> Admitted:
        """Raises Refused, and what saving raises."""
        guest = self._book.called(who)
        await self._end(guest, REMOVED, "guest-removed")
        return guest

    def status(self) -> tuple[GuestStatus, ...]:
        waiting = (
            GuestStatus(one.npub, one.name, "waiting", since=one.since, code=one.code)
            for one in self._book.waiting.values()
        )
        guests = (
            GuestStatus(
                one.npub,
                one.name,
                "here" if one.npub in self._here else "away",
                since=one.since,
                until=one.until,
                events=self._here[one.npub].events if one.npub in self._here else 0,
            )
            for one in self._book.guests.values()
        )
        return (*waiting, *guests)

    @property
    def connections(self) -> int:
        return len(self._here)

    @property
    def url(self) -> str:
        """Of the page, "" while it is not served."""
        return self._page.url if self._page is not None else ""

    def recheck(self) -> None:
        """What the owner allows has changed."""
        verdict = self._house.may_stay()
        for port in tuple(self._here.values()) if not verdict.accepted else ():
            port.end(verdict.sentence)

    async def stop(self) -> None:
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.gather(self._tending, return_exceptions=True)
        async with self._opening:
            await self._close("This node stops.")

    # --- Pages: the Desk ---------------------------------------------------------------------------

    @property
    def node_name(self) -> str:
        return self._house.name

    def ask(self, asked: g.Ask, challenge: str, url: str) -> _Visit:
        """Raises Refused."""
        npub = proven_key(bytes(asked.login), challenge, lambda named: named == url, MAX_LOGIN)
        welcome: asyncio.Future[g.Welcome] = asyncio.get_running_loop().create_future()
        guest = self._book.guest(npub, self._clock())
        if guest is not None:
            welcome.set_result(g.Welcome(guest.name, guest.until))
            return _Visit(npub, "", welcome)
        waiting = self._book.ask(asked.token, npub, asked.name, self._clock())
        visit = self._visits[waiting.code] = _Visit(npub, waiting.code, welcome)
        self._house.notice(
            "warning",
            f"A browser asks to be a guest, as {safe(waiting.name, 64)}. It shows the code {waiting.code}.",
            f"If you see that code there: meshconsole guest admit {waiting.code}",
        )
        self._house.changed()
        return visit

    def left(self, visit: Visit) -> None:
        if self._visits.pop(visit.code, None) is not None:
            self._book.gave_up(visit.code)
            visit.welcome.cancel()
            self._house.changed()
        elif visit.welcome.done() and not visit.welcome.cancelled():
            visit.welcome.exception()  # the owner's answer came as the page went

    async def answer(self, visit: Visit, offer: str, url: str) -> _Channel:
        """Raises RemoteError, Refused, Unavailable."""
        assert isinstance(visit, _Visit)
        from meshconsole.mesh.links.webrtc import CONNECT_S, DataChannelAnswer

        verdict = self._house.may_come()
        if not verdict.accepted:
            raise Unavailable(verdict.sentence)
        if self._now() - self._came.get(visit.npub, -COME_AGAIN_S) < COME_AGAIN_S:
            raise Unavailable("You have only just come. Try again in a moment.")
        self._came[visit.npub] = self._now()
        hosts = [host for host in await asyncio.to_thread(host_addresses) if ":" not in host]
        offer = with_own_addresses(offer, hosts)
        try:
            async with asyncio.timeout(CONNECT_S):
                answer = await DataChannelAnswer.make(offer, visit.npub, loopback=True)
        except TimeoutError:
            raise Unavailable(NO_WAY) from None
        return _Channel(self, visit.npub, answer, url)

    async def attend(self, npub: str, answer: DataChannelAnswer, url: str) -> g.Over:
        """A guest's channel, until it ends."""
        from meshconsole.mesh.links.webrtc import CONNECT_S

        try:
            async with asyncio.timeout(CONNECT_S):
                pipe = await answer.connect()
        except BaseException as error:
            await answer.close()
            if isinstance(error, TimeoutError):
                return g.Over(NO_WAY, final=False)
            raise
        guest = self._book.guest(npub, self._clock())
        if guest is None:
            await pipe.close(REMOVED)
            return g.Over(REMOVED, final=True)
        verdict = self._house.may_stay()
        if not verdict.accepted:  # the owner has changed it since the answer
            await pipe.close(verdict.sentence)
            return g.Over(verdict.sentence, final=False)
        if (before := self._here.get(npub)) is not None:
            before.end(CAME_AGAIN)
        port = GuestPort(
            self._relay,
            pipe,
            _Standing(self, guest),
            meter=self._meter,
            is_own_url=lambda named: named == url,
            now=self._now,
        )
        self._here[npub] = port
        self._house.changed()
        log.info("guest %s is here", safe(guest.name))
        try:
            reason = await port.run()
        finally:
            if self._here.get(npub) is port:
                del self._here[npub]
        log.info("guest %s has gone: %s", safe(guest.name), reason)
        if port.misbehaved and npub in self._book.guests:
            try:
                await self._end(self._book.guests[npub], reason, "guest-expelled", cause=reason)
            finally:  # this holds even if it cannot be saved
                self._book.guests.pop(npub, None)
            self._house.notice("warning", f"The guest {safe(guest.name, 64)} was sent away. {reason}")
        self._house.changed()
        return g.Over(reason, final=self._book.guest(npub, self._clock()) is None)

    def may_be_here(self, npub: str) -> Verdict:
        return ACCEPTED if self._book.guest(npub, self._clock()) is not None else NOT_ANY_MORE

    # --- Inside ------------------------------------------------------------------------------------

    async def serve(self, port: int) -> GuestPage:
        """The page, which may be open already. Raises Fatal."""
        async with self._opening:
            if self._page is None:
                page = GuestPage(self)
                await page.start(port)
                self._page = page
                self._tending = asyncio.create_task(self._tend(), name="guests")
            return self._page

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(TEND_S)
            try:
                await self.tend()
            except MeshconsoleError as error:
                log.warning("looking after the guests failed: %s", error.sentence)
            async with self._opening:
                if self._is_over:
                    await self._close("Nobody is a guest here any more.")
                    return

    async def tend(self) -> None:
        """Ends what is over by now."""
        now = self._clock()
        for waiting in tuple(self._book.waiting.values()):
            if now >= waiting.link.until:
                self._book.refuse(waiting.code)
                self._answered(waiting.code, Refused("restricted", "Nobody has let you in in time."))
        over = self._book.over(now)
        for guest in over:
            if (port := self._here.get(guest.npub)) is not None:
                port.end(TIME_IS_OVER)
        for guest in over:
            await self._end(guest, TIME_IS_OVER, "guest-expired")

    @property
    def _is_over(self) -> bool:
        book = self._book
        return not (book.links or book.waiting or book.guests or self._here)

    async def _close(self, reason: str) -> None:
        for code in tuple(self._visits):
            self._answered(code, Unavailable(reason))
        for port in self._here.values():
            port.end(reason)
        if self._page is not None:
            await self._page.stop()
            self._page = None

    async def _end(self, guest: Admitted, reason: str, act: str, **detail: str) -> None:
        """It is no guest any more, once that is saved. Raises what saving raises."""
        async with self._saving:
            if self._book.guests.get(guest.npub) is not guest:
                return  # it was ended, or let in anew, meanwhile
            await self._house.save(self._book.without(guest))
            self._book.guests.pop(guest.npub, None)
        if (port := self._here.get(guest.npub)) is not None:
            port.end(reason)
        self._came.pop(guest.npub, None)
        self._house.record(act, npub=guest.npub, name=guest.name, **detail)
        self._house.changed()

    def _answered(self, code: str, answer: g.Welcome | MeshconsoleError) -> None:
        visit = self._visits.pop("".join(filter(str.isdigit, code)), None)
        if visit is not None and not visit.welcome.done():
            if isinstance(answer, g.Welcome):
                visit.welcome.set_result(answer)
            else:
                visit.welcome.set_exception(answer)
        self._house.changed()


@dataclass(frozen=True, slots=True)
class _Channel:
    guests: Guests
    npub: str
    made: DataChannelAnswer
    url: str

    @property
    def answer(self) -> str:
        return self.made.text

    async def run(self) -> g.Over:
        return await self.guests.attend(self.npub, self.made, self.url)


class _Standing:
    """The relay's `Guest`."""

    def __init__(self, guests: Guests, admitted: Admitted) -> None:
        self._guests = guests
        self.npub = admitted.npub
        self.name = admitted.name

    def may_be_here(self) -> Verdict:
        return self._guests.may_be_here(self.npub)
