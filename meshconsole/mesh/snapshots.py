"""Snapshots of what this store holds, for comparing; one serves many peers for a while.

A snapshot is right however old it is (`comparing.py`, law 1), and making one reads the whole index of the
store: after a cut of the network, when twenty peers come back at once, it is made once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused
from meshconsole.core.kinds import DELETION, MEMBERSHIP_KINDS, VANISH
from meshconsole.mesh.comparing import Snapshot
from meshconsole.mesh.peer import CIPHERTEXT_KINDS
from meshconsole.relay.filter import Filter
from meshconsole.relay.items import ItemVector

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.relay.store import EventStore

KEEP_S = 30.0
URGENT_KINDS = frozenset({DELETION, VANISH})


class Snapshots:
    """`most` is how many events a snapshot may cover."""

    def __init__(self, store: EventStore, most: Callable[[], int]) -> None:
        self._store = store
        self._most = most
        self._kept: dict[bool, Snapshot] = {}
        self._making = asyncio.Lock()

    async def get(self, *, sealed: bool) -> Snapshot | None:
        """Of what a relay may have, or of all that travels. None if that is too much."""
        async with self._making:
            if sealed not in self._kept:
                try:
                    snapshot = await asyncio.to_thread(self._make, sealed)
                except Refused:
                    return None
                self._kept[sealed] = snapshot
                asyncio.get_running_loop().call_later(KEEP_S, self._kept.pop, sealed, None)
            return self._kept[sealed]

    def _make(self, sealed: bool) -> Snapshot:
        store = self._store
        # Before the items: a snapshot may hold more than the log up to its head, never less.
        head = store.head_seq
        wanted = Filter(kinds=CIPHERTEXT_KINDS) if sealed else Filter(hidden=MEMBERSHIP_KINDS)
        items = ItemVector(store.items(wanted, self._most()))
        urgent = store.items(Filter(kinds=URGENT_KINDS), self._most())
        return Snapshot(head, items, frozenset(item.id for item in urgent))
