"""Notes that a link does not bring in time go as datagrams too, to that teammate alone (`late.py` says
which); and what comes that way is answered.

Notes of flash and immediate precedence have a way of their own (`flashing.py`), which comes first: these here
go at the pace that the way has shown.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from meshconsole.core.limits import TokenBucket
from meshconsole.core.precedence import Precedence
from meshconsole.mesh.datagrams.got import AT_ONCE_S, Owed, ids_in, is_genuine, make_got, short
from meshconsole.mesh.late import Late
from meshconsole.mesh.messages import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from meshconsole.crypto.identity import Identity
    from meshconsole.mesh.datagrams.messages import Got
    from meshconsole.mesh.linking import Links
    from meshconsole.mesh.links.pipe import Meter
    from meshconsole.mesh.nearby import Nearby

LOOK_S = 0.5
STILL_S = 1.0
"""A link on which nothing is heard for so long, with a note on it that is not confirmed, stands still."""
HANDED_ON_S = 0.005
"""What was stored just now is on the link by then, as a rule."""
CHECKS_PER_S = 100.0
"""Signatures of words about what was got."""
WORDS_PER_S = 50.0


class Helping:
    """`where(npub)` gives addresses at which a teammate takes datagrams, the best first; `is_with(npub, id)`
    whether it has a note, as far as is known; `delivered(npub, id)` is told when it says so."""

    def __init__(
        self,
        identity: Identity,
        links: Links,
        nearby: Nearby,
        *,
        where: Callable[[str], list[str]],
        is_with: Callable[[str, bytes], bool],
        delivered: Callable[[str, bytes], None],
        meter: Meter,
        now: Callable[[], float],
    ) -> None:
        self._identity = identity
        self._links = links
        self._nearby = nearby
        self._where = where
        self._is_with = is_with
        self._delivered = delivered
        self._meter = meter
        self._now = now
        self._late: dict[str, Late] = {}
        self._owed = Owed()
        self._checks = TokenBucket(CHECKS_PER_S, 2 * CHECKS_PER_S)
        self._words = TokenBucket(WORDS_PER_S, 2 * WORDS_PER_S)
        self._more = asyncio.Event()
        self._tell = asyncio.Event()

    # What this device sends.

    def sent(
        self, event_id: bytes, parts: tuple[bytes, ...], to: Iterable[str], precedence: Precedence
    ) -> None:
        """A note of this device is stored here, for those (npub)."""
        now = self._now()
        for npub in to:
            self._late.setdefault(npub, Late()).add(event_id, parts, now, precedence)
        self._more.set()

    def holds(self, npub: str, event_id: bytes, held: int) -> None:
        """It has these parts of a note."""
        late = self._late.get(npub)
        if late is not None:
            late.holds(event_id, held, self._now())

    def got(self, got: Got) -> None:
        """Somebody says what it has; whether it is of the team the caller has checked."""
        npub, now = got.npub.hex(), self._now()
        late = self._late.get(npub)
        if late is None:
            return
        said = ids_in(got)
        meant = [event_id for event_id in late.waiting() if short(event_id) in said]
        if not meant or not self._checks.try_take(1, now) or not is_genuine(got):
            return
        session = self._links.sessions.get(npub)
        for event_id in meant:
            late.answered(event_id, now)
            self._delivered(npub, event_id)
            if session is not None:
                session.sync.known.add(event_id)  # the log need not bring it

    async def run(self) -> None:
        while True:
            self._more.clear()
            wait = LOOK_S if any(self._late.values()) else None
            for npub, late in list(self._late.items()):
                timer = await self._help(npub, late) if late else None
                if timer is not None and wait is not None:
                    wait = min(wait, max(HANDED_ON_S, timer - self._now()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._more.wait()
                # The link gets its turn, so that the look after it finds the note handed on.
                await asyncio.sleep(HANDED_ON_S)

    async def _help(self, npub: str, late: Late) -> float | None:
        """When to do it again."""
        session, now = self._links.sessions.get(npub), self._now()
        for event_id in late.waiting():
            if self._is_with(npub, event_id):
                late.confirmed(event_id)
        best = session.best if session is not None else None
        if session is None or best is None:
            late.look(None, None, lambda _event_id: False, now)
        else:
            has_handed_on = not best.waits(Precedence.ROUTINE)
            on_the_way = session.sync.is_on_the_way if has_handed_on else lambda _event_id: False
            late.look(best, best.pipe.standing(), on_the_way, now, is_mute=best.silent_s >= STILL_S)
            session.sync.serving.is_poor = lambda: late.is_poor(self._now())
            session.sync.serving.carried = lambda event_id: late.carries(event_id, self._now())
        is_heard = best is not None or self._nearby.hearing.of(npub) is not None
        if not is_heard or not self._nearby.may_seal:
            return None
        address = next(iter(self._where(npub)), "")
        if not address:
            return None
        for payload in late.due(now):
            datagram = self._nearby.sealer.seal(payload)
            await self._meter.wait_out(len(datagram))
            self._nearby.port.to(address, datagram)
        return late.next_timer(self._now())

    # What it has got.

    def owe(self, address: str, event_id: bytes) -> None:
        """A note came from there by datagram and is durable here: it is told so."""
        self._owed.owe(address, event_id, self._now())
        self._tell.set()

    async def answer(self) -> None:
        """Runs as long as the mesh does."""
        while True:
            self._tell.clear()
            now = self._now()
            if self._nearby.may_seal:
                for address, ids in self._owed.due(now):
                    if self._words.try_take(1, now):
                        word = self._nearby.sealer.seal(encode(make_got(self._identity, ids)))
                        self._nearby.port.to(address, word)
            else:
                self._owed = Owed()  # in silence nothing is said, nor later: who sent them repeats them
            timer = self._owed.next_timer()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if timer is None else max(AT_ONCE_S / 4, timer - now)):
                    await self._tell.wait()
