"""One listener's failure is not another's."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshconsole.node.bus import Bus

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class Rang:
    times: int


@dataclass(frozen=True)
class Stopped:
    pass


def test_listeners_hear_their_kind_only() -> None:
    bus, heard = Bus(), list[int]()
    bus.listen(Rang, lambda rang: heard.append(rang.times))
    bus.publish(Rang(3))
    bus.publish(Stopped())
    assert heard == [3]


def test_a_failing_listener_is_reported_and_the_next_one_hears(caplog: pytest.LogCaptureFixture) -> None:
    bus, heard = Bus(), list[int]()

    def broken(rang: Rang) -> None:
        raise ValueError(rang.times)

    bus.listen(Rang, broken)
    bus.listen(Rang, lambda rang: heard.append(rang.times))
    with caplog.at_level(logging.ERROR):
        bus.publish(Rang(1))
    assert heard == [1]
    assert "a listener failed on Rang" in caplog.text


def test_who_begins_to_listen_later_hears_what_comes_then() -> None:
    bus, heard = Bus(), list[int]()
    bus.publish(Rang(1))
    bus.listen((Stopped, Rang), lambda rang: heard.append(rang.times))
    bus.publish(Rang(2))
    assert heard == [2]
