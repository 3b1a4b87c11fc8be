"""Data channels beside the websocket: made over it, and made again when they go.

The lower npub offers. Descriptions travel as signals inside the links that exist already, so nobody
else can offer anything; the TLS session inside the channel is pinned to the same peer all the same.
Host addresses are tried first, STUN and TURN only after that has failed: a dead server costs seconds.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshconsole.core.errors import MeshconsoleError, Unavailable
from meshconsole.core.text import safe
from meshconsole.mesh.endpoints import is_loopback
from meshconsole.mesh.messages import Describe

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from random import Random

    from meshconsole.core.verdict import Verdict
    from meshconsole.mesh.links.description import IceServer
    from meshconsole.mesh.links.pipe import Pipe
    from meshconsole.mesh.session import PeerSession

log = logging.getLogger(__name__)

CAPABILITY = "webrtc_hub"
SETTLE_S = 1.0
"""A link that has just come up may be replaced by another at once."""
FIRST_S = 5.0
LAST_S = 300.0
NO_WAY = "No way for a data channel was found in time."


@dataclass(slots=True)
class _Trouble:
    failures: int = 0
    error: str = ""


class DataChannels:
    """`carry` makes a link of a pipe to a peer and returns when that link has ended."""

    def __init__(
        self,
        npub: str,
        servers: tuple[IceServer, ...],
        *,
        enabled: bool,
        carry: Callable[[PeerSession, Pipe, bool], Coroutine[Any, Any, None]],
        spawn: Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]],
        admit: Callable[[str, str], Verdict],
        random: Random,
    ) -> None:
        self._npub = npub
        self._servers = servers
        self._enabled = enabled
        self._carry = carry
        self._spawn = spawn
        self._admit = admit
        self._random = random
        self._answers: dict[bytes, asyncio.Future[Describe]] = {}
        self._answering: dict[str, asyncio.Task[None]] = {}
        self._trouble: dict[str, _Trouble] = {}

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
            trouble = self._trouble.setdefault(session.npub, _Trouble())
            try:
                pipe = await self._offer(session, trouble.failures)
            except (MeshconsoleError, TimeoutError) as error:
                self._failed(session, error)
            else:
                trouble.error = ""
                # In a task of its own: this loop ends with the session, and that with its last link.
                await asyncio.wait([self._spawn(f"channel {session.npub[:8]}", self._open(session, pipe))])
            if trouble.error:
                pause = min(LAST_S, FIRST_S * 2.0 ** min(trouble.failures - 1, 10))
                await asyncio.sleep(pause * (0.75 + 0.5 * self._random.random()))

    def signal(self, session: PeerSession, message: Describe) -> None:
        """A signal from the peer of the session."""
        if message.kind == "offer" and not self._enabled:
            session.signal(Describe(message.attempt, "refuse", "This node makes no data channels."))
        elif message.kind == "offer":
            self._spawn(f"answer {session.npub[:8]}", self._answer(session, message))
        else:
            waiting = self._answers.get(message.attempt)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)

    async def _open(self, session: PeerSession, pipe: Pipe) -> None:
        try:
            await self._carry(session, pipe, True)
        except MeshconsoleError as error:
            self._failed(session, error)
        else:
            self._trouble.pop(session.npub, None)

    def _failed(self, session: PeerSession, error: BaseException) -> None:
        trouble = self._trouble.setdefault(session.npub, _Trouble())
        trouble.failures += 1
        trouble.error = error.sentence if isinstance(error, MeshconsoleError) else NO_WAY
        log.info("no data channel to %s: %s", session.npub[:8], trouble.error)

    def _should_offer(self, session: PeerSession) -> bool:
        best = session.best
        return (
            self._enabled
            and best is not None
            and self._npub < session.npub
            and CAPABILITY in best.hello.capabilities
            and not session.has_path("webrtc")
        )

    async def _offer(self, session: PeerSession, failures: int) -> Pipe:
        from meshconsole.mesh.links.webrtc import CONNECT_S, DataChannelOffer

        verdict = self._admit("link", "")
        if not verdict.accepted:
            raise Unavailable(verdict.sentence)
        attempt = os.urandom(8)
        answer: asyncio.Future[Describe] = asyncio.get_running_loop().create_future()
        self._answers[attempt] = answer
        offer: DataChannelOffer | None = None
        try:
            async with asyncio.timeout(CONNECT_S):
                offer = await DataChannelOffer.make(
                    _where(session), self._servers if failures else (), loopback=_on_loopback(session)
                )
                if not session.signal(Describe(attempt, "offer", offer.text)):
                    raise Unavailable("The link to signal over is gone.")
                reply = await answer
                if reply.kind != "answer":
                    raise Unavailable(f"The peer wants none: {safe(reply.text, 120)}")
                return await offer.connect(reply.text)
        except BaseException:
            if offer is not None:
                await offer.close()
            raise
        finally:
            del self._answers[attempt]

    async def _answer(self, session: PeerSession, message: Describe) -> None:
        """One answer at a time for each peer: a newer offer means that the older one was given up."""
        older = self._answering.pop(session.npub, None)
        if older is not None:
            older.cancel()
        task = asyncio.current_task()
        assert task is not None
        self._answering[session.npub] = task
        try:
            pipe = await self._connect(session, message)
            await self._carry(session, pipe, False)
        except (MeshconsoleError, TimeoutError) as error:
            self._failed(session, error)
            session.signal(Describe(message.attempt, "refuse", self.error(session.npub)))
        finally:
            if self._answering.get(session.npub) is task:
                del self._answering[session.npub]

    async def _connect(self, session: PeerSession, message: Describe) -> Pipe:
        from meshconsole.mesh.links.webrtc import CONNECT_S, DataChannelAnswer

        verdict = self._admit("link", "")
        if not verdict.accepted:
            raise Unavailable(verdict.sentence)
        trouble = self._trouble.setdefault(session.npub, _Trouble())
        answer: DataChannelAnswer | None = None
        try:
            async with asyncio.timeout(CONNECT_S):
                answer = await DataChannelAnswer.make(
                    message.text,
                    _where(session),
                    self._servers if trouble.failures else (),
                    loopback=_on_loopback(session),
                )
                if not session.signal(Describe(message.attempt, "answer", answer.text)):
                    raise Unavailable("The link to signal over is gone.")
                pipe = await answer.connect()
        except BaseException:
            if answer is not None:
                await answer.close()
            raise
        trouble.failures, trouble.error = 0, ""
        return pipe


def _where(session: PeerSession) -> str:
    """For people: the host that the peer's other link leads to."""
    best = session.best
    return best.address if best is not None else ""


def _on_loopback(session: PeerSession) -> bool:
    return any(is_loopback(link.address) for link in session.links)
