"""Blocks in a dictionary: the second implementation that the suite of laws is run against, and a store
without a disk for measurements."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from meshconsole.content.formats.cid import multihash_matches
from meshconsole.content.store.blocks import BlocksState
from meshconsole.core.errors import CorruptData

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshconsole.content.formats.block import Block


class MemoryBlocks:
    def __init__(self) -> None:
        self.blocks: dict[bytes, bytes] = {}
        self._lock = threading.Lock()

    def open(self) -> int:
        return 0

    def put(self, block: Block) -> bool:
        with self._lock:
            is_new = block.cid.multihash not in self.blocks
            self.blocks[block.cid.multihash] = block.data
        return is_new

    def sync(self) -> None:
        return None

    def get(self, multihash: bytes) -> bytes | None:
        data = self.blocks.get(multihash)
        if data is None or multihash_matches(multihash, data):
            return data
        del self.blocks[multihash]
        raise CorruptData("The block was altered.", hint="It is fetched again.")

    def size(self, multihash: bytes) -> int | None:
        data = self.blocks.get(multihash)
        return None if data is None else len(data)

    def first_byte(self, multihash: bytes) -> bytes:
        return self.blocks.get(multihash, b"")[:1]

    def remove(self, multihash: bytes) -> bool:
        return self.blocks.pop(multihash, None) is not None

    def listing(self) -> Iterator[tuple[bytes, int]]:
        yield from [(multihash, len(data)) for multihash, data in self.blocks.items()]

    def quarantined_bytes(self) -> int:
        return 0

    def look(self) -> BlocksState:
        return BlocksState()

    def close(self) -> None:
        return None
