"""The store's upkeep goes on after a fault."""

from __future__ import annotations

import threading

import pytest

from meshconsole.relay import upkeep as upkeep_module
from meshconsole.relay.upkeep import MUCH, Upkeep


def nothing() -> None:
    return None


def all_settled() -> bool:
    return True


def test_a_fault_does_not_end_the_upkeep(caplog: pytest.LogCaptureFixture) -> None:
    called = threading.Semaphore(0)

    def broken() -> None:
        called.release()
        raise ZeroDivisionError("bug")

    upkeep = Upkeep(all_settled, broken, lambda pause: False)
    upkeep.wrote(MUCH)
    assert called.acquire(timeout=10)
    upkeep.wrote(MUCH)
    assert called.acquire(timeout=10)
    upkeep.stop()
    assert "the upkeep of the event store failed" in caplog.text


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (MUCH, ["checkpoint", "index", "index", "index", "checkpoint"]),
        (MUCH - 1, ["index", "index", "index", "checkpoint"]),
    ],
    ids=["much", "little"],
)
def test_indexing_goes_on_until_it_is_done_and_then_the_log_is_emptied(
    events: int, expected: list[str]
) -> None:
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

    upkeep = Upkeep(all_settled, checkpoint, index)
    upkeep.wrote(events)
    assert ended.wait(10)
    upkeep.stop()
    assert done == expected


def test_a_log_that_holds_little_is_left_alone_while_more_comes() -> None:
    done: list[str] = []
    ended = threading.Event()

    def checkpoint() -> None:
        done.append("checkpoint")
        ended.set()

    def index(pause: bool) -> bool:
        done.append("pause" if pause else "no pause")
        if len(done) < 3:
            upkeep.wrote(1)
        return False

    upkeep = Upkeep(all_settled, checkpoint, index)
    upkeep.wrote(1)
    assert ended.wait(10)
    upkeep.stop()
    assert done == ["pause", "pause", "pause", "checkpoint"]


def test_what_is_ahead_is_settled_in_a_pause_or_at_once_when_it_is_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settled = threading.Semaphore(0)
    indexed = threading.Event()

    def index(pause: bool) -> bool:
        indexed.set()
        return False

    def settle() -> bool:
        settled.release()
        return True

    upkeep = Upkeep(settle, nothing, index)
    upkeep.took_ahead(enough=False)
    assert settled.acquire(timeout=10)
    assert indexed.wait(10)
    indexed.clear()
    monkeypatch.setattr(upkeep_module, "PAUSE_S", 1e6)
    upkeep.took_ahead(enough=True)
    assert settled.acquire(timeout=10)
    assert not indexed.is_set(), "that is no pause"
    upkeep.stop()


def test_what_finds_no_way_into_the_tables_is_tried_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep_module, "PAUSE_S", 0.001)
    done: list[str] = []
    ended = threading.Event()

    def settle() -> bool:
        done.append("settle")
        return len(done) > 3

    def index(pause: bool) -> bool:
        done.append("index")
        ended.set()
        return False

    upkeep = Upkeep(settle, nothing, index)
    upkeep.took_ahead(enough=False)
    assert ended.wait(10)
    upkeep.stop()
    assert done[:5] == ["settle"] * 4 + ["index"]
