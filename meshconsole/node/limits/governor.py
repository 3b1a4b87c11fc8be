"""The governor: the limits the owner opted in to, held against real use.

Four promises: connections, storage, bandwidth, memory. Each refusal has its NIP-01 code and a
sentence, and is counted by reason. Measurement is by `sample()`, called every two seconds; what
happens between two samples is reserved first (`quota.py`).
"""

from __future__ import annotations

import os
from collections import Counter, deque
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.status import LimitsStatus, StorageStatus
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse
from meshconsole.node.limits.bandwidth import Bandwidth
from meshconsole.node.limits.degrading import Degrading, mark
from meshconsole.node.limits.quota import MEGABYTE, StorageQuota
from meshconsole.node.memory import allowed_bytes
from meshconsole.relay.places import client_places

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from meshconsole.core.config import Config
    from meshconsole.core.sections import LimitsSection
    from meshconsole.node.limits.degrading import Change, Pressure

NEAR = 0.75
"""Of the memory that it may use: below the first step of degradation."""

GROWTH_WINDOW_S = 3600.0
GROWTH_SETTLED_S = 300.0
"""Growth is an average over up to an hour, and nothing is said of it before five minutes have passed."""


class Use(msgspec.Struct):
    """What the rooms say they use now. `stored` tells what there is; what is allowed the governor puts in."""

    connections: int = 0
    stored: StorageStatus = StorageStatus(0, 0, 0, 0, 0)


class ProcessUse:
    """Memory and processor time of this process, from /proc where there is one, else through psutil
    (which would take 3 MB of the memory it measures)."""

    def __init__(self) -> None:
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._last: tuple[float, float] | None = None

    def memory_bytes(self) -> int:
        """Resident set size."""
        try:
            with open("/proc/self/statm", "rb") as file:
                return int(file.read().split()[1]) * self._page_bytes
        except FileNotFoundError:
            import psutil

            return int(psutil.Process().memory_info().rss)

    def cpu_percent(self, now: float) -> float:
        """Of one processor, since the last call; 0.0 at the first."""
        times = os.times()
        used = times.user + times.system
        last, self._last = self._last, (now, used)
        if last is None or now <= last[0]:
            return 0.0
        return 100 * (used - last[1]) / (now - last[0])


def memory_limit(limits: LimitsSection, system_bytes: int) -> int:
    """Bytes; 0 is no limit. Of what the system allows a tenth is left to what is not resident memory."""
    return min(
        (each for each in (limits.max_memory_mb * MEGABYTE, system_bytes * 9 // 10) if each), default=0
    )


class Governor:
    """Holds the limits, counts the refusals, and says what is used of what is allowed."""

    def __init__(self, config: Config, folder: Path, use: Callable[[], Use]) -> None:
        self._limits = config.limits
        self._use = use
        self.bandwidth = Bandwidth(config.limits.max_bandwidth_mbps, config.limits.max_link_mbps)
        limit_bytes = config.limits.max_storage_mb * MEGABYTE
        self.quota = StorageQuota(folder, limit_bytes, blocks_on_disk=config.content.backend == "flat")
        self.quota.is_rolling = config.relay.eviction == "oldest"
        self.refusals: Counter[str] = Counter()
        self._process = ProcessUse()
        self._system_bytes = allowed_bytes()
        self._memory_bytes = 0
        self._cpu_percent = 0.0
        self._rate_in = self._rate_out = 0.0
        self._growth = 0.0
        self.degrading = Degrading()
        self._last: tuple[float, int, int, int] | None = None
        self._stored: deque[tuple[float, int]] = deque()

    def apply(self, config: Config) -> None:
        """New limits at run time; what is over them drains, nothing is cut off in mid-write."""
        self._limits = config.limits
        self.bandwidth.set_limits(config.limits.max_bandwidth_mbps, config.limits.max_link_mbps)
        self.quota.limit_bytes = config.limits.max_storage_mb * MEGABYTE
        self.quota.is_rolling = config.relay.eviction == "oldest"

    @property
    def memory_limit_bytes(self) -> int:
        """The owner's, or what the system allows if that is less; 0 is none."""
        return memory_limit(self._limits, self._system_bytes)

    @property
    def audit_limit_bytes(self) -> int:
        """Beyond it the audit log lets its older half go."""
        return min(self._limits.max_audit_mb * MEGABYTE, self.quota.limit_bytes // 8)

    def admit(self, kind: str, remote: str) -> Verdict:
        """May one more connection be opened? Only "client" is a plain Nostr client; the other kinds are
        the team's."""
        del remote
        open_to_kind = client_places(self._limits) if kind == "client" else self._limits.max_connections
        if self._use().connections >= open_to_kind:
            return self.refuse("restricted", f"all {open_to_kind} connections are in use; try again later")
        self._memory_bytes = self._process.memory_bytes()  # many may come between two samples
        if kind == "client" and (self._is_short_of_memory or "clients-refused" in self.degrading):
            return self.refuse("restricted", "this node is short of memory; try again later")
        if "links-refused" in self.degrading and self.is_over_memory:
            return self.refuse("restricted", "this node is short of memory and takes no new links")
        return ACCEPTED

    def refuse(self, code: str, sentence: str) -> Verdict:
        self.count_refusal(code, sentence)
        return refuse(code, sentence)  # type: ignore[arg-type]

    def count_refusal(self, code: str, sentence: str) -> None:
        reason = sentence.split(";")[0].split(":")[0]
        if len(self.refusals) < 200 or f"{code}: {reason}" in self.refusals:
            self.refusals[f"{code}: {reason}"] += 1

    def sample(self, now: float) -> list[Change]:
        """Measures the process and the stores; the steps of degradation that begin or end by it. `now` is
        monotonic, in seconds."""
        parts = self._use().stored
        self.quota.other_bytes = parts.audit_bytes + parts.log_bytes
        stored = parts.used_bytes
        self.quota.events.measured(parts.events_bytes)
        self.quota.blocks.measured(parts.blocks_bytes, exact=True)
        self.quota.look_at_disk()
        self._memory_bytes = self._process.memory_bytes()
        self._cpu_percent = self._process.cpu_percent(now)
        current = (now, self.bandwidth.bytes_in, self.bandwidth.bytes_out, stored)
        if self._last is not None and now > self._last[0]:
            elapsed = now - self._last[0]
            self._rate_in = (current[1] - self._last[1]) / elapsed
            self._rate_out = (current[2] - self._last[2]) / elapsed
        self._last = current
        self._stored.append((now, stored))
        while now - self._stored[0][0] > GROWTH_WINDOW_S:
            self._stored.popleft()
        since, before = self._stored[0]
        self._growth = (stored - before) / (now - since) if now - since >= GROWTH_SETTLED_S else 0.0
        return self.degrading.look(self._pressures(), now)

    def sample_memory(self, now: float) -> list[Change]:
        """As `sample`, of the process's memory alone."""
        self._memory_bytes = self._process.memory_bytes()
        return self.degrading.look(self._pressures(), now)

    @property
    def is_near_memory(self) -> bool:
        return self._memory_bytes > NEAR * self.memory_limit_bytes > 0

    @property
    def _is_short_of_memory(self) -> bool:
        """Too short for one more client, by what was measured last."""
        return self._memory_pressure >= mark("clients-refused", "memory")

    @property
    def _memory_pressure(self) -> float:
        memory = self.memory_limit_bytes
        return self._memory_bytes / memory if memory else 0.0

    def _pressures(self) -> dict[Pressure, float]:
        return {
            "storage": 1.0 if self.quota.refusing else self.quota.fullness(),
            "memory": self._memory_pressure,
            "processor": self._cpu_percent / 100,
            "connections": self._use().connections / max(1, self._limits.max_connections),
        }

    def limits_status(self, refusals: Mapping[str, int], performance: str = "") -> LimitsStatus:
        """`refusals` are what the relay has counted itself, `performance` is the mode that holds."""
        standing = self.degrading.standing()
        names = [degraded.step.name for degraded in standing]
        degraded = [degraded.words for degraded in standing]
        # What is refused at once, whether or not it has been seen by a measurement.
        if self.quota.refusing and "writes-refused" not in names:
            degraded.append(f"refusing writes: {self.quota.refusing}")
        if self.is_out_of_places and "links-refused" not in names:
            degraded.append("refusing connections: all are in use")
        if self._is_short_of_memory and "clients-refused" not in names:
            degraded.append("refusing clients: memory limit nearly reached")
        storage = self.storage_status()
        return LimitsStatus(
            connections=self._use().connections,
            max_connections=self._limits.max_connections,
            rate_in_bps=self._rate_in,
            rate_out_bps=self._rate_out,
            max_rate_bps=self._limits.max_bandwidth_mbps * MEGABYTE / 8,
            memory_bytes=self._memory_bytes,
            max_memory_bytes=self.memory_limit_bytes,
            cpu_percent=self._cpu_percent,
            performance_mode=performance or self._limits.performance_mode,
            degraded=tuple(degraded),
            steps=tuple(names),
            refusals=dict(Counter(refusals) + self.refusals),
            storage_bytes=storage.used_bytes,
            max_storage_bytes=storage.quota_bytes,
        )

    def storage_status(self) -> StorageStatus:
        return msgspec.structs.replace(
            self._use().stored,
            quota_bytes=self.quota.limit_bytes,
            disk_free_bytes=self.quota.disk_free_bytes,
            disk_free_files=self.quota.disk_free_files,
            growth_bps=self._growth,
            refusing=bool(self.quota.refusing),
        )

    @property
    def is_out_of_places(self) -> bool:
        return self._use().connections >= self._limits.max_connections

    @property
    def is_over_memory(self) -> bool:
        allowed = self.memory_limit_bytes
        return bool(allowed) and self._memory_bytes > allowed
