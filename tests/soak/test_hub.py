"""A hub with two hundred links to devices that reach nobody else: linked, idle, busy, gone and back."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.mesh.crowd import crowd

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.soak, pytest.mark.e2e]

PEERS = int(os.environ.get("MESHCONSOLE_SOAK_PEERS", "200"))
IDLE_S = 20.0
SINGLE = 10
AUTHORS = 5
BURST = 1000
PATIENCE_S = 300.0


async def test_two_hundred_links(tmp_path: Path) -> None:
    async with crowd(tmp_path, PEERS) as team:
        count = team.count
        await team.ask("dial")
        linked_s = await team.until("linked", count, PATIENCE_S)
        even_s = await team.until("even", count, PATIENCE_S)
        print(f"\n{count} linked after {linked_s:.1f} s, even after {even_s:.1f} s more,", end=" ")
        print(f"{team.hub_cpu_s():.1f} s of the hub's processor; {team.resident_mb():.0f} MB")

        await team.ask("downs")
        before, began = team.hub_cpu_s(), time.monotonic()
        await asyncio.sleep(IDLE_S)
        busy = (team.hub_cpu_s() - before) / (time.monotonic() - began)
        print(f"idle: {100 * busy:.1f} % of a processor, {team.resident_mb():.0f} MB")
        assert not any(await team.ask("downs")), "no link is let go that somebody needs"

        took: list[float] = []
        for number in range(SINGLE):
            await team.ask_one(0, "publish", 1, f"single{number}", 1)
            await team.until_held(f"single{number}", 1, PATIENCE_S)
            took += [seconds for room in await team.ask("took", f"single{number}") for seconds in room]
        took.sort()
        print(f"one note to all: p50 {1000 * took[len(took) // 2]:.0f} ms,", end=" ")
        print(f"p99 {1000 * took[-len(took) // 100]:.0f} ms")

        before, began = team.hub_cpu_s(), time.monotonic()
        await team.ask_one(0, "publish", AUTHORS, "burst", BURST // AUTHORS)
        await team.until_held("burst", BURST, PATIENCE_S)
        print(f"{BURST} notes of {AUTHORS}: all have all after {time.monotonic() - began:.1f} s,", end=" ")
        print(f"{team.hub_cpu_s() - before:.1f} s of the hub's processor; {team.resident_mb():.0f} MB")

        await team.restart_hub()
        back_s = await team.until("linked", count, PATIENCE_S)
        await team.ask("downs")
        print(f"hub killed and started: all back after {back_s:.1f} s,", end=" ")
        print(f"{team.hub_cpu_s():.1f} s of its processor")

        ended = await team.ask_one(1, "misbehave", 0, 100_000)
        assert "not what they claim" in ended
        await team.until("linked", count - 1, PATIENCE_S)
        assert not any(await team.ask("downs"))
