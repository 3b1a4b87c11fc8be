from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.core.kinds import TEAM_NOTE
from meshconsole.core.status import EventView
from meshconsole.node.state import NodeState
from meshconsole.node.unread import ALARMING_S, MOST, Unread

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path

KEY = b"k" * 32
NOW = 1_700_000_000


def a_view(id_: str) -> EventView:
    return EventView(1, id_, "aa", "alpha", NOW, NOW, TEAM_NOTE, "flash team note", 1, True, "stored")


class Recent:
    """The events that are remembered: all but "gone"."""

    def find(self, ids: Container[str]) -> tuple[EventView, ...]:
        known = [*(f"{number:04}" for number in range(2 * MOST)), "one", "two"]
        return tuple(a_view(each) for each in known if each in ids)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[NodeState]:
    state = NodeState(tmp_path / "node.db", KEY)
    yield state
    state.close()


def unread(state: NodeState) -> Unread:
    return Unread(state, Recent(), lambda: NOW)  # type: ignore[arg-type]


def ids(book: Unread) -> list[str]:
    return [view.id for view in book.views()]


def test_a_flash_note_waits_until_it_is_acknowledged_also_after_a_restart(state: NodeState) -> None:
    book = unread(state)
    assert ids(book) == []
    book.arrived("one", NOW - 5)
    book.arrived("two", NOW)
    book.arrived("two", NOW)
    book.arrived("gone", NOW)
    book = unread(state)
    assert ids(book) == ["one", "two"]
    book.read("one")
    book.read("never there")
    assert ids(unread(state)) == ["two"]


def test_what_a_device_missed_long_ago_alarms_nobody(state: NodeState) -> None:
    book = unread(state)
    book.arrived("one", NOW - ALARMING_S)
    assert ids(book) == []


def test_the_newest_are_kept(state: NodeState) -> None:
    book = unread(state)
    for number in range(MOST + 10):
        book.arrived(f"{number:04}", NOW)
    assert ids(book) == [f"{number:04}" for number in range(10, MOST + 10)]
