"""Data channels: beside the websocket, or where no websocket can be; made again when they go.

The lower npub offers. Descriptions travel as signals inside the links to the peer, or where there is none
as sealed events over any other path (`signalling.py`), so nobody outside of the team can offer anything;
the TLS session inside the channel is pinned to the same peer all the same. Host addresses come first: where
a websocket shows that the peer is near, servers are not used until that has failed, and never a dead one.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

import msgspec

from meshconsole.core.errors import MeshconsoleError, Unavailable
from meshconsole.core.text import safe
from meshconsole.mesh.endpoints import is_loopback
from meshconsole.mesh.known import KnownIds
from meshconsole.mesh.messages import Describe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable
    from random import Random

    from meshconsole.core.verdict import Verdict
    from meshconsole.mesh.links.description import IceServer
    from meshconsole.mesh.links.pipe import Pipe
    from meshconsole.mesh.session import PeerSession

log = logging.getLogger(__name__)

CAPABILITY = "webrtc_hub"
SETTLE_S = 1.0
"""A link that has just come up may be replaced by another at once; who has just lost one may be back."""
FIRST_S = 5.0
LAST_S = 300.0
SLOWER = 2.0
SLOWER_AFAR = 3.0
"""Each attempt without a link is a few signals that others carry to the whole team."""
CHANGED = bytes(8)
"""The attempt in a refusal that is none: what failed before may work now."""
CHANGED_S = 60.0
"""Between two of those that count, of one peer."""
FAR_LOOK_S = 1.0
MAX_FAR = 4
"""Attempts without a link, at once."""
MAX_ANSWERS = 16
"""Under way at once; channels that are open do not count."""
OFFER_S = 1.0
"""Between two offers of one peer that are answered: each costs a connection."""
REPEAT_S = 1.0
"""A signal from afar is lost where the peer has no path yet: an offer is said again, each time after
twice as long. Who has heard it does not answer twice."""
REPEAT_SLOWER = 2.0
NO_WAY = "No way for a data channel was found in time."


class _Trouble(msgspec.Struct):
    failures: int = 0
    error: str = ""
    next_try: float = 0.0


class DataChannels:
    """`carry(npub, pipe, dialled)` makes a link of a pipe to a peer and returns when that link has ended.

    `servers` are those that live. `send_far` sends a signal to a peer without a link, if there is a way.
    """

    def __init__(
        self,
        npub: str,
        servers: Callable[[], Awaitable[tuple[IceServer, ...]]],
        *,
        enabled: bool,
        session: Callable[[str], PeerSession | None],
        send_far: Callable[[str, Describe], bool],
        carry: Callable[[str, Pipe, bool], Coroutine[Any, Any, None]],
        spawn: Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]],
        admit: Callable[[str, str], Verdict],
        now: Callable[[], float],
        random: Random,
    ) -> None:
        self._npub = npub
        self._servers = servers
        self.enabled = enabled
        """Off: none is offered, and none answered, from now on."""
        self._session = session
        self._send_far = send_far
        self._carry = carry
        self._spawn = spawn
        self._admit = admit
        self._now = now
        self._random = random
        self._answers: dict[bytes, asyncio.Future[Describe]] = {}
        self._answering: dict[str, asyncio.Task[None]] = {}
        """Until the link has ended."""
        self._connecting = 0
        self._offering: set[str] = set()
        self._offers = KnownIds(1024)
        """Attempts of others that were answered: a signal may come by two ways, or be played again."""
        self._offered: dict[str, float] = {}
        self._trouble: dict[str, _Trouble] = {}
        self._changed: dict[str, float] = {}
        """When a peer last said, or was told, that what failed before may work now."""

    def error(self, npub: str) -> str:
        """Why there is no data channel to a peer, as far as is known."""
        trouble = self._trouble.get(npub)
        return trouble.error if trouble is not None else ""

    async def keep(self, session: PeerSession) -> None:
        """Offers a data channel whenever the session has a link but no channel. Never returns."""
        while True:
            session.changed.clear()
            if not self._should_offer(session):
                await session.changed.wait()
                continue
            await asyncio.sleep(SETTLE_S)
            if not self._should_offer(session):
                continue
            # In a task of its own: this loop ends with the session, and that with its last link.
            await asyncio.wait([self._spawn(f"channel {session.npub[:8]}", self._attempt(session.npub))])
            wait = self._wait(session.npub)
            if wait > 0:
                await asyncio.sleep(wait)

    async def keep_far(self, members: Callable[[], Iterable[str]]) -> None:
        """Offers data channels to members who have no link, when they had the time to get one. Never
        returns. `members` are empty while there is no path for signals."""
        since: dict[str, float] = {}
        while True:
            await asyncio.sleep(FAR_LOOK_S)
            if not self.enabled:
                since.clear()
                continue
            now = self._now()
            alone = {npub for npub in members() if self._npub < npub and self._session(npub) is None}
            since = {npub: since.get(npub, now) for npub in alone}
            for npub in alone - self._offering:
                if len(self._offering) >= MAX_FAR:
                    break
                if now - since[npub] >= SETTLE_S and self._wait(npub) <= 0:
                    self._spawn(f"channel {npub[:8]}", self._attempt(npub))

    def network_changed(self, afar: Iterable[str] = ()) -> None:
        """What failed before may work now. Those `afar` that offer are told so."""
        from meshconsole.mesh.links import aiortc_made_fit  # not aiortc itself

        aiortc_made_fit.network_changed()
        self._trouble.clear()
        for npub in afar:
            self._tell_changed(npub)

    def try_soon(self, npub: str) -> None:
        """Somebody asks for that peer."""
        self._trouble.pop(npub, None)
        self._tell_changed(npub)

    def _tell_changed(self, npub: str) -> None:
        is_afar = npub < self._npub and self._session(npub) is None
        if self.enabled and is_afar and self._may_change(npub):
            self._send_far(npub, Describe(CHANGED, "refuse", "Try again: something has changed here."))

    def _may_change(self, npub: str) -> bool:
        now = self._now()
        is_new = now - self._changed.get(npub, -CHANGED_S) >= CHANGED_S
        if is_new:
            self._changed[npub] = now
        return is_new

    def signal(self, npub: str, message: Describe) -> None:
        """A signal from a peer, over its link or from afar."""
        if message.kind == "offer" and not self.enabled:
            self._send(npub, Describe(message.attempt, "refuse", "This node makes no data channels."))
        elif message.kind == "offer":
            mark, now = message.attempt.ljust(32), self._now()
            is_hasty = now - self._offered.get(npub, -OFFER_S) < OFFER_S
            if mark not in self._offers and not is_hasty and self._connecting < MAX_ANSWERS:
                self._offers.add(mark)
                self._offered[npub] = now
                self._spawn(f"answer {npub[:8]}", self._answer(npub, message))
        elif message.attempt == CHANGED:
            if self._may_change(npub):
                self._trouble.pop(npub, None)
        else:
            waiting = self._answers.get(message.attempt)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)

    def _send(self, npub: str, message: Describe) -> bool:
        session = self._session(npub)
        return (session is not None and session.signal(message)) or self._send_far(npub, message)

    async def _attempt(self, npub: str) -> None:
        self._offering.add(npub)
        try:
            pipe = await self._offer(npub)
        except (MeshconsoleError, TimeoutError) as error:
            self._failed(npub, error)
            return
        finally:
            self._offering.discard(npub)
        try:
            await self._carry(npub, pipe, True)
        except MeshconsoleError as error:
            self._failed(npub, error)
        else:
            self._trouble.pop(npub, None)

    def _failed(self, npub: str, error: BaseException) -> None:
        trouble = self._trouble.setdefault(npub, _Trouble())
        trouble.failures += 1
        trouble.error = error.sentence if isinstance(error, MeshconsoleError) else NO_WAY
        is_afar = self._session(npub) is None
        slower, least, spread = (SLOWER_AFAR, 1.0, 1.0) if is_afar else (SLOWER, 0.75, 0.5)
        pause = min(LAST_S, FIRST_S * slower ** min(trouble.failures - 1, 10))
        trouble.next_try = self._now() + pause * (least + spread * self._random.random())
        log.info("no data channel to %s: %s", npub[:8], trouble.error)

    def _wait(self, npub: str) -> float:
        trouble = self._trouble.get(npub)
        return trouble.next_try - self._now() if trouble is not None else 0.0

    def _should_offer(self, session: PeerSession) -> bool:
        best = session.best
        return (
            self.enabled
            and best is not None
            and self._npub < session.npub
            and CAPABILITY in best.hello.capabilities
            and not session.has_path("webrtc")
        )

    async def _servers_for(self, npub: str) -> tuple[IceServer, ...]:
        """None at first where a websocket shows that the peer is near: they would only cost time."""
        session, trouble = self._session(npub), self._trouble.get(npub)
        is_near = session is not None and session.has_path("websocket")
        return () if is_near and (trouble is None or not trouble.failures) else await self._servers()

    async def _offer(self, npub: str) -> Pipe:
        from meshconsole.mesh.links.webrtc import CONNECT_S, DataChannelOffer

        verdict = self._admit("link", "")
        if not verdict.accepted:
            raise Unavailable(verdict.sentence)
        attempt = os.urandom(8)
        answer: asyncio.Future[Describe] = asyncio.get_running_loop().create_future()
        self._answers[attempt] = answer
        offer: DataChannelOffer | None = None
        session = self._session(npub)
        try:
            async with asyncio.timeout(CONNECT_S):
                offer = await DataChannelOffer.make(
                    _where(session), await self._servers_for(npub), loopback=_on_loopback(session)
                )
                reply = await self._ask(npub, Describe(attempt, "offer", offer.text), answer)
                if reply.kind != "answer":
                    raise Unavailable(f"The peer wants none: {safe(reply.text, 120)}")
                return await offer.connect(reply.text)
        except BaseException:
            if offer is not None:
                await offer.close()
            raise
        finally:
            del self._answers[attempt]

    async def _ask(self, npub: str, offer: Describe, answer: asyncio.Future[Describe]) -> Describe:
        pause = REPEAT_S
        if not self._send(npub, offer):
            raise Unavailable("There is no path to signal over.")
        while self._session(npub) is None:
            done, _ = await asyncio.wait([answer], timeout=pause)
            if done:
                break
            pause *= REPEAT_SLOWER
            self._send(npub, offer)
        return await answer

    async def _answer(self, npub: str, message: Describe) -> None:
        """One answer at a time for each peer: a newer offer means that the older one was given up."""
        older = self._answering.pop(npub, None)
        if older is not None:
            older.cancel()
        task = asyncio.current_task()
        assert task is not None
        self._answering[npub] = task
        try:
            self._connecting += 1
            try:
                pipe = await self._connect(npub, message)
            finally:
                self._connecting -= 1
            await self._carry(npub, pipe, False)
        except (MeshconsoleError, TimeoutError) as error:
            self._failed(npub, error)
            self._send(npub, Describe(message.attempt, "refuse", self.error(npub)))
        finally:
            if self._answering.get(npub) is task:
                del self._answering[npub]

    async def _connect(self, npub: str, message: Describe) -> Pipe:
        from meshconsole.mesh.links.webrtc import CONNECT_S, DataChannelAnswer

        verdict = self._admit("link", "")
        if not verdict.accepted:
            raise Unavailable(verdict.sentence)
        session = self._session(npub)
        answer: DataChannelAnswer | None = None
        try:
            async with asyncio.timeout(CONNECT_S):
                answer = await DataChannelAnswer.make(
                    message.text,
                    _where(session),
                    await self._servers_for(npub),
                    loopback=_on_loopback(session),
                )
                if not self._send(npub, Describe(message.attempt, "answer", answer.text)):
                    raise Unavailable("There is no path to signal over.")
                pipe = await answer.connect()
        except BaseException:
            if answer is not None:
                await answer.close()
            raise
        self._trouble.pop(npub, None)
        return pipe


def _where(session: PeerSession | None) -> str:
    """For people: the host that the peer's other link leads to."""
    best = session.best if session is not None else None
    return best.address if best is not None else ""


def _on_loopback(session: PeerSession | None) -> bool:
    return session is not None and any(is_loopback(link.address) for link in session.links)
