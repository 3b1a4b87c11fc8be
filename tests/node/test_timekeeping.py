"""The time that a node was sure of: saved, and gone on from where nobody sets the machine's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.errors import Fatal
from meshconsole.mesh.clock import TeamClock
from meshconsole.node.state import NodeState
from meshconsole.node.timekeeping import Timekeeping

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from meshconsole.core.status import ClockQuality

KEY = b"k" * 32
TRUE = 1_800_000_000.0
YEAR = 365 * 86_400.0


def clock(wall: float, quality: ClockQuality) -> TeamClock:
    return TeamClock(lambda: wall, lambda: quality, lambda: 50.0)


async def test_it_goes_on_from_the_latest_that_was_sure(tmp_path: Path) -> None:
    state = NodeState(tmp_path / "node.db", KEY)
    await Timekeeping(state, clock(TRUE - 3600, "ntp")).save()
    await Timekeeping(state, clock(TRUE, "ntp")).save()
    await Timekeeping(state, clock(TRUE + 3600, "device")).save()
    state.close()
    state = NodeState(tmp_path / "node.db", KEY)
    woken = clock(1000.0, "none")
    Timekeeping(state, woken)
    assert woken.time() == TRUE
    state.close()


async def test_a_wrong_time_that_was_saved_is_set_right(tmp_path: Path) -> None:
    state = NodeState(tmp_path / "node.db", KEY)
    await Timekeeping(state, clock(TRUE + YEAR, "ntp")).save()
    woken = clock(1000.0, "none")
    keeping = Timekeeping(state, woken)
    woken.heard("one", TRUE - 1000.0, "device")
    await keeping.save()
    assert woken.time() == TRUE + YEAR, "one battery's word is not better"
    for name in ("other", "third"):
        woken.heard(name, TRUE - 1000.0, "device")
    await keeping.save()
    again = clock(1000.0, "none")
    Timekeeping(state, again)
    assert (woken.time(), again.time()) == (TRUE, TRUE)
    state.close()


async def test_a_full_disk_makes_no_failure_of_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def put(*_: object) -> None:
        raise Fatal("The disk is full.")

    state = NodeState(tmp_path / "node.db", KEY)
    monkeypatch.setattr(state, "put", put)
    await Timekeeping(state, clock(TRUE, "ntp")).end()
    assert "The disk is full." in caplog.text
    state.close()


async def test_a_new_home_goes_on_from_nothing(tmp_path: Path) -> None:
    state = NodeState(tmp_path / "node.db", KEY)
    woken = clock(1000.0, "none")
    await Timekeeping(state, woken).save()
    assert woken.time() == 1000.0
    state.close()
