"""Killed at any moment, or cut off from power with half of a write: what was acknowledged is there, under its
number, once; what was removed is not; and what was under way came whole or not at all."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from meshconsole.relay.ahead import Ahead
from meshconsole.relay.filter import Filter
from meshconsole.relay.journal import BLOCK
from meshconsole.relay.sqlite import SqliteEventStore
from meshconsole.relay.store import as_entry
from meshconsole.relay.upkeep import Upkeep
from meshconsole.relay.writing import Writing
from tests.relay.making import KEY, NOW, TAG_KEY, unsigned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from meshconsole.core.event import Event


class Moments:
    """Copies the files at each moment that may be the last, with what must be in them."""

    def __init__(self, database: Path, to: Path) -> None:
        self._database = database
        self._to = to
        self.acknowledged: dict[str, int] = {}
        self.removed: set[str] = set()
        self.under_way: set[str] = set()
        self.kept: list[tuple[Path, dict[str, int], set[str], set[str]]] = []

    def keep(self) -> None:
        folder = self._to / str(len(self.kept))
        folder.mkdir()
        for path in self._database.parent.glob(f"{self._database.name}*"):
            shutil.copy(path, folder / path.name)
        self.kept.append((folder, dict(self.acknowledged), set(self.removed), set(self.under_way)))

    def around(self, call: Callable[..., object]) -> Callable[..., object]:
        def kept(*arguments: object, **named: object) -> object:
            self.keep()
            result = call(*arguments, **named)
            self.keep()
            return result

        return kept

    def torn(self, write: Callable[[int, bytes, int], int]) -> Callable[[int, bytes, int], int]:
        """Blocks reach a disk in any order, and the last of them in part."""

        def kept(descriptor: int, data: bytes, at: int) -> int:
            before = os.pread(descriptor, len(data), at)
            for first in range(0, len(data), BLOCK):
                for length in (512, BLOCK):
                    write(descriptor, data[first : first + length], at + first)
                    self.keep()
                    write(descriptor, before, at)
            return write(descriptor, data, at)

        return kept


def test_nothing_acknowledged_is_lost_at_any_moment(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Upkeep, "_run", lambda upkeep: None)
    store = SqliteEventStore(database, KEY, TAG_KEY)
    (tmp_path / "moments").mkdir()
    moments = Moments(database, tmp_path / "moments")
    made = iter(range(100))

    def notes(count: int) -> list[Event]:
        return [unsigned(content=f"{next(made)} " + "x" * 500, created_at=NOW) for _ in range(count)]

    def write(*events: Event, removing: str = "") -> None:
        moments.under_way = {removing, *(event.id for event in events)}
        moments.acknowledged.pop(removing, None)
        written = store.write([as_entry(event) for event in events])
        moments.acknowledged |= {
            event.id: answer.seq for event, answer in zip(events, written, strict=True) if answer.seq
        }
        moments.removed.add(removing)
        moments.under_way = set()

    def remove(event: Event) -> None:
        moments.under_way = {event.id}
        del moments.acknowledged[event.id]
        store.delete([Filter(ids=frozenset({event.id}))], dry_run=False)
        moments.removed.add(event.id)
        moments.under_way = set()
        moments.keep()

    with monkeypatch.context() as watched:
        watched.setattr(os, "pwrite", moments.torn(os.pwrite))
        watched.setattr(os, "fdatasync", moments.around(os.fdatasync))
        watched.setattr(Writing, "run", moments.around(Writing.run))
        watched.setattr(Ahead, "settled", moments.around(Ahead.settled))
        first, second = notes(2)
        write(first)
        write(second)
        write(*notes(8))
        assert len(store.feed(0, 99)) == 10
        remove(first)
        write(*notes(1))
        write(unsigned(kind=5, tags=(("e", second.id),), created_at=NOW), removing=second.id)
        write(*notes(1))
    moments.keep()
    store.close()
    assert len(moments.kept) > 30
    for folder, acknowledged, removed, under_way in moments.kept:
        again = SqliteEventStore(folder / "node.db", KEY, TAG_KEY)
        rows = again.feed(0, 99)
        found = {row.id: row.seq for row in rows}
        assert len(found) == len(rows) == again.count()
        assert acknowledged.items() <= found.items()
        assert not removed & found.keys()
        assert found.keys() - acknowledged.keys() <= under_way
        assert again.head_seq >= max(acknowledged.values(), default=0)
        again.close()
        shutil.rmtree(folder)
