"""What the blocks take, and the quota that was asked for it."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Quota(Protocol):
    """Called on the loop, before a write and after a removal. Whole pages of the disk, in bytes."""

    def reserve(self, count: int) -> None:
        """Raises Refused("restricted", ...)."""

    def release(self, count: int) -> None: ...


class Tally(msgspec.Struct):
    """`bytes` holds what is reserved for blocks on their way; `set_aside_bytes` are altered blocks that are
    kept to be looked at: they take place on the disk, but no quota was asked for them.
    """

    quota: Quota
    bytes: int = 0
    blocks: int = 0
    set_aside_bytes: int = 0

    def take(self, count: int) -> None:
        """Raises Refused."""
        self.quota.reserve(count)
        self.bytes += count

    def settle(self, count: int) -> None:
        """What was counted anew, while nothing is on its way."""
        self.give_back(max(0, self.bytes - count))
        self.bytes = count

    def give_back(self, count: int) -> None:
        if count:
            self.quota.release(count)
            self.bytes -= count
