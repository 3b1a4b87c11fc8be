"""Dials what the ladder says is due, and tells the ladder what came of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from meshconsole.core.errors import MeshconsoleError, RemoteError, Unavailable
from meshconsole.mesh.endpoints import split_address
from meshconsole.mesh.linking import OwnAddress
from meshconsole.mesh.links.websocket import CONNECT_S, dial

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.core.verdict import Verdict
    from meshconsole.mesh.ladder import Ladder
    from meshconsole.mesh.linking import Links

STRANGER_CODES = frozenset({"unknown-peer", "refused-by-peer", "not-post-quantum"})
LONGEST_WAIT_S = 30.0
HURRIED_S = 1.8
"""The system repeats what it sends to an address once in this time."""


class Dialler:
    """`worked(npub, address)` is called for every address that led to a member.

    `wants(npub)` says whether a link to that device is needed.
    Nothing is dialled while `may_dial` says no: a node without a team would take its team for strangers.
    """

    def __init__(
        self,
        ladder: Ladder,
        links: Links,
        *,
        may_dial: Callable[[], bool],
        wants: Callable[[str], bool],
        admit: Callable[[str, str], Verdict],
        worked: Callable[[str, str], None],
        now: Callable[[], float],
    ) -> None:
        self._ladder = ladder
        self._links = links
        self._may_dial = may_dial
        self._wants = wants
        self._admit = admit
        self._worked = worked
        self._now = now
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """The ladder has changed."""
        self._woken.set()

    async def run(self) -> None:
        while True:
            self._woken.clear()
            due = self._ladder.due(self._now()) if self._may_dial() else []
            for candidate in due:
                if candidate.npub and not self._wants(candidate.npub):
                    self._ladder.postpone(candidate.address, self._now())
                    continue
                self._ladder.started(candidate.address, self._now())
                self._links.nursery.spawn(f"dial {candidate.address}", self._dial(candidate.address))
            timer = self._ladder.next_timer()
            wait = LONGEST_WAIT_S
            if timer is not None and self._may_dial():
                wait = min(wait, timer - self._now())
            try:
                # A little at least: what is due may have to wait for a dial to the same device.
                async with asyncio.timeout(max(0.2, wait)):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _dial(self, address: str) -> None:
        ladder = self._ladder
        try:
            verdict = self._admit("link", split_address(address)[0])
            if not verdict.accepted:
                raise Unavailable(f"This node opens no more links: {verdict.sentence}.")
            is_hurried = ladder.is_hurried(address, self._now())
            pipe = await dial(address, within_s=HURRIED_S if is_hurried else CONNECT_S)
            link, device = await self._links.open(pipe, dialled=True)
        except OwnAddress:
            ladder.is_self(address, self._now())
            return
        except MeshconsoleError as error:
            if isinstance(error, RemoteError) and error.code in STRANGER_CODES:
                ladder.stranger(address, error.sentence, self._now())
                self._links.refused(address, error)
            else:
                ladder.failed(address, error.sentence, self._now())
            return
        except asyncio.CancelledError:
            ladder.failed(address, "The node stops.", self._now())
            raise
        finally:
            self.wake()
        ladder.linked(address, device.npub, self._now())
        self._worked(device.npub, address)
        await self._links.carry(link, device)
