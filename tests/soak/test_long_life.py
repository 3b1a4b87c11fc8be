"""Two nodes for minutes: notes both ways, kills in between, nothing lost, memory level.

MESHCONSOLE_SOAK_S sets how long (default 300 seconds).
"""

from __future__ import annotations

import os
import random
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

import psutil
import pytest

from scripts.machine import Machine
from tests.soak.teamed import teamed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.soak, pytest.mark.e2e]

DURATION_S = float(os.environ.get("MESHCONSOLE_SOAK_S", "300"))
NOTES_PER_ROUND = 20
GROWTH_BYTES = 40_000_000
"""What a node may hold more at the end than after its first round: caches fill, and then no more."""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    yield from teamed(Machine(tmp_path, "alpha"), Machine(tmp_path, "bravo"))


def linked(status: dict[str, list[dict[str, object]]]) -> bool:
    return any(peer["links"] for peer in status["peers"])


def resident(machine: Machine) -> int:
    assert machine.process is not None
    return int(psutil.Process(machine.process.pid).memory_info().rss)


def events_count(machine: Machine) -> int:
    return int(machine.json("status")["storage"]["events_count"])


def holds(machine: Machine, texts: set[str], _status: object) -> bool:
    shown = machine.json("events", "--limit", "1000", "--filter", "soak")
    return texts <= {str(event["text"]) for event in shown}


def test_nothing_is_lost_and_nothing_grows(pair: tuple[Machine, Machine]) -> None:
    alpha, bravo = pair
    dice = random.Random(4)
    first: int | None = None
    until, round_number = time.monotonic() + DURATION_S, 0
    while time.monotonic() < until:
        round_number += 1
        for machine in pair:
            machine.wait("a link", linked)
        sent: set[str] = set()
        for number in range(NOTES_PER_ROUND):
            sender = dice.choice(pair)
            text = f"soak {round_number}.{number} {'x' * dice.randrange(400)}"
            sender.command("send", text)
            sent.add(text)
            if number == NOTES_PER_ROUND // 2:
                # bravo only: alpha lives on, so that its memory can be compared.
                bravo.kill(dice.choice([signal.SIGKILL, signal.SIGTERM]))
                bravo.start()
        for machine in pair:
            machine.wait("every note", partial(holds, machine, sent))
        first = first or resident(alpha)
    assert round_number > 1, "too short to compare anything; raise MESHCONSOLE_SOAK_S"
    assert first is not None
    assert resident(alpha) - first < GROWTH_BYTES
    alpha.wait("as many events here as there", lambda _: events_count(alpha) == events_count(bravo))
    assert events_count(alpha) > round_number * NOTES_PER_ROUND
    assert "Traceback" not in alpha.log.read_text() + bravo.log.read_text()
