"""The blocks of a home: small ones together in a database, the others as files of their own.

Small blocks of homes that were made before are files, and stay it: every question goes to the files first.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from meshconsole.content.store.blocks import BlocksState
from meshconsole.content.store.blockstore import FlatBlockStore
from meshconsole.content.store.smallblocks import SMALL_BYTES, SmallBlocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from meshconsole.content.formats.block import Block

SMALL_NAME = "small.db"


class HomeBlocks:
    """The `BlockStore` of a node that keeps its blocks itself. Any number of threads may call it at once."""

    def __init__(self, path: Path, key: bytes) -> None:
        """`path` is the folder of the blobs; the small blocks are encrypted under `key`, once more."""
        self._files = FlatBlockStore(path)
        self._small = SmallBlocks(path / SMALL_NAME, key)

    def open(self) -> int:
        return self._files.open() + self._small.open()

    def put(self, block: Block) -> bool:
        if len(block.data) > SMALL_BYTES or self._files.size(block.cid.multihash) is not None:
            return self._files.put(block)
        return self._small.put(block)

    def sync(self) -> None:
        self._files.sync()
        self._small.sync()

    def get(self, multihash: bytes) -> bytes | None:
        found = self._files.get(multihash)
        return found if found is not None else self._small.get(multihash)

    def size(self, multihash: bytes) -> int | None:
        found = self._files.size(multihash)
        return found if found is not None else self._small.size(multihash)

    def first_byte(self, multihash: bytes) -> bytes:
        return self._files.first_byte(multihash) or self._small.first_byte(multihash)

    def remove(self, multihash: bytes) -> bool:
        return self._files.remove(multihash) or self._small.remove(multihash)

    def listing(self) -> Iterator[tuple[bytes, int]]:
        return chain(self._files.listing(), self._small.listing())

    def quarantined_bytes(self) -> int:
        return self._files.quarantined_bytes() + self._small.quarantined_bytes()

    def look(self) -> BlocksState:
        return BlocksState()

    def close(self) -> None:
        self._small.sync()
        self._small.close()
