"""Requests to vanish by who may not write here (NIP-62): carried out as anybody's, but kept only where there
was something to remove. Keys cost nothing, so that who has none of his events here could fill the disk."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.kinds import GATED_KINDS, VANISH
from meshconsole.core.verdict import Verdict
from meshconsole.relay.filter import Filter
from meshconsole.relay.store import Written

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from meshconsole.relay.store import Entry, EventStore

NOTHING_HERE = Verdict(True, "duplicate", "nothing of yours is kept here")


def write(store: EventStore, entries: Sequence[Entry], uninvited: Collection[str]) -> list[Written]:
    """As `EventStore.write`. `uninvited` are the authors who may not write here. Blocks."""
    idle = {
        place
        for place, entry in enumerate(entries)
        if entry.vanish and entry.event.pubkey in uninvited and not _holds_something(store, entry)
    }
    if not idle:
        return store.write(entries)
    written = iter(store.write([entry for place, entry in enumerate(entries) if place not in idle]))
    return [Written(NOTHING_HERE, 0) if place in idle else next(written) for place in range(len(entries))]


def _holds_something(store: EventStore, entry: Entry) -> bool:
    """Earlier requests of the author do not count: they would keep the next one. What cannot be looked up is
    left to the store, which will say what is wrong with it."""
    author = entry.event.pubkey
    own = Filter(authors=frozenset({author}), hidden=frozenset({VANISH}))
    wraps = Filter(kinds=GATED_KINDS, tags=(("p", frozenset({author})),))
    with contextlib.suppress(MeshconsoleError):
        return store.tally([own, wraps], 1).count > 0
    return True
