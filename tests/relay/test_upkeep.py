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


def test_indexing_goes_on_until_it_is_done_and_then_the_log_is_emptied() -> None:
    left = [3]
    done: list[str] = []
    ended = threading.Event()

    def checkpoint() -> None:
        done.append("checkpoint")
        if "index" in done:
            ended.set()

    def index(pause: bool) -> bool:
        assert pause
        left[0] -= 1
        done.append("index")
        return left[0] > 0

    upkeep = Upkeep(checkpoint, index)
    upkeep.wrote()
    assert ended.wait(10)
    upkeep.stop()
    assert done == ["checkpoint", "index", "index", "index", "checkpoint"]
