"""Where blocks are kept: the interface of every backend, and its laws. One suite tests each against them.

Laws:
1. `get` returns bytes that hash to their multihash, or None, or raises CorruptData; a block that was found
   altered counts as missing from then on, and `put` cures it.
2. `put` is all or nothing, and says whether the block is new: of several callers with the same block
   exactly one is told so. Once `sync` has returned, blocks put before it survive a power cut.
3. The hash alone names a block: CIDs that differ in version or codec mean the same bytes.
4. A backend counts nothing and asks no quota: whoever writes has reserved `footprint` bytes before.
5. Methods block and may be called by any number of threads at once. They raise Unavailable (full, out of
   reach), Fatal (the owner must repair something) or CorruptData, and nothing of any library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshconsole.content.formats.block import Block


class BlocksState(msgspec.Struct, frozen=True):
    """How a place for blocks stands: `place` names it for people, `trouble` says why blocks cannot be reached
    there now, empty while they can, and `remedy` what to do. `warnings` are what may cost blocks one day."""

    place: str = ""
    trouble: str = ""
    remedy: str = ""
    warnings: tuple[str, ...] = ()


class BlockStore(Protocol):
    def open(self) -> int:
        """Before anything else, and again after it raised Unavailable. Returns how many leftovers of a crash
        were cleared."""

    def put(self, block: Block) -> bool:
        """Writes the block; False if it was there."""

    def sync(self) -> None:
        """Makes every block put so far survive a power cut."""

    def get(self, multihash: bytes) -> bytes | None:
        """The block, None if it is not there. Raises CorruptData if it was altered."""

    def size(self, multihash: bytes) -> int | None:
        """Bytes of the block, None if it is not there. Its content is not looked at."""

    def first_byte(self, multihash: bytes) -> bytes:
        """As stored, unchecked; empty if there is none."""

    def remove(self, multihash: bytes) -> bool:
        """False if it was not there."""

    def listing(self) -> Iterator[tuple[bytes, int]]:
        """(multihash, size) of every block, in no order, without reading them."""

    def quarantined_bytes(self) -> int:
        """What altered blocks that are kept to be looked at take on the disk."""

    def look(self) -> BlocksState:
        """How it stands, asked anew. Raises nothing."""

    def close(self) -> None:
        """When nothing is under way any more."""
