"""kill -9 at any moment: what was acknowledged is there afterwards, and comes to the others."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from scripts.machine import Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_nothing_acknowledged_is_lost(alpha: Machine, bravo: Machine) -> None:
    acknowledged: list[str] = []
    enough = threading.Event()

    def write() -> None:
        for number in range(1000):
            done = bravo.command("send", f"note {number}", check=False)
            if done.returncode:
                return
            acknowledged.append(f"note {number}")
            if number == 5:
                enough.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert enough.wait(30)
    bravo.kill(signal.SIGKILL)
    writer.join()
    bravo.start()
    assert set(acknowledged) <= set(bravo.texts())
    alpha.wait("all of bravo's notes", lambda _: set(acknowledged) <= set(alpha.texts()))


def test_what_was_missed_is_caught_up(alpha: Machine, bravo: Machine) -> None:
    bravo.kill(signal.SIGKILL)
    missed = [f"missed {number}" for number in range(20)]
    for text in missed:
        alpha.command("send", text)
    bravo.start()
    bravo.wait("the catch-up", lambda _: set(missed) <= set(bravo.texts()))
    texts = bravo.texts()
    assert sorted(text for text in texts if text in missed) == sorted(missed)
