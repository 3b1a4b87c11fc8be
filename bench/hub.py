"""A hub with two hundred links: linked, idle, a note to all, and all back after it was killed.

The peers are on this machine too (`tests/mesh/crowd.py`): each checks and stores what comes, so that times
are those of the machine, and the hub's own share is its processor time.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.figures import Figure
from tests.mesh.crowd import crowd

PEERS = 200
IDLE_S = 20.0
NOTES = 10
BURST, AUTHORS = 1000, 5
PATIENCE_S = 600.0


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="meshconsole-bench-") as folder:
        return asyncio.run(_measure(Path(folder)))


async def _measure(folder: Path) -> list[Figure]:
    async with crowd(folder, PEERS) as team:
        await team.ask("dial")
        linked_s = await team.until("linked", team.count, PATIENCE_S)
        await team.until("even", team.count, PATIENCE_S)
        linking = team.hub_cpu_s()
        began = time.monotonic()
        await asyncio.sleep(IDLE_S)
        idle = (team.hub_cpu_s() - linking) / (time.monotonic() - began)
        resident = team.resident_mb()
        took: list[float] = []
        for number in range(NOTES):
            await team.ask_one(0, "publish", 1, f"note{number}", 1)
            await team.until_held(f"note{number}", 1, PATIENCE_S)
            took += [seconds for room in await team.ask("took", f"note{number}") for seconds in room]
        before, began = team.hub_cpu_s(), time.monotonic()
        await team.ask_one(0, "publish", AUTHORS, "burst", BURST // AUTHORS)
        await team.until_held("burst", BURST, PATIENCE_S)
        burst_s, burst_cpu_s = time.monotonic() - began, team.hub_cpu_s() - before
        await team.restart_hub()
        back_s = await team.until("linked", team.count, PATIENCE_S)
        took.sort()
        return [
            Figure(f"{team.count} devices linked to a hub", linked_s, "s", "with what makes the team"),
            Figure("the same, processor time of the hub", linking, "s"),
            Figure("hub with these links, idle processor", 100 * idle, "%", f"over {IDLE_S:.0f} s"),
            Figure("hub with these links, resident", resident, "MB"),
            Figure("one note stored by all, median", 1000 * median(took), "ms"),
            Figure("one note stored by all, 99th percentile", 1000 * took[-len(took) // 100], "ms"),
            Figure(f"{BURST:,} notes stored by all", burst_s, "s", f"of {AUTHORS} authors"),
            Figure("the same, hub's time for each copy", 1e6 * burst_cpu_s / BURST / team.count, "us"),
            Figure("all linked again after the hub was killed", back_s, "s"),
        ]
