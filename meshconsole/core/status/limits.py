"""What the owner allows of the disk, the network and the machine, and what is used of it. Pure."""

from __future__ import annotations

import msgspec

from meshconsole.core.status.frozen import Frozen


class StorageStatus(Frozen, frozen=True):
    quota_bytes: int
    events_bytes: int
    blocks_bytes: int
    events_count: int
    blocks_count: int
    pinned_bytes: int = 0
    disk_free_bytes: int = 0
    disk_free_files: int | None = None
    """Files that the disk has room for (inodes); None where it does not say."""
    growth_bps: float = 0.0
    refusing: bool = False
    """True while writes are refused because the quota or the disk is full."""
    audit_bytes: int = 0
    log_bytes: int = 0
    """Of the node's own log, where that is a file in the home."""
    evicted_blocks: int = 0
    """Unpinned blocks that were removed to make room, the least recently used first, since the start."""
    evicted_bytes: int = 0
    handed_on_blocks: int = 0
    """Blocks of files that went through this node between teammates who are not linked, since its start."""
    handed_on_bytes: int = 0
    checked_at: float = 0.0
    """When every block had last been compared with its hash by the node itself; 0 if never."""
    checked_damaged: int = 0
    """How many were damaged then."""
    blocks_at: str = ""
    """Where the blocks are, if not in the home; and with `blocks_trouble`, why they cannot be reached."""
    blocks_trouble: str = ""

    @property
    def used_bytes(self) -> int:
        return self.events_bytes + self.blocks_bytes + self.audit_bytes + self.log_bytes

    @property
    def evictable_bytes(self) -> int:
        """Of files, what may make room: all that is not pinned, the least recently used first."""
        return max(0, self.blocks_bytes - self.pinned_bytes)

    @property
    def full_in_s(self) -> float | None:
        """How long the quota lasts at the growth of the last hour; None while it does not grow."""
        left = max(0, self.quota_bytes - self.used_bytes)
        return left / self.growth_bps if self.growth_bps > 0 else None


class LimitsStatus(Frozen, frozen=True):
    """Used and allowed. An allowance of 0 means unlimited."""

    connections: int
    max_connections: int
    rate_in_bps: float
    rate_out_bps: float
    max_rate_bps: float
    memory_bytes: int
    max_memory_bytes: int
    cpu_percent: float
    performance_mode: str
    """The one that holds, and in brackets why, where the owner chose auto."""
    degraded: tuple[str, ...] = ()
    """What is given up now, and why, in words."""
    steps: tuple[str, ...] = ()
    """The steps of degradation that stand, by name: node/limits/degrading.py."""
    refusals: dict[str, int] = msgspec.field(default_factory=dict)
    """How often each limit or policy said no, by reason, since the node started."""
    storage_bytes: int = 0
    max_storage_bytes: int = 0
