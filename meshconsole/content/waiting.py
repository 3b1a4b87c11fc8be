"""Fetches for those who wait for them, and those that only run as long as somebody does.

The methods promise what those of `service.Content` do that hand on to them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from meshconsole.content.happenings import FetchProgress
from meshconsole.content.store.roots import canonical, renamed
from meshconsole.core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from meshconsole.content.fetching import Fetch, Fetches
    from meshconsole.content.formats.cid import Cid
    from meshconsole.content.store.store import Store


class Waiting:
    """`clock` gives seconds since the epoch."""

    def __init__(self, store: Store, fetches: Fetches, clock: Callable[[], float]) -> None:
        self._store = store
        self._fetches = fetches
        self._clock = clock
        self._passing: set[str] = set()
        """Roots whose fetch was begun for who waits for it, and by nobody else since."""

    def is_to_stay(self, cid: str) -> None:
        """Somebody wants the root, whether or not anybody waits for it."""
        self._passing.discard(cid)

    async def begin(self, cid: Cid, name: str) -> Fetch:
        """The fetch of the root, under way."""
        text = str(cid)
        return await self._fetches.start(cid, lambda old: renamed(old, text, name, self._clock()))

    async def fetch(
        self, cid: str, name: str, deadline_s: float, *, passing: bool
    ) -> AsyncIterator[FetchProgress]:
        parsed = canonical(cid)
        presence = self._store.roots.presence(cid)
        if presence.complete:
            yield FetchProgress(cid, presence.bytes, presence.bytes, "done")
            return
        if not passing:
            self._passing.discard(cid)
        elif self._fetches.job(cid) is None and not self._is_pinned(cid):
            self._passing.add(cid)
        starting = asyncio.ensure_future(self.begin(parsed, name))
        try:
            fetch = await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait([starting])  # half begun, nobody could end it
            raise
        if not passing:
            self._passing.discard(cid)
        loop = asyncio.get_running_loop()
        told: FetchProgress | None = None
        gives_up_at = loop.time() + deadline_s
        while True:
            progress, changed = fetch.progress, fetch.changed
            if told is None or progress.have_bytes > told.have_bytes:
                gives_up_at = loop.time() + deadline_s
            if progress.state == "done":
                yield progress
                return
            if fetch.failure is not None:
                raise fetch.failure
            if progress != told:
                told = progress
                yield progress
                continue
            try:
                async with asyncio.timeout_at(gives_up_at):
                    await changed.wait()
            except TimeoutError:
                if not fetch.is_owed:
                    raise _nothing_comes(progress, deadline_s) from None
                # A block may take longer than the deadline; the peer that owes it has its own.
                gives_up_at = loop.time() + 1.0

    async def start(self, cid: str, name: str) -> bool:
        parsed = canonical(cid)
        if self._store.roots.presence(cid).complete:
            return False
        self._passing.discard(cid)
        await self.begin(parsed, name)
        self._passing.discard(cid)  # whoever began it meanwhile, it is to stay
        return True

    async def end_passing(self, cid: str) -> None:
        if cid in self._passing:
            self._passing.discard(cid)
            await self._fetches.cancel(cid)

    def _is_pinned(self, cid: str) -> bool:
        root = self._store.roots.get(cid)
        return root is not None and root.pinned


def _nothing_comes(progress: FetchProgress, deadline_s: float) -> Unavailable:
    have, total = progress.have_bytes, progress.total_bytes
    held = f"{have} of {total} bytes are here" if total else "nothing of it is here"
    who = "no teammate in reach has it" if not progress.peers else "the teammates who have it stopped sending"
    return Unavailable(
        f"No block of {progress.cid} came for {deadline_s:.0f} s: {who}; {held}.",
        hint="It is fetched in the background as soon as somebody can send it.",
    )
