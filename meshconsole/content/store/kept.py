"""The roots that are kept here, and how much of each: in memory as they are in the index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from meshconsole.content.happenings import PresenceChanged
from meshconsole.content.store.roots import ABSENT, Presence, Root

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterable

    from meshconsole.content.formats.cid import Cid
    from meshconsole.content.store.index import Index
    from meshconsole.content.store.threads import Threads


class KeptRoots(Mapping[str, Root]):
    """By the text of their CIDs. `pins_changed` counts anew what pins keep."""

    def __init__(
        self,
        threads: Threads,
        index: Callable[[], Index],
        sweep: asyncio.Lock,
        *,
        pins_changed: Callable[[], Awaitable[None]],
        emit: Callable[[object], None],
    ) -> None:
        self._threads = threads
        self._index = index
        self._sweep = sweep
        self._pins_changed = pins_changed
        self._emit = emit
        self._roots: dict[str, Root] = {}
        self._presences: dict[str, Presence] = {}

    def __getitem__(self, cid: str) -> Root:
        return self._roots[cid]

    def __iter__(self) -> Iterator[str]:
        return iter(self._roots)

    def __len__(self) -> int:
        return len(self._roots)

    async def load(self) -> None:
        for root in await self._threads.on_index(self._index().roots):
            self._roots[root.cid] = root
            await self.measure(root.cid)

    def presence(self, cid: str) -> Presence:
        return self._presences.get(cid, ABSENT)

    def set_presence(self, cid: str, presence: Presence) -> None:
        """As a fetch finds out."""
        self._presences[cid] = presence

    async def measure(self, cid: str) -> None:
        """Finds out anew how much of a root is here, of what was committed."""
        self._presences[cid] = await self._threads.on_index(self._index().presence, cid)

    async def change(self, cid: Cid, make: Callable[[Root | None], Root | None]) -> Root | None:
        """The only way to change a root, for several owners change the same one at once: `make` is handed
        the root as it is when nobody else can change it, None where it is none, and returns what it becomes.
        """
        text = str(cid)
        async with self._sweep:
            root = make(self._roots.get(text))
            if root is not None:
                await self._threads.on_index(self._index().put_root, root, cid.multihash)
                self._roots[text] = root
                await self.measure(text)
                await self._pins_changed()
            elif text in self._roots:
                await self._threads.on_index(self._index().drop_root, text)
                self._roots.pop(text)
                self._presences.pop(text, None)
                await self._pins_changed()
            return root

    async def look_again(self, cids: Iterable[str]) -> None:
        """Blocks of these have come or gone, while nothing else was removed. A root of which nothing is left
        and that nobody wants is forgotten."""
        for cid in cids:
            await self.measure(cid)
            root = self._roots[cid]
            if not (self._presences[cid].bytes or root.pinned or root.wanted):
                await self._threads.on_index(self._index().drop_root, cid)
                del self._roots[cid], self._presences[cid]
            self._emit(PresenceChanged(cid))
