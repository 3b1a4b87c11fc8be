"""Who keeps what here: pins of several owners on one root, and what becomes of it when they are gone.

The methods promise what those of `service.Content` do that hand on to them.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from meshconsole.content.formats.cid import Cid
from meshconsole.content.happenings import PresenceChanged
from meshconsole.content.store.roots import OWNER, Pin, Root, canonical, renamed
from meshconsole.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.content.fetching import Fetches
    from meshconsole.content.store.store import Store
    from meshconsole.content.waiting import Waiting

RETRY_S = 300.0
"""Pinned files that could not be fetched are tried again."""


class Pins:
    """`clock` gives seconds since the epoch."""

    def __init__(
        self,
        store: Store,
        fetches: Fetches,
        waiting: Waiting,
        emit: Callable[[object], None],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._fetches = fetches
        self._waiting = waiting
        self._emit = emit
        self._clock = clock
        self._changed = asyncio.Event()

    def has(self, cid: str, owner: str | None = None) -> bool:
        root = self._store.roots.get(cid)
        if root is None:
            return False
        return root.pinned if owner is None else root.pin_of(owner) is not None

    async def put(self, cid: str, name: str, pin: Pin) -> None:
        parsed = canonical(cid)
        self._waiting.is_to_stay(cid)
        await self._store.roots.change(
            parsed,
            lambda old: replace(renamed(old, cid, name, self._clock()).with_pin(pin), paused=False),
        )
        if not self._store.roots.presence(cid).complete:
            await self._waiting.begin(parsed, name)
            self._waiting.is_to_stay(cid)
        self._changed.set()

    async def lift(self, cid: str, owner: str) -> None:
        root = self._store.roots.get(cid)
        if root is None or root.pin_of(owner) is None:
            raise Refused("invalid", "This file is not pinned.", hint="List what is: meshconsole blobs")
        await self._store.roots.change(
            Cid.parse(cid), lambda old: self._unpinned(old and old.without_pin(owner))
        )

    async def drop(self, cid: str) -> int:
        parsed = canonical(cid)
        await self._store.roots.change(parsed, lambda _: None)
        return await self._discard(parsed)

    async def let_go(self, cid: str, owner: str) -> int:
        parsed = canonical(cid)
        if not self.has(cid, owner):
            return 0

        def without(root: Root | None) -> Root | None:
            left = root and root.without_pin(owner)
            return left if left and (left.pinned or left.wanted) else None

        if await self._store.roots.change(parsed, without) is not None:
            return 0
        return await self._discard(parsed)

    async def keep_expiring(self) -> None:
        """Pins with an end are lifted when it has come, by the clock of this device."""
        while True:
            now = self._clock()
            for root in list(self._store.roots.values()):
                if root.unexpired(now) is not root:
                    await self._store.roots.change(Cid.parse(root.cid), partial(self._unexpired, now))
                    self._emit(PresenceChanged(root.cid))
            ends = [p.expires_at for root in self._store.roots.values() for p in root.pins if p.expires_at]
            self._changed.clear()
            # Looked at now and then even so: the clock may have been set, and there may be room again for
            # a pinned file that did not fit.
            delay = min([end - now for end in ends], default=RETRY_S)
            try:
                async with asyncio.timeout(min(max(delay, 1.0), RETRY_S)):
                    await self._changed.wait()
            except TimeoutError:
                self._fetches.resume()

    def made(self, old: Root | None, cid: Cid, name: str, pinned: bool, owner: str = OWNER) -> Root:
        """What a root becomes when its file has come here; pinned, its owner keeps it."""
        root = renamed(old, str(cid), name, self._clock())
        return root.with_pin(Pin(owner)) if pinned and root.pin_of(owner) is None else root

    async def _discard(self, dropped: Cid) -> int:
        await self._fetches.forget(str(dropped))
        freed = await self._store.room.discard([dropped.multihash])
        self._emit(PresenceChanged(str(dropped)))
        return freed

    def _unpinned(self, root: Root | None) -> Root | None:
        """What a root becomes that has lost a pin."""
        if root is None or root.pinned or root.wanted or self._store.roots.presence(root.cid).bytes:
            return root
        return None

    def _unexpired(self, now: float, root: Root | None) -> Root | None:
        return self._unpinned(root and root.unexpired(now))
