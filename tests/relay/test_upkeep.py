"""The store's upkeep goes on after a fault."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from meshconsole.relay.upkeep import Upkeep

if TYPE_CHECKING:
    import pytest


def test_a_fault_does_not_end_the_upkeep(caplog: pytest.LogCaptureFixture) -> None:
    called = threading.Semaphore(0)

    def broken() -> None:
        called.release()
        raise ZeroDivisionError("bug")

    upkeep = Upkeep(broken, lambda pause: False)
    upkeep.wrote()
    assert called.acquire(timeout=10)
    upkeep.wrote()
    assert called.acquire(timeout=10)
    upkeep.stop()
    assert "the upkeep of the event store failed" in caplog.text
