"""Blocks on their way from one peer to another, in memory until they have been handed on. Pure.

What a block is kept for beside that is the store's affair. Bounded: one peer has room for AT_ONCE blocks, and
what passes by meanwhile is not kept for it.
"""

from __future__ import annotations

import msgspec

from meshconsole.content.exchange.wants import AT_ONCE


class Transit(msgspec.Struct):
    waiting: dict[str, set[bytes]] = msgspec.field(default_factory=dict)
    """By peer, what it is still to be sent."""
    _data: dict[bytes, bytes] = msgspec.field(default_factory=dict)

    def put(self, multihash: bytes, data: bytes, peers: list[str]) -> None:
        if peers:
            self._data[multihash] = data
        for peer in peers:
            self.waiting.setdefault(peer, set()).add(multihash)

    def get(self, multihash: bytes) -> bytes | None:
        return self._data.get(multihash)

    def has_room(self, peer: str) -> bool:
        return len(self.waiting.get(peer, ())) < AT_ONCE

    def is_for(self, multihash: bytes, peer: str) -> bool:
        return multihash in self.waiting.get(peer, ())

    def drop(self, peer: str, multihashes: list[bytes] | None = None) -> bool:
        """The peer has been sent these, or does not want them any more; without a list, any. Returns whether
        it waited for one."""
        waits = self.waiting.get(peer, set())
        gone = set(waits) if multihashes is None else waits.intersection(multihashes)
        waits -= gone
        if not waits:
            self.waiting.pop(peer, None)
        for multihash in gone:
            if not any(multihash in other for other in self.waiting.values()):
                self._data.pop(multihash, None)
        return bool(gone)
